"""Close codes from one side to the other (RFC 6455, section 7.4)."""

from __future__ import annotations

NORMAL, GOING_AWAY, NO_CODE, ABNORMAL = 1000, 1001, 1005, 1006
POLICY, TOO_BIG, INTERNAL_ERROR, RESTART, TRY_LATER = 1008, 1009, 1011, 1012, 1013

_REASON_BYTES = 123
_OWN = range(3000, 5000)
# What an endpoint may send by IANA's registry, of the codes below 3000.
_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


def to_browser(code: int | None) -> int:
    """The code that a browser gets for one of fal's. A connection that broke is 1011, as 1006 cannot be sent."""
    if code == NO_CODE:
        return NORMAL
    return code if code is not None and (code in _SENDABLE or code in _OWN) else INTERNAL_ERROR


def to_app(code: int | None) -> int:
    """The code that fal gets for one of a browser's.

    A client may send 1000, 1001 and its own ones (a browser's script 1000 and those). Whoever left without a word, or
    with a server's word, has gone away.
    """
    if code == NO_CODE:
        return NORMAL
    return code if code is not None and (code in (NORMAL, GOING_AWAY) or code in _OWN) else GOING_AWAY


def reason(text: str | None) -> str:
    """A reason, cut to what a close frame holds."""
    encoded = (text or "").encode("utf-8", "replace")
    return encoded[:_REASON_BYTES].decode("utf-8", "ignore")


def of_status(status: int) -> int:
    """The code that stands for an HTTP status, where a server can send no status."""
    if status in (429, 503):
        return TRY_LATER
    return POLICY if status < 500 else INTERNAL_ERROR  # noqa: PLR2004 - RFC 9110, section 15.6
