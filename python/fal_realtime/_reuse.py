"""The connections that `connection_key` finds again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Generic, Protocol, TypeVar

from ._options import Callbacks, ConnectOptions
from ._types import ConnectionState


class Reusable(Protocol):
    """What the cache needs of a connection."""

    @property
    def state(self) -> ConnectionState:
        """What it is doing."""

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[[Any], object] | None,
    ) -> None:
        """Replace all callbacks."""


ConnectionT = TypeVar("ConnectionT", bound=Reusable)


class ConnectionCache(Generic[ConnectionT]):
    """Finds a connection by its app and key as long as somebody holds it and it is not closed."""

    def __init__(self) -> None:
        self._connections: weakref.WeakValueDictionary[tuple[str, str], ConnectionT] = weakref.WeakValueDictionary()
        self._options: weakref.WeakKeyDictionary[ConnectionT, ConnectOptions] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def get_or_make(self, app: str, key: str, options: ConnectOptions, make: Callable[[], ConnectionT]) -> ConnectionT:
        """The connection of this app and key with the callbacks of `options`, or a new one."""
        with self._lock:
            connection = self._connections.get((app, key))
            if connection is None or connection.state in ("closing", "closed"):
                connection = self._connections[app, key] = make()
                self._options[connection] = options
                return connection
            _check_compatible(app, key, self._options[connection], options)
        connection.set_callbacks(**options.callbacks())
        return connection


_REPLACED = {entry.name for entry in fields(Callbacks)}


def _check_compatible(app: str, key: str, old: ConnectOptions, new: ConnectOptions) -> None:
    """Refuse options that an existing connection would silently not have.

    An option at its default counts as not given. Functions are not compared: in code that runs again and again they
    are new objects each time.
    """
    for entry in fields(ConnectOptions):
        before, after = getattr(old, entry.name), getattr(new, entry.name)
        if entry.name in _REPLACED or callable(after) or after in (entry.default, before):
            continue
        message = (
            f"connection_key {key!r} is in use for {app!r} with {entry.name}={before!r}, which cannot become {after!r} "
            "while it is open: close that connection, or use another key"
        )
        raise ValueError(message)
