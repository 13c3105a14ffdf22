"""Reads files and pipes piece by piece.

Without a buffer of Python's: a thread that waits in one for standard input would be in the way of the process's end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ._status import UsageError

STDIN = "-"
"""The name of standard input among files."""

_CHUNK = 1 << 16


def chunks(file: str) -> Iterator[bytes]:
    """The contents of a file.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        descriptor = sys.stdin.fileno() if file == STDIN else os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(file, error) from error
    try:
        while chunk := os.read(descriptor, _CHUNK):
            yield chunk
    except OSError as error:
        raise _unreadable(file, error) from error
    finally:
        if file != STDIN:
            os.close(descriptor)


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines; what there is of a line is not looked through again for each piece."""
    parts: list[bytes] = []
    for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield b"".join([*parts, line])
            parts.clear()
        parts.append(rest)
    yield b"".join(parts)


def name_of(file: str) -> str:
    """The file in words."""
    return "standard input" if file == STDIN else file


def _unreadable(file: str, error: Exception) -> UsageError:
    message = f"{name_of(file)} cannot be read: {getattr(error, 'strerror', None) or error}"
    return UsageError(message, "give a file, or a pipe, that can be")
