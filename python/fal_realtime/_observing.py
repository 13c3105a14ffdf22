"""What watches the connections of a client, where it is asked to: `fal_realtime.opentelemetry` and `.prometheus`."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from ._exceptions import ForkedProcessError

if TYPE_CHECKING:
    from ._options import ConnectOptions

_MOST_APPS = 100
_OTHER_APPS = "other"
_GAUGES = ("pending", "received_pending")
_FAREWELLS = "_farewells"
_kinds: dict[type[Any], type[Any]] = {}


class Observer(Protocol):
    """Is told of each connection that a client makes."""

    def options(self, address: str, options: ConnectOptions) -> tuple[ConnectOptions, Any]:
        """Give the options to make it with, and what `made` is to be told; `address` is where it will go."""
        ...

    def made(self, connection: Any, told: Any) -> None:
        """Take the connection."""
        ...


def before_it_goes(connection: Any, farewell: Callable[[Any], None]) -> None:
    """Call a function with the connection when nobody has it any more; it must neither wait nor raise.

    A weak reference would tell when it is too late to ask for anything. So the connection becomes one of a class with
    a finalizer: what nobody watches has none.
    """
    farewells: list[Callable[[Any], None]] | None = getattr(connection, _FAREWELLS, None)
    if farewells is None:
        setattr(connection, _FAREWELLS, farewells := [])
        connection.__class__ = _watched(connection.__class__)
    farewells.append(farewell)


def _watched(kind: type[Any]) -> type[Any]:
    """The class with a finalizer of a class of connections."""
    if kind not in _kinds:

        def finalize(self: Any) -> None:
            farewells: list[Callable[[Any], None]] = getattr(self, _FAREWELLS)
            for farewell in farewells:
                farewell(self)

        names = {"__del__": finalize, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
        _kinds[kind] = type(kind.__name__, (kind,), {**names, "__doc__": kind.__doc__})
    return _kinds[kind]


class Totals:
    """The sums of the statistics of connections by app, of those that are gone too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._live: dict[int, tuple[weakref.ref[Any], str, Counter[str]]] = {}
        self._gone: dict[str, Counter[str]] = {}
        self._apps: set[str] = set()
        self._last: deque[tuple[int, dict[str, int]]] = deque()
        """What connections had counted when they went; a finalizer may run while the lock is held."""

    def add(self, connection: Any) -> None:
        """Count it from now on."""
        number = next(self._numbers)

        def farewell(connection: Any) -> None:
            with contextlib.suppress(ForkedProcessError):
                stats = dict(connection.stats())
                stats["failed"] += stats["pending"]  # which nobody will write any more
                self._last.append((number, stats))

        with self._lock:
            self._live[number] = (weakref.ref(connection), self._label(connection.app), Counter())
        before_it_goes(connection, farewell)

    def _label(self, app: str) -> str:
        """The app, as long as there are not so many that a label would have no bound."""
        if app not in self._apps and len(self._apps) >= _MOST_APPS:
            return _OTHER_APPS
        self._apps.add(app)
        return app

    def collect(self) -> tuple[Mapping[str, Mapping[str, int]], Mapping[tuple[str, str], int]]:
        """By app what was counted so far, none of which ever becomes less but what waits; by app and state how many."""
        with self._lock:
            states: Counter[tuple[str, str]] = Counter()
            waiting: Counter[tuple[str, str]] = Counter()
            for number, (reference, app, counted) in list(self._live.items()):
                connection = reference()
                try:
                    if connection is not None:
                        stats = dict(connection.stats())
                        states[app, connection.state] += 1
                        _raise_to(counted, stats)
                        waiting.update({(app, name): stats[name] for name in _GAUGES})
                except ForkedProcessError:  # the parent's
                    del self._live[number]
                del connection  # or its finalizer might run below, and not have been heard
            self._bury()
            sums = {app: Counter(gone) for app, gone in self._gone.items()}
            for _, app, counted in self._live.values():
                sums.setdefault(app, Counter()).update(counted)
            for (app, name), value in waiting.items():
                sums.setdefault(app, Counter())[name] += value
            return sums, states

    def _bury(self) -> None:
        """Add what connections had counted that are gone."""
        while self._last:
            number, stats = self._last.popleft()
            entry = self._live.pop(number, None)
            if entry is not None:
                _, app, counted = entry
                _raise_to(counted, stats)
                self._gone.setdefault(app, Counter()).update(counted)


def _raise_to(counted: Counter[str], stats: Mapping[str, int]) -> None:
    """Take what has become more: `written` becomes less where a server refused a message together with its session."""
    for name, value in stats.items():
        if name not in _GAUGES:
            counted[name] = max(counted[name], value)
