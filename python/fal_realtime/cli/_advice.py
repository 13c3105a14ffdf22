"""What whoever runs a command can do about an error."""

from __future__ import annotations

from fal_realtime._exceptions import (
    ApiError,
    AuthenticationError,
    ConnectionClosedError,
    DecodeError,
    EncodeError,
    FalRealtimeError,
    HandshakeError,
    MessageTooLargeError,
    RealtimeError,
    RequestTimeoutError,
)

_NOT_FOUND = (404, 405)
_OVERLOADED = (408, 425, 429, 500, 502, 503, 504)


def described(error: Exception) -> str:
    """The error in a line."""
    return f"{type(error).__name__}: {error}"


def advice_for(error: Exception, app: str | None = None) -> str:
    """What to do about it; an empty string where the error says it itself."""
    if isinstance(error, AuthenticationError):
        return "check FAL_KEY: whether it is whole and not revoked, and whether its account may use the app"
    if isinstance(error, (HandshakeError, ApiError)):
        return _about_the_answer(error, app)
    if isinstance(error, RealtimeError):
        return (
            "look at the input: the app took the connection and answered with this error; its page says what it takes"
        )
    for kinds, advice in _BY_KIND:
        if isinstance(error, kinds):
            return advice
    if isinstance(error, FalRealtimeError) and error.retryable:
        return "try again"
    return ""


def _about_the_answer(error: HandshakeError | ApiError, app: str | None) -> str:
    if not error.status:
        return "check the network, the proxy and the address; `fal-realtime probe` says which step fails"
    if error.status in _NOT_FOUND:
        named = f" {app!r}" if app else ""
        return f"check the app id{named}: owner/alias, as in its address on fal.ai, and whether it is a realtime app"
    if error.status in _OVERLOADED:
        pause = f"{error.retry_after:g} seconds" if error.retry_after else "a while"
        return f"wait {pause} and try again: the server is there, and does not take it now"
    return "check the app id and that the key may use it"


_BY_KIND: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (RequestTimeoutError, "give it more time (--timeout); an app that was cold may take a minute to start"),
    (
        MessageTooLargeError,
        "make inputs, or results, smaller: an app takes 16 MiB in one message, and 64 MiB are taken of it",
    ),
    (EncodeError, "correct the input: it cannot be sent as it is"),
    (DecodeError, "see whether it is a realtime app: what it sent is not in fal's format"),
    (ConnectionClosedError, "see why the app ends its sessions: its logs say it, or `fal-realtime probe`"),
)
