"""Every exception that this package raises or hands to `on_error`.

The native core constructs them positionally; all of them can be pickled and copied. None holds a key or a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast


class FalRealtimeError(Exception):
    """The root: catches everything that is particular to this package."""

    def __init__(self, message: str, *details: Any) -> None:
        # All arguments go to `args`, since `Exception.__reduce__` calls the class with them again.
        super().__init__(message, *details)
        self.message = message
        """What happened, in words."""
        self.retryable = False
        """Whether the same call may succeed later, on this connection or, where that is closed, on another one."""
        self.unprocessed = False
        """True: the input that it is about was not written, so that no app has seen it. False: that is not known."""
        self.retry_after: float | None = None
        """Seconds for which the server wants to be left alone (`Retry-After`), or None."""

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        # Not the other arguments: bodies and payloads can be large, and are the application's business.
        return f"{type(self).__name__}({self.message!r})"


class ApiError(FalRealtimeError):
    """An HTTP request to fal's API, such as the one for a token, was answered with an error."""

    def __init__(self, message: str, status: int, body: Any = None, request_id: str = "") -> None:
        super().__init__(message, status, body, request_id)
        self.status = status
        """The HTTP status; 0 when no answer came."""
        self.body = body
        """The decoded JSON of the answer, or its text (of at most 2 KiB); None when no answer came."""
        self.request_id = request_id
        """fal's id of the request (header `x-fal-request-id`), or an empty string."""
        self.headers: dict[str, str] = {}
        """Those of the answer that say why, or whom to ask, by their names in lower case.

        Such as `retry-after`, `x-fal-request-id`, `date`, `server`, `www-authenticate`, `location` without its query.
        """


class ValidationError(ApiError):
    """The request was understood and its content refused (status 422)."""

    def __init__(self, message: str, status: int = 422, body: Any = None, request_id: str = "") -> None:
        super().__init__(message, status, body, request_id)

    @property
    def field_errors(self) -> list[dict[str, Any]]:
        """The errors one by one, each with its `loc`, `msg` and `type`."""
        body: object = self.body
        detail: Any = cast("Mapping[str, Any]", body).get("detail") if isinstance(body, Mapping) else None
        if isinstance(detail, str):
            return [{"loc": ["body"], "msg": detail, "type": "value_error"}]
        if isinstance(detail, list):
            return [error for error in cast("list[object]", detail) if isinstance(error, dict)]
        return []

    def get_field_errors(self, field: str) -> list[dict[str, Any]]:
        """The errors whose location ends in `field`."""
        return [error for error in self.field_errors if list(error.get("loc") or [None])[-1] == field]


class RealtimeError(FalRealtimeError, RuntimeError):
    """The app reported an error over the connection, for example `INTERNAL_ERROR`."""

    status = 400
    """What the TypeScript client reports as the status of such an error."""

    def __init__(self, error: str, reason: str | None = None, payload: dict[str, Any] | None = None) -> None:
        super().__init__(error, reason, payload)
        self.error: str = error
        """The server's error code."""
        self.reason: str = reason or ""
        """The server's reason, or an empty string."""
        self.payload: dict[str, Any] = payload or {}
        """The whole message as it came."""
        self.message: str = f"{error}: {reason}" if reason else error

    @property
    def body(self) -> dict[str, Any]:
        """The payload, under the name that the TypeScript client gives it."""
        return self.payload


class AuthenticationError(FalRealtimeError):
    """There are no credentials, or they or the token were refused."""

    status = 401
    """The HTTP status that this stands for."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.body: Any = None
        """What the answer said that refused, as in `ApiError`; None where no HTTP answer did."""
        self.request_id = ""
        """fal's id of the request, or an empty string."""
        self.headers: dict[str, str] = {}
        """Headers of the answer, as in `ApiError`."""


class HandshakeError(FalRealtimeError):
    """The WebSocket could not be opened: name resolution, TCP, TLS, a proxy, or the HTTP upgrade."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.status = status
        """The HTTP status of the refusal, or None when it did not come to an answer."""
        self.body: Any = None
        """What the answer said, as in `ApiError`; None when none came."""
        self.request_id = ""
        """fal's id of the request (header `x-fal-request-id`), or an empty string."""
        self.headers: dict[str, str] = {}
        """Headers of the answer, as in `ApiError`."""


class ConnectionClosedError(FalRealtimeError):
    """The connection is closed, by either side; `closed` is final, `connect` gives a new connection."""

    def __init__(self, message: str, code: int = 1006, reason: str = "") -> None:
        super().__init__(message, code, reason)
        self.code = code
        """The close code (RFC 6455, section 7.4); 1006 when no close frame was seen."""
        self.reason = reason
        """The close reason, or an empty string."""


class ConnectionLostError(ConnectionClosedError):
    """A session ended with messages that have no answer. The connection goes on: it opens, or will open, another one.

    Raised by the requests that were under way, and once for all other messages by `recv` or iteration, or given to
    `on_error`. What was written is not sent again, since it may have run.
    """

    def __init__(self, message: str, code: int = 1006, reason: str = "", unanswered: int = 0) -> None:
        super().__init__(message, code, reason)
        self.args: tuple[Any, ...] = (message, code, reason, unanswered)
        self.retryable = True
        self.unanswered = unanswered
        """So many messages have no answer, of those written since the last result and of the open requests."""


class StreamEndedError(FalRealtimeError):
    """The stream ended while it was being sent (`streaming=True`), and its end has not been taken yet.

    The input was not sent: it would have begun another stream. Take the end with `recv` or iteration first.
    """


class UnreadResultsError(FalRealtimeError):
    """So many results wait to be taken that this request's answer was not read. It was sent, and may have run."""


class RequestTimeoutError(FalRealtimeError, TimeoutError):
    """An answer, or the opening of the connection, did not come in time."""


class EncodeError(FalRealtimeError, ValueError):
    """An input cannot be encoded, or is not what `input_type` says."""


class DecodeError(FalRealtimeError, ValueError):
    """A message cannot be decoded, or its result is not what `result_type` says."""

    status = 400
    """What the TypeScript client reports as the status of such an error."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path = ""
        """Where a result is not what `result_type` says, as in `images[0].url`; empty for the result as a whole."""
        self.result: Any = None
        """That result as it was decoded, so that nothing of it is lost; None where the message cannot be decoded."""


class MessageTooLargeError(FalRealtimeError):
    """A message is larger than `max_message_size`, or an input larger than a fal app takes (then it was not sent).

    One of the server's ends its session; the connection goes on.
    """


class BufferFullError(FalRealtimeError):
    """There is no room, and the input was not sent.

    `send_nowait` found none in the outgoing queue, for which `await send(…)` waits; or a request was displaced by newer
    messages, or would not have its answer read, since so many results wait to be taken.
    """


class ForkedProcessError(FalRealtimeError):
    """The connection belongs to the parent process: a forked child has to connect anew."""
