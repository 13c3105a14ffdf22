"""`fal-realtime record APP RECORDING`: what `run` does on one connection, recorded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._arguments import add_inputs, add_where, command, number

if TYPE_CHECKING:
    from ._arguments import Commands

_EXAMPLES = """\
  fal-realtime record fal-ai/fast-lcm-diffusion cat.mcap --input '{"prompt": "a cat"}'
  fal-realtime record owner/upscaler photos.mcap photos/*.jpg --save larger > results.jsonl
  fal-realtime record owner/talker talk.mcap --input '{"topic": "cats"}' --stream --duration 30
  fal-realtime replay cat.mcap                      # ask the app the same again, and compare
  fal-realtime serve --replay cat.mcap              # answer clients as the app did
"""

_DESCRIPTION = """\
Send inputs to an app over one connection, one after the other, and record all that passes on it into an MCAP file.
Inputs, results and the exit status are as those of `fal-realtime run`. It ends with the inputs, or with --duration;
Ctrl-C leaves a whole file, too. What you send and get is in the file as it is; keys and tokens are not.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "record", "record a session with an app into a file", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("app", metavar="APP", help="the app id, such as fal-ai/fast-lcm-diffusion or local/echo")
    parser.add_argument("recording", metavar="RECORDING", help="the file to make, such as session.mcap")
    add_inputs(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--force", action="store_true", help="replace RECORDING if it is there")
    how.add_argument(
        "--duration",
        type=number(0, or_equal=False),
        metavar="S",
        help="end S seconds after the opening, whatever is left (default: with the inputs)",
    )
    how.add_argument(
        "--timeout",
        type=number(0, or_equal=False),
        default=120.0,
        metavar="S",
        help="seconds for the opening, and for each result (default: 120)",
    )
    how.add_argument("--path", metavar="PATH", help="after the app id (default: /realtime)")
    add_where(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from ._inputs import inputs_of
    from ._media import folder_of
    from ._recording import Session, check_free
    from ._target import client_for

    check_free(options)
    inputs = inputs_of(options)
    with client_for(options) as client:
        inputs.invite()
        return Session(options, client, inputs, folder_of(options)).run()
