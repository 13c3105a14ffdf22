"""The four callbacks: what they are told, in which order and context, and what happens when they raise."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import time
import weakref
from functools import partial

import pytest
from support import LIMIT, LOOPS, Log, Peer, Session, result_of, run_in

from fal_realtime import ConnectionClosedError, DecodeError, RealtimeError, ReconnectPolicy

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.01)
USER: contextvars.ContextVar[str] = contextvars.ContextVar("USER", default="nobody")


@pytest.fixture
async def reported():
    """What the loop's exception handler is told."""
    log = Log()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: log(context))
    return log


# --- what they are told ---


@pytest.mark.parametrize("with_on_result", [True, False])
async def test_on_timings_gets_the_seconds_that_the_app_reports(with_on_result):
    def answer_with_timings(session: Session) -> None:
        for timing in (0.25, 2, 1e-3):
            session.send(session.recv())
            session.send_json(type="x-fal-message", action="timings", timing=timing)
        session.wait_closed()

    timings, results = Log(), Log()
    options = {"on_result": results} if with_on_result else {}
    with Peer(answer_with_timings) as peer:
        async with peer.client().connect(APP, on_timings=timings, throttle_interval=0, **options) as connection:
            for number in range(3):
                await connection.send({"number": number})
            assert await timings.has(3) == [0.25, 2.0, 0.001]
            if not with_on_result:
                results = [await result_of(connection.recv()) for _ in range(3)]
            assert len(results) == 3


async def test_timings_are_never_a_result():
    def answer_with_timings(session: Session) -> None:
        message = session.recv()
        session.send_json(type="x-fal-message", action="timings", timing=0.25)
        session.send(message)
        session.wait_closed()

    with Peer(answer_with_timings) as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            assert connection.stats()["received"] == 1


async def test_on_state_change_tells_the_life_of_a_connection():
    def lose_then_idle(session: Session) -> None:
        session.recv()
        if session.number == 1:
            session.drop()
        else:
            session.send_timeout()
            session.close(1000)

    states = Log()
    with Peer(lose_then_idle) as peer:
        options = {"on_state_change": states, "reconnect": AT_ONCE, "throttle_interval": 0}
        connection = peer.client().connect(APP, **options)
        assert connection.state == "idle"
        connection.send_nowait({"number": 0})
        await states.until(lambda states: states.count("active") == 2)
        connection.send_nowait({"number": 1})
        await states.until(lambda states: "idle" in states)
        connection.close()
        await states.until(lambda states: "closed" in states)
        opening = ["authenticating", "connecting", "active"]
        assert states == [*opening, "waiting", *opening, "idle", "closed"]


async def test_without_a_token_there_is_no_state_of_authenticating():
    states = Log()
    with Peer() as peer:
        async with peer.client().connect(APP, use_jwt=False, on_state_change=states):
            pass
        await states.until(lambda states: "closed" in states)
        assert states == ["connecting", "active", "closing", "closed"]


async def test_on_error_gets_the_error_of_the_app_with_its_payload():
    def fail(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="out of memory", extra=1)
        session.close(1000)

    errors = Log()
    with Peer(fail) as peer:
        async with peer.client().connect(APP, on_error=errors) as connection:
            await connection.send({"number": 0})
            [error] = await errors.has(1)
            assert isinstance(error, RealtimeError)
            assert (error.error, error.reason, error.status) == ("INTERNAL_ERROR", "out of memory", 400)
            assert error.body["extra"] == 1


async def test_with_on_error_recv_does_not_raise_the_same_error_again():
    def fail_then_answer(session: Session) -> None:
        message = session.recv()
        session.send_json(type="x-fal-error", error="TEAPOT", reason="short and stout")
        session.send(message)
        session.wait_closed()

    errors = Log()
    with Peer(fail_then_answer) as peer:
        async with peer.client().connect(APP, on_error=errors) as connection:
            await connection.send({"number": 0})
            assert await result_of(connection.recv()) == {"number": 0}
            assert [error.error for error in await errors.has(1)] == ["TEAPOT"]


async def test_an_error_that_nobody_asked_for_is_logged(caplog):
    def fail_then_answer(session: Session) -> None:
        message = session.recv()
        session.send_json(type="x-fal-error", error="TEAPOT", reason="short and stout")
        session.send(message)
        session.wait_closed()

    results = Log()
    with Peer(fail_then_answer) as peer, caplog.at_level(logging.WARNING, "fal_realtime"):
        async with peer.client().connect(APP, on_result=results) as connection:
            await connection.send({"number": 0})
            await results.has(1)
    assert "TEAPOT: short and stout" in caplog.text


async def test_results_errors_and_timings_reach_the_callbacks_in_the_order_of_their_arrival():
    def mix(session: Session) -> None:
        session.recv()
        for number in range(10):
            session.send({"number": number})
            session.send_json(type="x-fal-message", action="timings", timing=number)
            session.send_json(type="x-fal-error", error=str(number))
        session.wait_closed()

    seen = Log()
    callbacks = {
        "on_result": lambda result: seen(("result", result["number"])),
        "on_timings": lambda seconds: seen(("timings", int(seconds))),
        "on_error": lambda error: seen(("error", int(error.error))),
    }
    with Peer(mix) as peer:
        async with peer.client().connect(APP, **callbacks) as connection:
            await connection.send("go")
            await seen.has(30)
    assert seen == [(kind, number) for number in range(10) for kind in ("result", "timings", "error")]


@pytest.mark.parametrize("use", ["recv", "__aiter__", "__anext__"])
async def test_with_on_result_receiving_is_a_runtime_error_that_says_so(use):
    with Peer() as peer:
        connection = peer.client().connect(APP, on_result=Log())
        with pytest.raises(RuntimeError, match="results go to on_result"):
            await getattr(connection, use)()
        connection.close()


async def test_the_answer_to_a_request_does_not_go_to_on_result():
    results = Log()
    with Peer() as peer:
        async with peer.client().connect(APP, on_result=results, throttle_interval=0) as connection:
            assert (await connection.request({"number": 0}, timeout=LIMIT))["number"] == 0
            await connection.send({"number": 1})
            assert await results.has(1) == [{"number": 1}]


# --- async callbacks ---


async def test_async_callbacks_run_one_after_the_other_in_order():
    running, seen, most = 0, Log(), 0

    async def on_result(result):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 if result["number"] % 3 else 0.003)
        running -= 1
        seen(result["number"])

    with Peer() as peer:
        async with peer.client().connect(APP, on_result=on_result, throttle_interval=0) as connection:
            for number in range(40):
                connection.send_nowait({"number": number})
            assert await seen.has(40) == list(range(40))
    assert most == 1


async def test_every_callback_may_be_async():
    seen = Log()

    def callback(name):
        async def call(value):
            await asyncio.sleep(0)
            seen((name, value if name != "error" else value.error))

        return call

    def script(session: Session) -> None:
        session.send(session.recv())
        session.send_json(type="x-fal-message", action="timings", timing=1)
        session.send_json(type="x-fal-error", error="TEAPOT")
        session.wait_closed()

    with Peer(script) as peer:
        names = {"result": "on_result", "error": "on_error", "timings": "on_timings", "state": "on_state_change"}
        options = {option: callback(name) for name, option in names.items()}
        async with peer.client().connect(APP, use_jwt=False, **options) as connection:
            await connection.send("go")
            await seen.has(5)
    assert seen[:5] == [
        ("state", "connecting"),
        ("state", "active"),
        ("result", "go"),
        ("timings", 1.0),
        ("error", "TEAPOT"),
    ]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", ["on_result", "on_error", "on_timings", "on_state_change"])
async def test_a_callback_that_raises_is_reported_with_its_traceback_and_delivery_goes_on(name, is_async, reported):
    calls = Log()

    def raising(value):
        calls(value)
        raise ZeroDivisionError(name)

    async def raising_async(value):
        await asyncio.sleep(0)
        raising(value)

    def script(session: Session) -> None:
        session.recv()
        for number in range(2):
            session.send({"number": number})
            session.send_json(type="x-fal-message", action="timings", timing=1)
            session.send_json(type="x-fal-error", error="TEAPOT")
        session.wait_closed()

    quiet = {"on_result": Log(), "on_error": Log()}
    with Peer(script) as peer:
        options = {**quiet, name: raising_async if is_async else raising}
        async with peer.client().connect(APP, **options) as connection:
            await connection.send("go")
            await calls.has(2)
            await reported.has(2)
            if name != "on_result":
                await quiet["on_result"].has(2)
    for context in reported[:2]:
        error = context["exception"]
        assert isinstance(error, ZeroDivisionError)
        assert "callback" in context["message"]
        frames = []
        trace = error.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert frames[-1] == "raising"
    if name != "on_error":
        assert [error.error for error in quiet["on_error"][:2]] == ["TEAPOT"] * len(quiet["on_error"][:2])


def say_everything(session: Session) -> None:
    session.send(session.recv())
    session.send_json(type="x-fal-message", action="timings", timing=0.25)
    session.send_json(type="x-fal-error", error="E", reason="why")
    session.wait_closed()


# What is called in the last turn of a loop that was left so may not begin.
@pytest.mark.filterwarnings("ignore:coroutine .*leave_async.* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["on_result", "on_error", "on_timings", "on_state_change"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("new_loop", LOOPS)
def test_an_exit_or_an_interrupt_in_a_callback_leaves_the_loop_and_is_not_reported(new_loop, is_async, name, exit_):
    told, reports = [], []

    def leave(value):
        told.append(value)
        if len(told) == 1:
            raise exit_

    async def leave_async(value):
        leave(value)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
        callbacks = {"on_error": lambda _: None, name: leave_async if is_async else leave}
        async with peer.client().connect(APP, use_jwt=False, **callbacks) as connection:
            await connection.send({"number": 0})
            await asyncio.Event().wait()

    with Peer(say_everything) as peer, pytest.raises(exit_):
        run_in(new_loop, main(), LIMIT)
    assert told
    assert not [message for message in reports if "callback of the connection" in message]


async def begin_at_once(connections, arrived):
    """Send, and let the loop look only when the answers to all have arrived."""
    for connection in connections:
        await connection
    for connection in connections:
        connection.send_nowait({})
    for _ in connections:
        assert arrived.acquire(timeout=LIMIT)
    await asyncio.Event().wait()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_after_an_exit_in_a_callback_a_loop_that_runs_again_delivers_the_rest(new_loop):
    arrived, told = threading.Semaphore(0), [Log(), Log()]

    def answer_three(session: Session) -> None:
        session.recv()
        for number in range(3):
            session.send(number)
        session.fence()
        arrived.release()
        session.wait_closed()

    def exit_at_first(log, value):
        log(value)
        if sum(map(len, told)) == 1:
            raise SystemExit

    async def end(connections):
        for connection, log in zip(connections, told, strict=True):
            assert await log.has(3) == [0, 1, 2]
            await connection.aclose()

    loop = new_loop()
    with Peer(answer_three) as peer:
        client = peer.client()
        connections = [client.connect(APP, use_jwt=False, on_result=partial(exit_at_first, log)) for log in told]
        beginning = loop.create_task(begin_at_once(connections, arrived))
        with pytest.raises(SystemExit):
            loop.run_until_complete(beginning)
        beginning.cancel()
        loop.run_until_complete(end(connections))
        loop.close()


async def test_cancelling_the_task_of_an_async_callback_does_not_stop_delivery():
    seen = Log()

    async def on_result(result):
        if result["number"] == 0:
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        seen(result["number"])

    with Peer() as peer:
        async with peer.client().connect(APP, on_result=on_result, throttle_interval=0) as connection:
            for number in range(3):
                connection.send_nowait({"number": number})
            assert await seen.has(2) == [1, 2]


# --- where they run, and what they may do ---


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_callbacks_run_on_the_loop_in_the_contextvars_of_connect(is_async):
    seen = Log()
    loop = asyncio.get_running_loop()

    def note(_):
        seen((USER.get(), asyncio.get_running_loop() is loop))

    async def note_async(value):
        await asyncio.sleep(0)
        note(value)

    with Peer() as peer:
        USER.set("user 7")
        connection = peer.client().connect(APP, on_result=note_async if is_async else note)
        USER.set("somebody else")
        async with connection:
            await connection.send({"number": 0})
            assert await seen.has(1) == [("user 7", True)]
    assert USER.get() == "somebody else"


async def test_a_callback_may_send_and_close():
    connection = None
    seen, states = Log(), Log()

    def on_result(result):
        seen(result["number"])
        if result["number"] < 5:
            connection.send_nowait({"number": result["number"] + 1})
        else:
            connection.close()

    with Peer() as peer:
        options = {"on_result": on_result, "on_state_change": states, "throttle_interval": 0}
        connection = peer.client().connect(APP, **options)
        connection.send_nowait({"number": 0})
        await states.until(lambda states: "closed" in states)
        assert seen == [0, 1, 2, 3, 4, 5]


async def test_an_async_callback_may_await_a_request():
    seen = Log()
    connection = None

    async def on_result(result):
        answer = await connection.request({"asked": result["number"]}, timeout=LIMIT)
        seen(answer["asked"])

    with Peer() as peer:
        connection = peer.client().connect(APP, on_result=on_result, throttle_interval=0)
        for number in range(3):
            connection.send_nowait({"number": number})
        assert await seen.has(3) == [0, 1, 2]
        await connection.aclose()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_the_end_is_told_although_nobody_holds_the_connection_after_it(is_async):
    states = Log()

    async def note_async(state):
        await asyncio.sleep(0)
        states(state)

    with Peer() as peer:
        connection = peer.client().connect(APP, on_state_change=note_async if is_async else states, use_jwt=False)
        await connection
        connection.close()
        while connection.state != "closed":
            time.sleep(0.001)  # noqa: ASYNC251 - the loop stands still, so that nobody has been told yet
        await connection.aclose()
        gone = weakref.ref(connection)
        del connection
        if is_async:
            await states.has(4)
        assert states == ["connecting", "active", "closing", "closed"]
        for _ in range(5):  # the loop lets go of the last callback's task
            await asyncio.sleep(0)
        gc.collect()
        assert gone() is None


async def test_closing_tells_the_callback_all_results_that_came(reported):
    results = Log()
    all_read = threading.Event()

    def send_many(session: Session) -> None:
        session.recv()
        for number in range(1000):
            session.send(number)
        session.fence()
        all_read.set()
        session.wait_closed()

    with Peer(send_many) as peer:
        connection = peer.client().connect(APP, on_result=results)
        connection.send_nowait("go")
        assert all_read.wait(LIMIT)  # the loop stands still
        await connection.aclose()
        assert results == list(range(1000))
    assert reported == []


async def test_an_error_of_the_end_reaches_on_error_once():
    errors, states = Log(), Log()
    with Peer(lambda session: session.recv() and session.close(1011, "broken")) as peer:
        options = {"on_error": errors, "on_result": Log(), "on_state_change": states, "reconnect": None}
        connection = peer.client().connect(APP, **options)
        connection.send_nowait({"number": 0})
        await states.until(lambda states: "closed" in states)
        [error] = await errors.has(1)
        assert isinstance(error, ConnectionClosedError)
        assert (error.code, error.reason) == (1011, "broken")


# --- what a callback does to its own connection, and to those who wait ---


@pytest.mark.parametrize(
    "close",
    [
        lambda connection, _: connection.aclose(),
        lambda _, client: client.aclose(),
        lambda connection, _: asyncio.wait_for(connection.aclose(), LIMIT),
        lambda connection, _: asyncio.ensure_future(connection.aclose()),
    ],
    ids=["itself", "its client", "wait_for", "a task"],
)
async def test_a_callback_that_closes_its_connection_by_whatever_way_does_not_wait_for_itself(close):
    went_on = Log()

    async def leave(result):
        await close(connection, client)
        went_on(result)

    with Peer() as peer:
        client = peer.client()
        connection = client.connect(APP, on_result=leave, throttle_interval=0, close_timeout=10 * LIMIT)
        await connection.send({"number": 0})
        await went_on.has(1)
        await result_of(connection.aclose())
    assert went_on == [{"number": 0}]


async def test_who_receives_when_an_on_result_is_set_is_told_that_results_go_there():
    results = Log()
    with Peer() as peer:
        client = peer.client()
        connection = await client.connect(APP, connection_key="one", throttle_interval=0)
        waiting = [asyncio.ensure_future(each) for each in (connection.recv(), connection.latest(), anext(connection))]
        await asyncio.sleep(0)
        client.connect(APP, connection_key="one", throttle_interval=0, on_result=results)
        for each in await result_of(asyncio.gather(*waiting, return_exceptions=True)):
            assert isinstance(each, RuntimeError), each
            assert "results go to on_result" in str(each)
        await connection.send({"number": 0})
        await results.has(1)
        await connection.aclose()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python does not tell whose cancellation it is")
async def test_a_hook_that_ends_by_the_cancellation_of_something_of_its_own_is_told():
    contexts, errors, results = Log(), Log(), Log()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts(context))

    async def cancelled(_):
        waiting = asyncio.ensure_future(asyncio.Event().wait())
        waiting.cancel()
        await waiting

    with Peer() as peer:
        options = {"decode_message": cancelled, "on_result": results, "on_error": errors, "on_open": cancelled}
        async with peer.client().connect(APP, throttle_interval=0, **options) as connection:
            await connection.send({"number": 0})
            [error] = await errors.has(1)
            assert isinstance(error, DecodeError)
            assert "CancelledError" in str(error)
            [context] = await contexts.has(1)
            assert "on_open" in context["message"]
            assert isinstance(context["exception"], asyncio.CancelledError)
        assert results == []
