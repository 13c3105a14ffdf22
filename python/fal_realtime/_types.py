"""The types that options, callbacks and statistics are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar

from ._attempt import Attempt

ConnectionState: TypeAlias = Literal["idle", "authenticating", "connecting", "active", "waiting", "closing", "closed"]
"""What a connection is doing: `waiting` is the pause before a reconnect; `closed` is final."""

Side: TypeAlias = Literal["client", "server"]
"""Which side of a framework that also renders on a client this process is (see `client_only`)."""

TokenApi: TypeAlias = Literal["tokens", "realtime"]
"""fal's two token APIs: `/tokens/` gives tokens for an app's alias, `/tokens/realtime` for its whole path."""

_Checked = TypeVar("_Checked", covariant=True)  # noqa: PLC0105 - it appears in no signature of the package


class Validator(Protocol[_Checked]):
    """What checks a value and gives it as one of a type, as a `pydantic.TypeAdapter` does."""

    def validate_python(self, value: Any, /) -> _Checked:
        """Give `value` as one of the type; raise what says why it is none."""
        ...


ResultCallback: TypeAlias = Callable[[Any], object]
"""Takes each decoded result; sync or async."""

ErrorCallback: TypeAlias = Callable[[Exception], object]
"""Takes each error that no call of the user's could raise; sync or async."""

TimingsCallback: TypeAlias = Callable[[float], object]
"""Takes the seconds that the app reports for a result; sync or async."""

StateCallback: TypeAlias = Callable[[ConnectionState], object] | Callable[[ConnectionState, Exception | None], object]
"""Takes each new state, and if it has a second argument the error that led to it, or None; sync or async."""

MessageEncoder: TypeAlias = Callable[[Any], bytes | str | Awaitable[bytes | str]]
"""Turns an input into a binary (`bytes`) or text (`str`) message."""

MessageDecoder: TypeAlias = Callable[[Any], Any]
"""Turns a binary (`bytes`) or text (`str`) message into a result; sync or async."""

TokenProvider: TypeAlias = Callable[[str], str | Awaitable[str]]
"""Takes the app id with its path (`owner/alias/realtime`) and gives a token; sync or async."""

AttemptHook: TypeAlias = Callable[[Attempt], object]
"""Takes an attempt to open that is about to be made, and may change or stop it; sync or async."""

OpenHook: TypeAlias = Callable[[Any], object]
"""Takes a connection that has just opened, and may send before all others; sync or async."""

CredentialsSource: TypeAlias = Callable[[], str | None]
"""Gives the key, asked for at each `connect`."""


class Stats(TypedDict):
    """What `connection.stats()` counts, in messages unless the name says bytes.

    Outgoing: `accepted == written + coalesced + dropped + failed + withdrawn + pending` at every instant.
    Incoming: `received == delivered + received_dropped + late + received_pending`.
    """

    accepted: int
    """Taken over by `send`, `send_nowait` or `request`."""
    written: int
    """Written to the socket. What a server refused together with its session is pending again, once: then this becomes
    less, and so does `bytes_sent`."""
    unanswered: int
    """Of these, messages that were written after their session's last result, and requests without an answer.

    With `streaming=True` all messages of a session that did not come to its end: no result is a stream's last one."""
    coalesced: int
    """Replaced in the throttle's slot by a newer message."""
    dropped: int
    """Pushed out of the full outgoing ring by a newer message (only with `max_buffering`)."""
    withdrawn: int
    """Requests that ended (by their timeout, or cancelled) before they were written."""
    failed: int
    """Given up, because the connection was closed."""
    pending: int
    """Accepted, and none of these yet."""
    received: int
    """Results that came in."""
    delivered: int
    """Results given to the caller: `recv`, iteration, `on_result` or a `request`."""
    received_dropped: int
    """Pushed out by newer results: with `max_buffering`, or while nobody has received yet."""
    late: int
    """Answers to requests that had ended before."""
    received_pending: int
    """Waiting to be taken by the caller."""
    reconnects: int
    """Sockets opened after the first one."""
    bytes_sent: int
    """Bytes of messages written, without framing."""
    bytes_received: int
    """Bytes of messages received, without framing."""
    errors_dropped: int
    """Errors pushed out by newer ones before `on_error`, `recv` or iteration took them."""
