"""`fal-realtime probe [APP]`: each step to an app with its time, and what is wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._arguments import add_where, command, json_object, number

if TYPE_CHECKING:
    from ._arguments import Commands

_EXAMPLES = """\
  fal-realtime probe                                   # does it work here at all? (needs no key)
  fal-realtime probe fal-ai/fast-lcm-diffusion
  fal-realtime probe owner/app --input '{"text": "hi"}' --json
  fal-realtime probe owner/app --no-input              # cost nothing but the opening
"""

_DESCRIPTION = """\
Go to an app step by step, and show how long each step takes: the name of the server, TCP, TLS, the token, the
handshake (with the name, TCP and TLS of its own connection), the first result, a second one, and a ping. Says whether
the app was cold, and if a step fails, what is wrong and what to do. An app of fal's bills for the two inputs.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "probe", "see how far it is to an app, and what is wrong", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("app", metavar="APP", nargs="?", default="local/echo", help="the app id (default: local/echo)")
    parser.add_argument(
        "--input",
        type=json_object,
        default={"prompt": "a cat"},
        metavar="JSON",
        help="""(default: {"prompt": "a cat"})""",
    )
    parser.add_argument("--no-input", action="store_true", help="open the connection and send nothing")
    parser.add_argument(
        "--timeout",
        type=number(0, or_equal=False),
        default=90.0,
        metavar="S",
        help="seconds for the opening, and for each result (default: 90)",
    )
    parser.add_argument("--path", metavar="PATH", help="after the app id (default: /realtime)")
    add_where(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from ._interruptible import run_until_interrupted
    from ._probing import Probe
    from ._target import client_for

    with client_for(options) as client:
        return run_until_interrupted(Probe(options, client).run())
