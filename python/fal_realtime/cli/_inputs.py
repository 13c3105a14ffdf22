"""The inputs of a command: JSON lines, and files of images, audio and video."""

from __future__ import annotations

import argparse
import base64
import codecs
import json
import mimetypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ._arguments import why_no_json
from ._progress import is_terminal, note
from ._reading import STDIN, chunks, lines as split_lines, name_of
from ._status import UsageError

_LINES = (".jsonl", ".ndjson", ".json")
_SHOWN = 60


@dataclass(frozen=True)
class Inputs:
    """Where they come from, and what becomes of them."""

    files: list[str]
    """Paths, or `-`; none: the `fixed` fields are the one input, or without them those of stdin."""
    fixed: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields that each input has which does not say otherwise."""
    field: str | None = None
    """The field that holds a media file; None: by its kind, such as `image_url`."""
    as_bytes: bool = False
    """Media as bytes, instead of as data URIs."""

    @property
    def reads_stdin(self) -> bool:
        """Whether any of them comes from there."""
        return STDIN in self.files or not (self.files or self.fixed)

    @property
    def total(self) -> int | None:
        """How many there are, where that can be known before they are read."""
        if self.reads_stdin or any(_is_of_lines(file) for file in self.files):
            return None
        return len(self.files) or 1

    def check(self) -> None:
        """See whether all files are there, before anything is sent.

        Raises:
            UsageError: One is not, or nobody knows what it is.
        """
        if self.reads_stdin and sys.stdin is None:  # by `<&-` in a shell
            message = "standard input, which the inputs are to come from, is closed"
            raise UsageError(message, "give files, --input, or something to read there")
        if self.files.count(STDIN) > 1:
            message = "- (standard input) is given twice"
            raise UsageError(message, "give it once")
        for file in self.files:
            if file == STDIN:
                continue
            if not Path(file).exists() or Path(file).is_dir():
                message = f"{file}: {'is a folder' if Path(file).is_dir() else 'there is no such file'}"
                raise UsageError(message, "give files of JSON lines (.jsonl), images, audio or video")
            if not _is_of_lines(file):
                self._field_of(file)

    def invite(self) -> None:
        """Tell a person at a terminal who is to type them."""
        if self.reads_stdin and is_terminal(sys.stdin):
            note("inputs from the terminal: one JSON object a line; Ctrl-D ends them")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Give them; blocks where they are not there yet.

        Raises:
            UsageError: A line holds no JSON object, or a file cannot be read.
        """
        if not self.files and self.fixed:
            yield dict(self.fixed)
        for file in self.files or ([] if self.fixed else [STDIN]):
            if file == STDIN or _is_of_lines(file):
                for given in _objects(file):
                    yield {**self.fixed, **given}
            else:
                yield {**self.fixed, self._field_of(file): self._media(file)}

    def _field_of(self, file: str) -> str:
        if self.field is not None:
            return self.field
        kind = (mimetypes.guess_type(file)[0] or "").split("/")[0]
        if kind not in ("image", "audio", "video"):
            message = f"{file}: its name does not say what it is"
            raise UsageError(message, "name the field of the input that it goes into with --field, such as image_url")
        return f"{kind}_url"

    def _media(self, file: str) -> bytes | str:
        data = b"".join(chunks(file))
        if self.as_bytes:
            return data
        kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def inputs_of(options: argparse.Namespace) -> Inputs:
    """Those that the arguments of a command name.

    Raises:
        UsageError: A file is not there, or nobody knows what it is.
    """
    inputs = Inputs(options.files, options.input, options.field, options.bytes)
    inputs.check()
    return inputs


def _is_of_lines(file: str) -> bool:
    # A pipe, such as that of `<(…)` in a shell, has no name that says what it is.
    return file.endswith(_LINES) or (Path(file).exists() and not Path(file).is_file())


def _objects(file: str) -> Iterator[dict[str, Any]]:
    where = name_of(file)
    # A file of that name is one text, over as many lines as it likes.
    if file.endswith(".json"):
        yield from _objects_in(b"".join(chunks(file)), where, "as a JSON object, or all in a list of them")
        return
    for number, line in enumerate(split_lines(chunks(file)), 1):
        place = f"line {number} of {where}"
        if b"\0" in line or line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            message = f"{place} is no UTF-8, but looks like UTF-16: {_shown(line)}"
            raise UsageError(message, "write it in UTF-8")
        yield from _objects_in(line, place, "as a JSON object in one line")


def _objects_in(text: bytes, place: str, form: str) -> Iterator[dict[str, Any]]:
    if not text.strip():
        return
    try:
        value: object = json.loads(text)
    except (RecursionError, ValueError) as error:
        message = f"{place} is no JSON: {why_no_json(error)}: {_shown(text)}"
        advice = "write it in UTF-8" if isinstance(error, UnicodeDecodeError) else f"write each input {form}"
        raise UsageError(message, advice) from error
    for number, given in enumerate(cast("list[object]", value) if isinstance(value, list) else [value], 1):
        if not isinstance(given, dict):
            which = f"element {number} of {place}" if isinstance(value, list) else place
            message = f"{which} is no JSON object: {_shown(json.dumps(given).encode())}"
            raise UsageError(message, """write each input as an object, such as {"prompt": "a cat"}""")
        yield cast("dict[str, Any]", given)


def _shown(line: bytes) -> str:
    text = line.strip().decode(errors="replace")
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
