"""The process that measures one client: `python -m peers.worker SPEC`. Prints one line of JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from common import Result, Spec
from entries import BY_NAME

from . import growth_works, sync_works, works
from .base import Target


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "uvloop":
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
        return loop
    return asyncio.new_event_loop()


def main(text: str) -> Result:
    """Measure what the specification says."""
    spec = Spec(**json.loads(text))
    entry = BY_NAME[spec.peer]
    module, _, name = entry.factory.partition(":")
    factory: Any = getattr(importlib.import_module(f"peers.{module}"), name)
    if entry.kind in ("process", "codec"):
        driver: Callable[[Spec], Result] = factory
        return driver(spec)
    target = Target(spec.url, spec.rest_url, spec.app, spec.ca_file or None)
    if entry.kind == "sync":
        return sync_works.measure(spec, lambda: factory(target))
    work = {**works.WORKS, "growth": growth_works.growth, "isolation": growth_works.isolation}[spec.work]
    loop = _new_loop(spec.loop)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work(spec, lambda: factory(target)))
    finally:
        loop.close()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
