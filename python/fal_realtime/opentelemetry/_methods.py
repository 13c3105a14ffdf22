"""The methods of a connection that have spans."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeAlias

from fal_realtime._raw import RawConnection
from fal_realtime._sync import SyncRealtimeConnection
from fal_realtime._sync_raw import SyncRawConnection

_Watch: TypeAlias = Callable[[Any], contextlib.AbstractContextManager[None]]

TRACE = "_trace"
_kinds: dict[type[Any], type[Any]] = {}


def traced(kind: type[Any]) -> type[Any]:
    """The class of a class of connections whose `open` and `request` have spans."""
    if kind not in _kinds:
        methods: Any = kind
        make = _blocking if issubclass(kind, SyncRealtimeConnection) else _awaited
        names: dict[str, Any] = {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
        }
        names["open"] = make(methods.open, _watched_open)
        if not issubclass(kind, RawConnection | SyncRawConnection):
            names["request"] = make(methods.request, _watched_request)
        _kinds[kind] = type(kind.__name__, (methods,), names)
    return _kinds[kind]


def _awaited(method: Any, watch: _Watch) -> Any:
    @wraps(method)
    async def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        with watch(self):
            return await method(self, *arguments, **options)

    return watched


def _blocking(method: Any, watch: _Watch) -> Any:
    @wraps(method)
    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        with watch(self):
            return method(self, *arguments, **options)

    return watched


@contextmanager
def _watched_open(connection: Any) -> Iterator[None]:
    """What fails for good fails here, where somebody waits for it."""
    try:
        yield
    except Exception as error:
        if connection.state == "closed":
            opening: Any = getattr(connection, TRACE)[1]
            opening.end(error)
        raise


def _watched_request(connection: Any) -> contextlib.AbstractContextManager[None]:
    trace: tuple[Any, Any] = getattr(connection, TRACE)
    instrumentation, opening = trace
    watched: contextlib.AbstractContextManager[None] = instrumentation.request(connection, opening)
    return watched
