#!/usr/bin/env bash
# gevent 26.9.0's monkey patching lets a worker thread of asyncio see the loop of the thread that waits for it.
#
# Guess: `threading` is patched as a whole: in what `asyncio.to_thread` runs there is no running loop, so that blocking code
#   there may call `asyncio.run`.
# Behaviour: the worker is a greenlet of the same thread of the system, and the running loop belongs to that thread:
#   `asyncio.get_running_loop()` answers the caller's loop, and `asyncio.run` refuses. Work that starts a new worker runs
#   within the caller's step, and has its current task; later work has none. In gevent's own thread pool all is as guessed.
# Versions: gevent 26.9.0, CPython 3.11 to 3.13.
# For users: a library that asks for a running loop to choose between its blocking and its asyncio half chooses wrongly in
#   such a worker. Run it in `gevent.get_hub().threadpool`, or do not patch a process that uses asyncio.
#
# Output seen:
#   plain, first work: no running loop, asyncio.run works
#   plain, second work: no running loop, asyncio.run works
#   patched, first work: the caller's loop and task, asyncio.run refuses
#   patched, second work: the caller's loop and no task, asyncio.run refuses
#   patched, gevent's thread pool: no running loop, asyncio.run works
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check gevent==26.9.0
cat > "$work/run.py" <<'PYTHON'
import sys

patched = sys.argv[1] == "patched"
if patched:
    from gevent import monkey

    monkey.patch_all()
import asyncio


async def nothing() -> None:
    pass


def here(callers: asyncio.AbstractEventLoop, callers_task: asyncio.Task) -> str:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        said = "no running loop"
    else:
        task = asyncio.current_task()
        said = "the caller's loop" if loop is callers else "another loop"
        said += " and no task" if task is None else " and task" if task is callers_task else " and another task"
    coroutine = nothing()
    try:
        asyncio.run(coroutine)
    except RuntimeError:
        coroutine.close()
        return f"{said}, asyncio.run refuses"
    return f"{said}, asyncio.run works"


async def main() -> None:
    caller = asyncio.get_running_loop(), asyncio.current_task()
    for which in ("first", "second"):
        print(f"{sys.argv[1]}, {which} work:", await asyncio.to_thread(here, *caller))
        await asyncio.sleep(0.1)  # the worker is idle, and takes the second
    if patched:
        import gevent

        job = gevent.get_hub().threadpool.spawn(here, *caller)
        async with asyncio.timeout(30):
            while not job.ready():
                await asyncio.sleep(0.01)
        print("patched, gevent's thread pool:", job.get())


asyncio.run(main())
PYTHON
seen=$(for kind in plain patched; do "$work/venv/bin/python" "$work/run.py" "$kind"; done 2> "$work/errors") \
    || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected="plain, first work: no running loop, asyncio.run works
plain, second work: no running loop, asyncio.run works
patched, first work: the caller's loop and task, asyncio.run refuses
patched, second work: the caller's loop and no task, asyncio.run refuses
patched, gevent's thread pool: no running loop, asyncio.run works"
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
