"""Finds the command, runs it, and says why it failed."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from fal_realtime._exceptions import FalRealtimeError
from fal_realtime._version import version

from . import bench, demo, probe, record, replay, run, serve
from ._arguments import Parser
from ._status import BROKEN_PIPE, FAILED, INTERRUPTED, USAGE, CommandError, UsageError

_COMMANDS = {
    "demo": demo,
    "run": run,
    "probe": probe,
    "bench": bench,
    "record": record,
    "replay": replay,
    "serve": serve,
}

_EPILOG = """\
exit status:
  0    all went well
  1    something failed: an app, a connection, an input, a file
  2    wrong arguments or input, or no key: the same again cannot work
  130  interrupted by Ctrl-C
  141  nobody reads the output any more

Each command says more: fal-realtime run --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    if sys.stdout is None:  # by `>&-` in a shell
        return _report(UsageError("standard output is closed", "let it go to a terminal, a pipe or a file"), options)
    try:
        status: int = _COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        status = BROKEN_PIPE
    except (CommandError, FalRealtimeError, OSError) as error:
        status = _report(error, options)
        _let_go_of_stdout(if_it_fails=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fal-realtime",
        description="Realtime client for fal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fal-realtime {version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in _COMMANDS.values():
        command.add(commands)
    return parser


def _report(error: CommandError | FalRealtimeError | OSError, options: argparse.Namespace) -> int:
    """Say on stderr what is wrong, and what to do; the exit status."""
    from ._advice import advice_for, described

    message, advice, status = str(error), "", FAILED
    if isinstance(error, CommandError):
        message, advice, status = error.message, error.advice, error.status
    elif isinstance(error, FalRealtimeError):
        message, advice = described(error), advice_for(error, getattr(options, "app", None))
    # Who reads stderr may be gone as well.
    with contextlib.suppress(BrokenPipeError):
        if getattr(options, "json", False):
            from ._output import json_text

            told = {"type": type(error).__name__, "message": message, "advice": advice}
            print(json_text({"error": told}), file=sys.stderr)
        else:
            print(f"fal-realtime: {message}", file=sys.stderr)
            if advice:
                print(f"fal-realtime: what to do: {advice}", file=sys.stderr)
    return status


def _let_go_of_stdout(*, if_it_fails: bool = False) -> None:
    """Have the interpreter not complain, at its end, that it cannot write what nobody reads, or no disk takes."""
    if if_it_fails:
        try:
            sys.stdout.flush()
        except OSError:
            pass
        else:
            return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
