"""The methods of a connection that have spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from fal_realtime._raw import RawConnection
from fal_realtime._sync import SyncRealtimeConnection
from fal_realtime._sync_raw import SyncRawConnection

TRACE = "_trace"
_kinds: dict[tuple[type[Any], bool], type[Any]] = {}


def traced(kind: type[Any], *, requests: bool) -> type[Any]:
    """The class of a class of connections whose `open` has spans, and `request` if `requests`."""
    if (kind, requests) not in _kinds:
        methods: Any = kind
        names: dict[str, Any] = {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
        }
        blocking = issubclass(kind, SyncRealtimeConnection)
        names["open"] = (_blocking_open if blocking else _awaited_open)(methods.open)
        if requests and not issubclass(kind, RawConnection | SyncRawConnection):
            names["request"] = (_blocking_request if blocking else _awaited_request)(methods.request)
        _kinds[kind, requests] = type(kind.__name__, (methods,), names)
    return _kinds[kind, requests]


def _awaited_open(method: Any) -> Callable[..., Any]:
    @wraps(method)
    async def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        with _watched_open(self):
            return await method(self, *arguments, **options)

    return watched


def _blocking_open(method: Any) -> Callable[..., Any]:
    @wraps(method)
    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        with _watched_open(self):
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


# Of a request each context manager would cost as much as the request itself.


def _awaited_request(method: Any) -> Callable[..., Any]:
    @wraps(method)
    async def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        instrumentation, opening = getattr(self, TRACE)
        request = instrumentation.begin_request(opening)
        try:
            return await method(self, *arguments, **options)
        except BaseException as error:
            request.failed(self, error)
            raise
        finally:
            request.end()

    return watched


def _blocking_request(method: Any) -> Callable[..., Any]:
    @wraps(method)
    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        instrumentation, opening = getattr(self, TRACE)
        request = instrumentation.begin_request(opening)
        try:
            return method(self, *arguments, **options)
        except BaseException as error:
            request.failed(self, error)
            raise
        finally:
            request.end()

    return watched
