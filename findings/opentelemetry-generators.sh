#!/usr/bin/env bash
# opentelemetry-api 1.45.2 ends the span of a decorated generator before its first item.
#
# Guess: `@tracer.start_as_current_span(…)` on a generator, sync or async, gives a span that lasts until it is exhausted, as on
#   a coroutine function, which it recognises.
# Behaviour: the span lasts for the call that makes the generator, a few microseconds: while items are made there is no
#   current span, and what they start has no parent. Nothing says so.
# Versions: opentelemetry-api 1.45.2, opentelemetry-sdk 1.45.2.
# For users: a handler that streams its results opens its span inside, with `with`; a decorated one is a trace of nothing.
#
# Output seen:
#   coroutine: step inside work
#   generator: work ended, then step without a parent
#   async generator: work ended, then step without a parent
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-api==1.45.2 opentelemetry-sdk==1.45.2
cat > "$work/run.py" <<'PYTHON'
import asyncio

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("streams")


def step() -> None:
    with tracer.start_as_current_span("step"):
        pass


@tracer.start_as_current_span("work")
async def coroutine():
    step()


@tracer.start_as_current_span("work")
def generator():
    step()
    yield 1


@tracer.start_as_current_span("work")
async def async_generator():
    step()
    yield 1


def said(kind: str) -> None:
    spans = exporter.get_finished_spans()
    exporter.clear()
    names = [span.name for span in spans]
    inner = next(span for span in spans if span.name == "step")
    if names == ["step", "work"] and inner.parent:
        print(f"{kind}: step inside work")
    elif names == ["work", "step"] and not inner.parent:
        print(f"{kind}: work ended, then step without a parent")
    else:
        print(f"{kind}: {names}, parent {inner.parent}")


async def main() -> None:
    await coroutine()
    said("coroutine")
    list(generator())
    said("generator")
    [_ async for _ in async_generator()]
    said("async generator")


asyncio.run(main())
PYTHON
seen=$("$work/venv/bin/python" "$work/run.py" 2> "$work/errors") || { cat "$work/errors" >&2; exit 1; }
printf '%s\n' "$seen"
expected='coroutine: step inside work
generator: work ended, then step without a parent
async generator: work ended, then step without a parent'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
