"""The command line: `python -m fal_realtime demo`, or `fal-realtime demo`."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ._client import RealtimeClient
from ._credentials import found
from ._demo import Plan, Session
from ._display import display_for
from ._exceptions import FalRealtimeError
from ._version import version
from .testing import LocalServer

_LOCAL_APP = "local/image"
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    if problem := _problem(options):
        print(f"fal-realtime: {problem}", file=sys.stderr)
        return 2
    try:
        return _demo(options)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fal-realtime", description="Realtime client for fal.")
    parser.add_argument("--version", action="version", version=f"fal-realtime {version()}")
    commands = parser.add_subparsers(dest="command")
    demo = commands.add_parser(
        "demo",
        help="run a realtime session and measure it",
        description="Run a realtime session: against a server embedded in this package, or, with --app and FAL_KEY, "
        "against fal.",
    )
    demo.add_argument("--app", help=f"the app on fal, such as fal-ai/fast-lcm-diffusion (default: {_LOCAL_APP}, here)")
    demo.add_argument(
        "--frames", type=_number(int, 1), default=300, metavar="N", help="how many inputs to send (default: 300)"
    )
    demo.add_argument(
        "--fps", type=_number(float, 0, or_equal=False), default=30.0, metavar="F", help="inputs a second (default: 30)"
    )
    demo.add_argument(
        "--size", type=_number(int, 0), metavar="BYTES", help="of each input's image (default: 60000; on fal: none)"
    )
    demo.add_argument(
        "--throttle", type=_number(float, 0), default=0.0, metavar="MS", help="milliseconds (default: 0, all)"
    )
    demo.add_argument("--prompt", default="a photo of a cat", help="the prompt of each input")
    return parser


def _problem(options: argparse.Namespace) -> str | None:
    if _is_local(options.app) or found().secret is not None:
        return None
    return f"--app {options.app} runs on fal, which needs a key: set FAL_KEY, or leave out --app for the local server"


def _is_local(app: str | None) -> bool:
    return app is None or app.startswith("local/")


def _demo(options: argparse.Namespace) -> int:
    local = _is_local(options.app)
    size = (60_000 if local else 0) if options.size is None else options.size
    plan = Plan(options.app or _LOCAL_APP, options.frames, options.fps, size, options.throttle, options.prompt)
    with _client(local=local) as client:
        where = "a server embedded in this process" if local else "fal"
        print(f"{plan.frames} frames at {plan.fps:g} a second to {plan.app} on {where}", file=sys.stderr)
        session = Session(client, plan)
        display = display_for(plan.frames)
        try:
            asyncio.run(session.run(display))
        except FalRealtimeError as error:
            display.finish()
            print(f"fal-realtime: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        except BaseException:
            display.finish()
            raise
    display.finish()
    print(session.measured.summary())
    return 0 if session.measured.results else 1


@contextmanager
def _client(*, local: bool) -> Iterator[RealtimeClient]:
    if not local:
        yield RealtimeClient()
        return
    with LocalServer() as server:
        yield server.client()


def _number(kind: type[int | float], least: float, *, or_equal: bool = True) -> Callable[[str], float]:
    """The type of an argument: a finite number from `least` on, or above it."""

    def number(text: str) -> float:
        value = kind(text)
        if math.isfinite(value) and (value > least or (or_equal and value == least)):
            return value
        message = f"must be {'at least' if or_equal else 'greater than'} {least}"
        raise argparse.ArgumentTypeError(message)

    return number
