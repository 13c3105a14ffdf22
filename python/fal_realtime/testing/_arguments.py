"""Checks of what a test gives the controls of a `LocalServer`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from fal_realtime import _checks as check

_STATUS_BITS = 16
"""Of an HTTP status, in the native server."""


def message(name: str, value: bytes | bytearray | memoryview | str) -> bytes | str:
    """A message as it is: bytes for a binary one, a str for a text one."""
    check.instance(name, value, (bytes, bytearray, memoryview, str), "bytes or a str")
    return check.text(name, value, may_be_empty=True) if isinstance(value, str) else bytes(value)


def answer(
    headers: Mapping[str, str] | None, body: bytes | str | None, retry_after: int | None
) -> tuple[list[tuple[str, str]], bytes | None]:
    """The headers and the body of a refusal."""
    lines: list[tuple[str, str]] = []
    if headers is not None:
        check.instance("headers", headers, Mapping, "a mapping of str to str, or None")
        for name, value in headers.items():
            check.text("a name in headers", name)
            lines.append((name, check.text(f"headers[{name!r}]", value, may_be_empty=True)))
    if retry_after is not None:
        check.integer("retry_after", retry_after, at_least=0)
        lines.append(("retry-after", str(retry_after)))
    if body is None:
        return lines, None
    content = message("body", body)
    return lines, content.encode() if isinstance(content, str) else content


def status(value: object) -> None:
    """An int of a size that the native server can look at, which knows the statuses; or None."""
    if value is None:
        return
    name, expected = "status", "an HTTP status from 300 to 599"
    if isinstance(value, bool) or not isinstance(value, int):
        raise check.wrong_type(name, f"{expected}, or None", value)
    if value < 0 or value.bit_length() > _STATUS_BITS:
        explanation = f"{name} must be {expected}, not {check.shown(value)}"
        raise ValueError(explanation)


def close_after(messages: int | None, code: int | None, reason: str, counted: str) -> None:
    """After how many messages of whom a session is to be closed, and how."""
    if messages is not None:
        check.integer("messages", messages, at_least=0, at_most=sys.maxsize)
    close_code(code)
    check.text("reason", reason, may_be_empty=True)
    if counted not in ("sent", "received"):
        explanation = f"counted must be 'sent' or 'received', not {counted!r}"
        raise ValueError(explanation)


def close_code(code: int | None) -> None:
    """An int of a size that the native server can look at, which knows the codes."""
    if code is not None:
        check.integer("code", code, at_least=0, at_most=0xFFFF)
