"""What watches the connections of a client, where it is asked to: `fal_realtime.opentelemetry` and `.prometheus`."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from . import _core

if TYPE_CHECKING:
    from ._client_stats import ClientStats
    from ._options import ConnectOptions

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
    """The sums of the statistics of connections by app, of those that are gone too, none of which becomes less."""

    def __init__(self) -> None:
        self._native = _core.Totals()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._most: dict[str, Counter[str]] = {}

    def add(self, connection: Any) -> None:
        """Count it from now on, with what it has counted so far."""
        connection._count_in(self._native)  # noqa: SLF001 - of this package

    def stats(self) -> ClientStats:
        """Give the sums over all apps, and the durations."""
        return cast("ClientStats", self._native.stats())

    def collect(self) -> tuple[Mapping[str, Mapping[str, int]], Mapping[tuple[str, str], int]]:
        """By app what was counted so far, none of which ever becomes less but what waits; by app and state how many.

        `written` becomes less where a server refused a message together with its session.
        """
        states: dict[tuple[str, str], int] = {}
        if self._process != os.getpid():  # a forked child counts anew
            self._begin()
        with self._lock:
            for app, (counted, numbers) in self._native.by_app().items():
                most = self._most.setdefault(app, Counter())
                for name, value in counted.items():
                    most[name] = value if name in _GAUGES else max(most[name], value)
                states.update({(app, state): number for state, number in numbers.items()})
            return {app: dict(most) for app, most in self._most.items()}, states
