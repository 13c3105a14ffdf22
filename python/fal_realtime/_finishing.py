"""The end of a connection by `finish`, and the close codes that a caller may give."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from . import _checks as check
from ._exceptions import (
    ConnectionClosedError,
    ConnectionLostError,
    FalRealtimeError,
    ForkedProcessError,
    MessageTooLargeError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from . import _core

_OWN_CODES = range(3000, 5000)
"""Close codes for libraries, frameworks and applications (RFC 6455, section 7.4.2)."""

_MAX_REASON_BYTES = 123
"""Bytes of UTF-8: a control frame holds 125, two of which are the code (RFC 6455, section 5.5)."""


def check_close(code: int, reason: str) -> None:
    """Refuse what a caller may not say in a close frame."""
    check.integer("code", code, at_least=0)
    if code not in (1000, 1001) and code not in _OWN_CODES:
        message = (
            "code must be 1000 (done), 1001 (going away) or from 3000 to 4999 (of your own), not "
            f"{check.shown(code)}: the others say what the protocol itself found (RFC 6455, section 7.4)"
        )
        raise ValueError(message)
    size = len(check.text("reason", reason, may_be_empty=True).encode())
    if size > _MAX_REASON_BYTES:
        message = f"reason must have at most {_MAX_REASON_BYTES} bytes in UTF-8, not {size}"
        raise ValueError(message)


class Finish:
    """What `finish` says when it is over: how many inputs had no answer.

    As a context manager it is the time in which `finish` waits: what is lost then is told by what it raises, and by
    nobody else; if it raises nothing of the kind (it is cancelled, say), by whoever else hears of such errors.
    """

    def __init__(self, connection: _core.Connection | _core.SyncConnection, timeout: float | None) -> None:
        self.timeout = check.timeout(timeout)
        self._connection = connection
        self._before = connection.stats()
        self._had_given_up = connection._has_untold_end  # noqa: SLF001 - its own base

    def __enter__(self) -> Self:
        """Accept no more inputs."""
        self._connection._begin_finish()  # noqa: SLF001 - its own base
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave what was not told to others."""
        with contextlib.suppress(ForkedProcessError):
            self._connection._end_finish(tells=isinstance(error, FalRealtimeError))  # noqa: SLF001 - likewise

    def timed_out(self) -> RequestTimeoutError:
        """The error when the time is over, to be made before the connection is closed."""
        written, waiting, lost = self._connection.in_flight, self._connection.stats()["pending"], self._lost()
        before = f", {lost} of a session that was lost meanwhile had none" if lost else ""
        why = self._connection._why_not_open  # noqa: SLF001 - its own base
        state = "" if why is None else f", while the connection was not open: {why}"
        message = (
            f"after {self.timeout} s at most {written} inputs had no answer{before}, and {waiting} were not written"
            f"{state}; the connection was closed"
        )
        error = RequestTimeoutError(message)
        error.__cause__ = why
        return error

    def check_end(self) -> None:
        """Raise why the connection has given up, if inputs failed or had no answer for that, or nobody was told of it.

        To be called before `drain`, which would say no more than that inputs were not written.
        """
        if not (self._lost() or self._failed() or self._had_given_up):
            return
        failure = self._connection._failure()  # noqa: SLF001 - its own base
        # That it was closed meanwhile is said with what became of the inputs.
        if failure is not None and (self._had_given_up or not isinstance(failure, ConnectionClosedError)):
            raise failure

    def check(self) -> None:
        """Raise if inputs failed, or sessions ended with inputs that had no answer. To be called after `drain`."""
        code, reason = self._connection.close_code or 1006, self._connection.close_reason or ""
        if (failed := self._failed()) > 0:
            # Another call of `drain` that waited at the same time was told.
            inputs = "1 input was" if failed == 1 else f"{failed} inputs were"
            message = f"{inputs} not written; the connection was closed"
            raise ConnectionClosedError(message, code, reason)
        if (lost := self._lost()) > 0:
            inputs = "1 input" if lost == 1 else f"{lost} inputs"
            message = f"a session ended before at most {inputs} had an answer; the connection was closed"
            # How that session ended says whether trying again can help.
            why = self._connection.last_error
            error = ConnectionLostError(message, code, reason, lost)
            # Of several it may have been the answer to another one that was too large.
            error.retryable = why.retryable or lost > 1 if isinstance(why, MessageTooLargeError) else True
            raise error from why

    def _failed(self) -> int:
        """How many inputs were not written."""
        return self._connection.stats()["failed"] - self._before["failed"]

    def _lost(self) -> int:
        """How many inputs, at most, had no answer when their session was lost."""
        now = self._connection.stats()
        return max(now["unanswered"] - self._before["unanswered"], self._connection._lost_while_finishing)  # noqa: SLF001 - its own base
