"""The arguments that several commands have, and the types of arguments."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    # Not generic before Python 3.14 at run time.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


_LONGEST_SHOWN = 19
"""Characters; a longer value that is not accepted may be a key, and is not shown."""

_OPTION = re.compile(r"--[A-Za-z-]+|-[A-Za-z]")
"""The name of an option, without what may follow it."""

_KEY_OPTIONS = {"--key", "--api-key", "--fal-key"}
"""Options that other programs have for a key."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors show no key that was given by mistake."""

    _given: list[str]

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride] # it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """The options; what is not known is named by the option alone, since its value may be a key."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(_unrecognized(unknown, options.command))
        return options

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] # likewise
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """The options, and what is not known."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without a value that may be a key, and leave."""
        for argument in self._given:
            for value in (argument, argument.partition("=")[2]):
                if len(value) > _LONGEST_SHOWN:
                    hidden = f"a value of {len(value)} characters"
                    message = message.replace(repr(value), hidden).replace(value, hidden)
        super().error(message)


def _unrecognized(arguments: list[str], command: str | None) -> str:
    names = [found.group() for argument in arguments if (found := _OPTION.match(argument)) is not None]
    if not names:
        return f"unrecognized arguments: {len(arguments)} more than this command takes"
    message = f"unrecognized arguments: {', '.join(names)}"
    # `serve` has a key of its own.
    if _KEY_OPTIONS.intersection(names) and command != "serve":
        message += " (the key is taken from the variable FAL_KEY)"
    return message


def command(commands: Commands, name: str, purpose: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A command with its help, to which it adds its arguments."""
    parser = commands.add_parser(
        name,
        help=purpose,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object a line, errors too")
    return parser


def add_where(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which server it is."""
    where = parser.add_argument_group("which server (default: fal, with the key in FAL_KEY)")
    where.add_argument("--local", action="store_true", help="a server embedded in this process, without a key")
    where.add_argument("--base-url", metavar="URL", help="where apps are, such as ws://127.0.0.1:8765")
    where.add_argument("--rest-url", metavar="URL", help="where tokens are (default: fal's; with --base-url: there)")
    where.add_argument("--allow-cleartext", action="store_true", help="the key may go to another machine without TLS")
    where.add_argument("--ca", metavar="FILE", help="PEM file of the authority to trust instead of the system's")


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what the inputs are, and what becomes of the results: see `_inputs` and `_results`."""
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="inputs; - is stdin (default, unless --input is given)"
    )
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument(
        "--input", type=json_object, default={}, metavar="JSON", help="fields that each input has beside its own"
    )
    inputs.add_argument(
        "--field", metavar="NAME", help="the field for media files (default: image_url, audio_url, ...)"
    )
    inputs.add_argument("--bytes", action="store_true", help="media files go as bytes, not as data URIs")
    results = parser.add_argument_group("results")
    results.add_argument("--save", metavar="DIR", help="save bytes and data URIs here; results name the files")
    results.add_argument("--stream", action="store_true", help="the app answers each input with a stream of results")


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument: an int within its bounds."""

    def integer(text: str) -> int:
        return cast("int", _within(int(text), least, most, or_equal=True))

    return integer


def number(least: float, *, or_equal: bool = True) -> Callable[[str], float]:
    """The type of an argument: a finite number from `least` on, or above it."""

    def number(text: str) -> float:
        return _within(float(text), least, None, or_equal=or_equal)

    return number


def _within(value: float, least: float, most: float | None, *, or_equal: bool) -> float:
    if not math.isfinite(value) or value < least or (value == least and not or_equal):
        message = f"must be {'at least' if or_equal else 'greater than'} {least:g}"
        raise argparse.ArgumentTypeError(message)
    if most is not None and value > most:
        message = f"must be at most {most:g}"
        raise argparse.ArgumentTypeError(message)
    return value


def why_no_json(error: RecursionError | ValueError) -> str:
    """What the decoder says, in words."""
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def json_object(text: str) -> dict[str, Any]:
    """The type of an argument: a JSON object."""
    try:
        value: object = json.loads(text)
    except (RecursionError, ValueError) as error:
        message = f"is no JSON: {why_no_json(error)}"
        raise argparse.ArgumentTypeError(message) from None
    if not isinstance(value, dict):
        message = """must be a JSON object, such as '{"prompt": "a cat"}'"""
        raise argparse.ArgumentTypeError(message)
    return cast("dict[str, Any]", value)
