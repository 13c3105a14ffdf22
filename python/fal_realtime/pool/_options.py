"""The options of a pool, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fal_realtime import _checks as check
from fal_realtime._defaults import DEFAULT_RECONNECT
from fal_realtime._policy import ReconnectPolicy

MAX_CONNECTIONS = 10_000
"""What is more is a mistake."""

_NOT_OF_A_POOL = {
    "on_result": "each result goes to the request that it answers",
    "on_state_change": "the pool watches the states of its connections itself: see stats()",
    "connection_key": "the connections of a pool are its own",
    "client_only": "a pool that does nothing cannot answer",
    "streaming": "the answers of a stream belong to no request: use connect",
    "raw": "in raw mode nothing says which message answers which: use connect",
}
"""Options of `connect` that make no sense for a pool, and why."""


@dataclass(frozen=True)
class PoolOptions:
    """The options of a pool; they are described at `RealtimeClient.pool`."""

    size: int
    depth: int = 1
    prewarm: int = 1
    max_age: float | None = None
    drain_timeout: float | None = None
    reconnect: ReconnectPolicy | None = DEFAULT_RECONNECT
    open_timeout: float = 90

    def __post_init__(self) -> None:
        check.integer("size", self.size, at_least=1, at_most=MAX_CONNECTIONS)
        check.integer("depth", self.depth, at_least=1, at_most=1024)
        check.integer("prewarm", self.prewarm, at_least=0)
        if self.prewarm > self.size:
            message = f"prewarm ({self.prewarm}) must not be more than size ({self.size})"
            raise ValueError(message)
        if self.max_age is not None:
            check.positive("max_age", self.max_age, or_none=True)
        if self.drain_timeout is not None:
            check.not_negative("drain_timeout", self.drain_timeout, "a number of seconds or None")

    @property
    def room(self) -> int:
        """How many requests may be under way at once."""
        return self.size * self.depth

    @property
    def policy(self) -> ReconnectPolicy:
        """How the pool itself waits before it opens again; without one for the connections, the default."""
        return DEFAULT_RECONNECT if self.reconnect is None else self.reconnect


def check_connect_options(options: Mapping[str, Any]) -> None:
    """Refuse the options of `connect` that make no sense for a pool."""
    for name, why in _NOT_OF_A_POOL.items():
        if options.get(name):
            message = f"a pool takes no {name}: {why}"
            raise ValueError(message)
