"""The blocking client: the same native core, without asyncio."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from . import _core
from ._base import BaseClient
from ._codec import is_async
from ._connection import nothing_comes
from ._options import ConnectOptions

if TYPE_CHECKING:
    from typing_extensions import Self

_PLAIN_ONLY = (
    "on_result",
    "on_error",
    "on_timings",
    "on_state_change",
    "encode_message",
    "decode_message",
    "token_provider",
)


class SyncRealtimeConnection(_core.SyncConnection):
    """A session with a realtime app in blocking form; made by `SyncRealtimeClient.connect`, used from any thread.

        with client.connect(app) as connection:
            connection.send({"prompt": "a cat"})
            for result in connection:
                ...

    Each blocking call can be interrupted by Ctrl-C. Callbacks run in a thread of the connection's own.
    """

    _dispatcher: _Dispatcher | None = None

    def set_callbacks(self, **callbacks: Callable[[Any], object] | None) -> None:
        """Replace all four callbacks."""
        super().set_callbacks(**callbacks)
        self._dispatch(callbacks)

    def _dispatch(self, callbacks: dict[str, Callable[[Any], object] | None]) -> None:
        if self._dispatcher is not None:
            self._dispatcher.callbacks = callbacks
        elif any(callback is not None for callback in callbacks.values()):
            self._dispatcher = _Dispatcher(self._events(), callbacks)
            self._dispatcher.start(f"fal-realtime-callbacks {self.app}")

    def __enter__(self) -> Self:
        """Open; raises what the opening raised."""
        try:
            self.open()
        except BaseException:
            # Nobody will own it: a failed or interrupted opening must not leave a socket, which would be billed.
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, for at most `close_timeout` seconds; what has not been written by then fails (see `drain`)."""
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} {self.state}>"


class SyncNoopConnection(SyncRealtimeConnection):
    """What `connect(…, client_only=True)` gives on the server side: sends nothing, receives nothing, never opens."""

    def send_nowait(self, input: Any) -> None:
        """Do nothing."""

    def send(self, input: Any, timeout: float | None = None) -> None:
        """Do nothing."""

    def request(self, input: Any, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: no answer can come."""
        raise nothing_comes()

    def recv(self, timeout: float | None = None) -> NoReturn:
        """Raise `ConnectionClosedError`: nothing can come."""
        raise nothing_comes()

    def __next__(self) -> NoReturn:
        """End the iteration."""
        raise StopIteration

    def open(self) -> None:
        """Do nothing."""

    def drain(self, timeout: float | None = None) -> None:
        """Do nothing: there is nothing to write."""


class SyncRealtimeClient(BaseClient[SyncRealtimeConnection]):
    """Makes realtime connections for code without an event loop.

        client = SyncRealtimeClient()  # FAL_KEY from the environment
        with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = connection.request({"prompt": "a cat"}, timeout=5)

    The options are those of `RealtimeClient`; callbacks, encoder, decoder and token provider are plain functions.
    """

    def _make(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> SyncRealtimeConnection:
        for name in _PLAIN_ONLY:
            if is_async(getattr(options, name)):
                message = f"{name} is a coroutine function, which SyncRealtimeClient cannot await: use RealtimeClient"
                raise TypeError(message)
        arguments = {"app": app, "url": url, **options.as_native()}
        if noop:
            return SyncNoopConnection(client, **arguments)
        connection = SyncRealtimeConnection(client, **arguments)
        connection._dispatch(options.callbacks())  # noqa: SLF001 - its own module
        return connection


class _Dispatcher:
    """Calls the callbacks of one connection, in the order of its events, without keeping the connection alive."""

    def __init__(self, events: Iterable[tuple[str, Any]], callbacks: dict[str, Callable[[Any], object] | None]) -> None:
        self.callbacks = callbacks
        self._events = events

    def start(self, name: str) -> None:
        # The contextvars of `connect`.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()

    def _run(self) -> None:
        for kind, value in self._events:
            callback = self.callbacks[f"on_{kind}"]
            if callback is None:
                continue
            try:
                callback(value)
            except Exception as error:  # noqa: BLE001 - reported with its traceback, and delivery goes on
                args = (type(error), error, error.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(args))
