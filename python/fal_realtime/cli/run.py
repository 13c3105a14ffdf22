"""`fal-realtime run APP`: inputs in, results out as JSON lines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._arguments import add_inputs, add_where, command, integer, number
from ._status import UsageError

if TYPE_CHECKING:
    from ._arguments import Commands

_EXAMPLES = """\
  fal-realtime run fal-ai/fast-lcm-diffusion --input '{"prompt": "a cat"}' --save cats
  fal-realtime run fal-ai/fast-lcm-diffusion --resume cats.journal --connections 4 < prompts.jsonl > results.jsonl
  fal-realtime run owner/upscaler photos/*.jpg --save larger
  fal-realtime run owner/transcriber speech.wav --field audio --bytes --stream
  echo '{"prompt": "a cat"}' | fal-realtime run local/image | head -1
"""

_DESCRIPTION = """\
Send inputs to an app, and write its results to stdout, one JSON object a line, in the order of the inputs:

  {"index": 0, "seconds": 0.31, "result": {...}}      or, where there is none,
  {"index": 1, "seconds": 0.02, "error": {"type": ..., "message": ..., "advice": ...}}

Inputs are JSON objects, one a line, on stdin or in files named .jsonl, and files of images, audio or video, each of
which is an input. Bytes in results are written as data URIs, or saved (--save). Progress goes to stderr, if that is a
terminal. The exit status is 1 if any input has no result.
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = command(commands, "run", "send inputs to an app, and write its results", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("app", metavar="APP", help="the app id, such as fal-ai/fast-lcm-diffusion or local/echo")
    add_inputs(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--unordered", action="store_true", help="write results as they come")
    how.add_argument("--connections", type=integer(1, 10_000), default=1, metavar="N", help="at most (default: 1)")
    how.add_argument(
        "--timeout",
        type=number(0, or_equal=False),
        default=120.0,
        metavar="S",
        help="seconds for each input, the wait for its turn included (default: 120)",
    )
    how.add_argument(
        "--retries",
        type=integer(0),
        default=3,
        metavar="N",
        help="how often an input is sent again that no app has seen (default: 3)",
    )
    how.add_argument(
        "--resume", metavar="JOURNAL", help="keep outcomes here: run again, it goes on. Results are written at the end"
    )
    how.add_argument("--retry-failed", action="store_true", help="with --resume: ask again what failed before")
    how.add_argument("--path", metavar="PATH", help="after the app id (default: /realtime)")
    add_where(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    from ._inputs import inputs_of
    from ._media import folder_of
    from ._running import Job
    from ._target import client_for

    _check(options)
    inputs = inputs_of(options)
    with client_for(options) as client:
        inputs.invite()
        return Job(options, client, inputs, folder_of(options, may_hold_files=options.resume is not None)).run()


def _check(options: argparse.Namespace) -> None:
    for other in ("resume", "unordered"):
        if options.stream and getattr(options, other):
            message = f"--stream goes with no --{other}: a stream is written as it comes, input by input"
            raise UsageError(message, "leave one of them out")
    if options.stream and options.connections > 1:
        message = "--stream goes with one connection: a stream is written as it comes, input by input"
        raise UsageError(message, "leave --connections out")
    if options.resume == "":
        message = "--resume must name a file, and is empty"
        raise UsageError(message, "give the path of a journal, such as cats.journal")
    if options.retry_failed and not options.resume:
        message = "--retry-failed asks again what failed in a journal, and there is none"
        raise UsageError(message, "give one with --resume")
