"""Reads a recording of a connection, as `connection.record` writes it: see docs/recording.md for the format."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fal_realtime import _core

_MAGIC = b"\x89MCAP0\r\n"
_CHANNEL, _MESSAGE, _CHUNK, _METADATA, _DATA_END = 0x04, 0x05, 0x06, 0x0C, 0x0F
_HEADER = struct.Struct("<BQ")
_MESSAGE_HEADER = struct.Struct("<HIQQ")
_CHUNK_HEADER = struct.Struct("<QQQI")
_VERSION = "1"
NO_CLOSE_FRAME = 1006
"""The close code of a session that ended without a close frame."""


@dataclass(frozen=True)
class Step:
    """Something that passed in a session."""

    what: Literal["input", "answer", "close"]
    time: int
    """In nanoseconds."""
    message: bytes | str = b""
    by: str = ""
    """Who closed: `client` or `server`."""
    code: int = 1000
    reason: str = ""


@dataclass
class RecordedSession:
    """One session of a recording."""

    began: int
    """In nanoseconds."""
    steps: list[Step] = field(default_factory=list[Step])


@dataclass(frozen=True)
class RecordedConnection:
    """What a recording holds."""

    app: str
    """The app id with its path; of a raw connection its URL."""
    sessions: list[RecordedSession]
    is_whole: bool
    """Whether it has its end; else it was cut off, or its writing ended early."""


def read_recording(path: str | os.PathLike[str]) -> RecordedConnection:
    """Read a recording; what is whole of one that ends early.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no recording of this package, or is damaged or compressed, or has no session.
    """
    content = Path(path).read_bytes()
    name = os.fspath(path)
    if not content.startswith(_MAGIC):
        message = f"{name} is no recording: it does not begin as an MCAP file does"
        raise ValueError(message)
    reading = _Reading(name)
    is_whole = False
    for opcode, record in _records(memoryview(content)[len(_MAGIC) :]):
        if opcode == _DATA_END:
            is_whole = True
            break
        reading.take(opcode, record)
    return reading.result(is_whole)


def decoded(message: bytes | str) -> Any:
    """What a message says, or the message itself where it is in another format."""
    try:
        return json.loads(message) if isinstance(message, str) else _core.decode_as_packer(message)
    except Exception:  # noqa: BLE001 - whatever a decoder raises, it is another format
        return message


class _Reading:
    """What was read so far."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._app: str | None = None
        self._channels: dict[int, tuple[str, str]] = {}
        self._sessions: list[RecordedSession] = []

    def take(self, opcode: int, record: memoryview) -> None:
        try:
            why_not = self._take(opcode, record)
        except (LookupError, RecursionError, TypeError, ValueError, struct.error) as error:
            message = f"{self._name} is damaged: a record cannot be read ({type(error).__name__}: {error})"
            raise ValueError(message) from error
        if why_not is not None:
            raise ValueError(why_not)

    def _take(self, opcode: int, record: memoryview) -> str | None:
        """Read a record; why this cannot be, or None."""
        if opcode == _METADATA:
            about, rest = _text(record)
            if about == "fal_realtime.recording":
                metadata = _map(rest)
                if (version := metadata.get("version")) != _VERSION:
                    return f"{self._name} is a recording of version {version}; version {_VERSION} is read here"
                self._app = metadata["app"]
        elif opcode == _CHANNEL:
            rest = _text(_text(record[4:])[1])[1]
            metadata = _map(rest)
            number = int.from_bytes(record[:2], "little")
            self._channels[number] = (metadata.get("direction", ""), metadata.get("kind", ""))
        elif opcode == _CHUNK:
            compression, rest = _text(record[_CHUNK_HEADER.size :])
            if compression:
                return (
                    f"{self._name} is compressed ({compression}), which is not read: `mcap decompress` makes a file "
                    "that is"
                )
            for inner, inner_record in _records(rest[8:]):
                if (why_not := self._take(inner, inner_record)) is not None:
                    return why_not
        elif opcode == _MESSAGE:
            channel, _, time, _ = _MESSAGE_HEADER.unpack_from(record)
            self._message(*self._channels[channel], time, bytes(record[_MESSAGE_HEADER.size :]))
        return None

    def _message(self, direction: str, kind: str, time: int, content: bytes) -> None:
        if direction == "control":
            self._event(json.loads(content), time)
            return
        message = content.decode() if kind == "text" else content
        what: Literal["input", "answer"] = "input" if direction == "sent" else "answer"
        # Before the opening is known, only what an `on_open` sends has passed.
        if not self._sessions:
            self._sessions.append(RecordedSession(time))
        self._sessions[-1].steps.append(Step(what, time, message))

    def _event(self, event: dict[str, object], time: int) -> None:
        if event["event"] == "open" or (event["event"] == "start" and event["state"] == "active"):
            self._sessions.append(RecordedSession(time))
        elif event["event"] == "close" and self._sessions:
            by, code, reason = (str(event.get(name, "")) for name in ("by", "code", "reason"))
            self._sessions[-1].steps.append(Step("close", time, by=by, code=int(code), reason=reason))

    def result(self, is_whole: bool) -> RecordedConnection:
        if self._app is None:
            message = f"{self._name} is an MCAP file, but no recording of fal_realtime"
            raise ValueError(message if is_whole else f"{message}, or one that is cut off before it says so")
        if not self._sessions:
            why = "nothing was open while it was recorded" if is_whole else "it is cut off before the first one"
            message = f"{self._name} has no session: {why}"
            raise ValueError(message)
        return RecordedConnection(self._app, self._sessions, is_whole)


def _records(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The records, up to one that is cut off."""
    at = 0
    while at + _HEADER.size <= len(content):
        opcode, length = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        if at + length > len(content):
            return
        yield opcode, content[at : at + length]
        at += length


def _text(content: memoryview) -> tuple[str, memoryview]:
    """The text at the beginning, and what follows it."""
    end = 4 + int.from_bytes(content[:4], "little")
    return bytes(content[4:end]).decode(), content[end:]


def _map(content: memoryview) -> dict[str, str]:
    end = 4 + int.from_bytes(content[:4], "little")
    rest = content[4:end]
    pairs: dict[str, str] = {}
    while rest:
        key, rest = _text(rest)
        pairs[key], rest = _text(rest)
    return pairs
