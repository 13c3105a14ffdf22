"""The connections that `connection_key` finds again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._exceptions import ForkedProcessError
from ._types import ConnectionState

if TYPE_CHECKING:
    from ._options import ConnectOptions

_MIN_ENTRIES = 16
"""Entries that a cache may have before it is first swept of those of closed connections."""


_TYPES = ("result_type", "input_type")


class Reusable(Protocol):
    """What the cache needs of a connection."""

    _forget: Callable[[], None] | None
    """Called by the connection's `close`."""

    @property
    def state(self) -> ConnectionState:
        """What it is doing."""
        ...

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[..., object] | None,
    ) -> None:
        """Replace all callbacks."""

    def _is_stranded(self) -> bool:
        """Whether its event loop is closed."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=Reusable)
RawT = TypeVar("RawT", bound=Reusable)


class ConnectionCache(Generic[ConnectionT]):
    """Finds a connection by its app and key, until it is closed.

    It keeps the connection: code that connects for each input, which is what a key is for, need not hold on to it.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], tuple[ConnectionT, ConnectOptions]] = {}
        self._sweep_at = _MIN_ENTRIES
        # Reentrant: making a connection may run the garbage collector, and with it a finalizer that closes another.
        self._lock = threading.RLock()

    def get_or_make(self, app: str, key: str, options: ConnectOptions, make: Callable[[], ConnectionT]) -> ConnectionT:
        """The connection of this app and key with the callbacks of `options`, or a new one."""
        with self._lock:
            entry = self._entries.get((app, key))
            if entry is None or not _is_usable(entry[0]):
                self._make_room()
                connection = make()
                connection._forget = lambda: self._forget((app, key), connection)  # noqa: SLF001 - the protocol's
                self._entries[app, key] = connection, options
                return connection
            connection, first_options = entry
            _check_compatible(app, first_options, options)
        connection.set_callbacks(**options.callbacks())
        return connection

    def _forget(self, place: tuple[str, str], connection: ConnectionT) -> None:
        with self._lock:
            entry = self._entries.get(place)
            if entry is not None and entry[0] is connection:
                del self._entries[place]

    def _make_room(self) -> None:
        """Drop those that were closed by other means than their `close`.

        Only when the entries have doubled, so that many connections do not make connecting slow.
        """
        if len(self._entries) < self._sweep_at:
            return
        self._entries = {place: entry for place, entry in list(self._entries.items()) if _is_usable(entry[0])}
        self._sweep_at = max(_MIN_ENTRIES, 2 * len(self._entries))


def _is_usable(connection: Reusable) -> bool:
    try:
        state = connection.state
    except ForkedProcessError:  # the parent's
        return False
    return state not in ("closing", "closed") and not connection._is_stranded()  # noqa: SLF001 - the protocol's


def _check_compatible(app: str, old: ConnectOptions, new: ConnectOptions) -> None:
    """Refuse options that an existing connection would silently not have.

    An option at its default counts as not given. Functions are not compared: in code that runs again and again they
    are new objects each time. Types can be called too, and are.
    """
    from dataclasses import fields

    from ._options import Callbacks

    replaced = {entry.name for entry in fields(Callbacks)}
    for entry in fields(new):
        before, after = getattr(old, entry.name), getattr(new, entry.name)
        is_function = callable(after) and entry.name not in _TYPES
        if entry.name in replaced or is_function or after in (entry.default, before):
            continue
        values = f"{entry.name}={before!r}, which cannot become {after!r}"
        if not entry.repr:  # it may hold a secret
            values = f"another {entry.name}, which cannot change"
        message = (
            f"this connection_key is in use for {app!r} with {values} while it is open: close that connection, or use "
            "another key"
        )
        raise ValueError(message)
