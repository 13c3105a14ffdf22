"""`fal-realtime demo`: a session that measures itself."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ._arguments import command, integer, number
from ._status import FAILED, OK

if TYPE_CHECKING:
    from ._arguments import Commands

_LOCAL_APP = "local/image"

_EXAMPLES = """\
  fal-realtime demo
  fal-realtime demo --fps 120 --throttle 33
  FAL_KEY=... fal-realtime demo --app fal-ai/fast-lcm-diffusion --frames 20
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(
        commands,
        "demo",
        "run a realtime session and measure it",
        "Run a realtime session: against a server embedded in this package, or, with --app and FAL_KEY, against fal.",
        _EXAMPLES,
    )
    parser.add_argument(
        "--app", help=f"the app on fal, such as fal-ai/fast-lcm-diffusion (default: {_LOCAL_APP}, here)"
    )
    parser.add_argument(
        "--frames", type=integer(1), default=300, metavar="N", help="how many inputs to send (default: 300)"
    )
    parser.add_argument(
        "--fps", type=number(0, or_equal=False), default=30.0, metavar="F", help="inputs a second (default: 30)"
    )
    parser.add_argument(
        "--size", type=integer(0), metavar="BYTES", help="of each input's image (default: 60000; on fal: none)"
    )
    parser.add_argument("--throttle", type=number(0), default=0.0, metavar="MS", help="milliseconds (default: 0, all)")
    parser.add_argument("--prompt", default="a photo of a cat", help="the prompt of each input")
    # What commands with a choice of servers have.
    parser.set_defaults(local=False, base_url=None, rest_url=None, ca=None, allow_cleartext=False)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from fal_realtime._demo import Plan, Session
    from fal_realtime._display import display_for

    from ._interruptible import run_until_interrupted
    from ._target import client_for, is_local, place

    options.app = options.app or _LOCAL_APP
    size = (60_000 if is_local(options) else 0) if options.size is None else options.size
    plan = Plan(options.app, options.frames, options.fps, size, options.throttle, options.prompt)
    with client_for(options) as client:
        if not options.json:
            print(f"{plan.frames} frames at {plan.fps:g} a second to {plan.app} on {place(options)}", file=sys.stderr)
        session = Session(client, plan)
        display = _Nothing() if options.json else display_for(plan.frames)
        try:
            run_until_interrupted(session.run(display))
        finally:
            display.finish()
    measured = session.measured
    if options.json:
        from ._output import Lines

        Lines().write(measured.as_json())
    else:
        print(measured.summary())
    return OK if measured.results else FAILED


class _Nothing:
    """A display that shows nothing: what programs read needs no progress."""

    interval = 1.0

    def update(self, done: int, text: str) -> None:
        pass

    def finish(self) -> None:
        pass
