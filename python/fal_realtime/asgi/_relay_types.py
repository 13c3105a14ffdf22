"""What a relay is told, and what it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict

from fal_realtime import _checks as check

from ._types import Scope


@dataclass(frozen=True)
class RelaySession:
    """Where a browser's WebSocket goes; given by the hook `session` of a `Relay`."""

    app: str
    """The app id, such as `fal-ai/fast-lcm-diffusion`."""
    path: str | None = "/realtime"
    """The path after it; None: none."""
    query: Mapping[str, str] | None = field(default=None, repr=False)  # it may hold secrets
    """Parameters in fal's address, such as `{"max_buffering": "2"}`."""
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # likewise
    """Headers of the handshake with fal, such as `traceparent`."""
    client_key: str | None = None
    """Whose session it is, for `max_sessions_per_client`: a user's id, say. None: it is not counted."""

    def __post_init__(self) -> None:
        check.text("app", self.app)
        check.text_or_none("path", self.path, may_be_empty=True)
        check.text_or_none("client_key", self.client_key)


SessionHook: TypeAlias = Callable[[Scope], "RelaySession | Awaitable[RelaySession | None] | None"]
"""Takes the scope of a WebSocket, says where it goes, or None where it may not pass; sync or async."""


class RelayStats(TypedDict):
    """What `relay.stats()` counts, since the relay was made unless it says otherwise."""

    sessions: int
    """Those that are open or opening now."""
    sessions_total: int
    """Those whose WebSocket was accepted."""
    refused: int
    """WebSockets that were refused: by a limit, the hook, or because fal could not be reached."""
    to_app: int
    """Messages that were passed on to fal."""
    to_browser: int
    """Messages that were passed on to browsers."""
    bytes_to_app: int
    """Their bytes; of text, its characters."""
    bytes_to_browser: int
    """Likewise."""
    draining: bool
    """No new session is admitted any more."""


@dataclass
class Counters:
    """The same, while they are counted."""

    sessions_total: int = 0
    refused: int = 0
    to_app: int = 0
    to_browser: int = 0
    bytes_to_app: int = 0
    bytes_to_browser: int = 0

    def shown(self, sessions: int, *, draining: bool) -> RelayStats:
        """For users."""
        return {
            "sessions": sessions,
            "sessions_total": self.sessions_total,
            "refused": self.refused,
            "to_app": self.to_app,
            "to_browser": self.to_browser,
            "bytes_to_app": self.bytes_to_app,
            "bytes_to_browser": self.bytes_to_browser,
            "draining": draining,
        }
