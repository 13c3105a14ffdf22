"""`fal-realtime replay RECORDING`: the recorded inputs again, and how the results differ from the recorded ones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._arguments import add_where, command, number

if TYPE_CHECKING:
    from ._arguments import Commands

_EXAMPLES = """\
  fal-realtime replay session.mcap
  fal-realtime replay session.mcap --no-timing --ignore timings --ignore seed --strict
  fal-realtime replay session.mcap --app me/new-version --speed 2 --json
  fal-realtime replay session.mcap --local          # to an echo on this machine
  fal-realtime serve --replay session.mcap          # the other side: answer clients as the app did
"""

_DESCRIPTION = """\
Send the inputs of a recording (fal-realtime record, connection.record) to an app once more, session by session, byte
for byte and as long after each other as they were recorded, and compare what comes: how many results, which of them
are equal to the recorded ones, how long each took. The exit status is 1 if results are missing or too many, or a
session ended in another way than recorded; with --strict also if any is different. An app of fal's bills for the
inputs.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "replay", "send recorded inputs again, and compare results", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("recording", metavar="RECORDING", help="the file, such as session.mcap")
    parser.add_argument("--app", help="the app to send them to (default: the recorded one)")
    parser.add_argument("--path", metavar="PATH", help="after the app id (default: the recorded one)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--speed",
        type=number(0, or_equal=False),
        default=1.0,
        metavar="N",
        help="so many times as fast as recorded (default: 1)",
    )
    when.add_argument(
        "--no-timing",
        action="store_true",
        help="send each input as soon as there are as many results as there were before it",
    )
    parser.add_argument(
        "--timeout",
        type=number(0, or_equal=False),
        default=120.0,
        metavar="S",
        help="seconds for each opening, and for results that are due (default: 120)",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="NAME",
        help="a field that may differ, wherever it is; may be given again",
    )
    parser.add_argument("--strict", action="store_true", help="exit status 1 if any result is different")
    add_where(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from ._replaying import Replay, read
    from ._target import client_for

    recording = read(options)
    with client_for(options) as client:
        return Replay(options, client, recording).run()
