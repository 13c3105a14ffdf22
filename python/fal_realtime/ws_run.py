"""Any ordinary endpoint of fal over one WebSocket: what fal calls "HTTP over WebSockets", at `wss://ws.fal.run`.

    from fal_realtime import RealtimeClient, ws_run

    async with ws_run.connect(RealtimeClient(), "fal-ai/any-llm") as endpoint:
        response = await endpoint.run({"prompt": "a haiku", "model": "…"}, timeout=60)
        print(response.json())

        async for chunk in endpoint.stream({"prompt": "another", "model": "…"}):
            ...  # bytes, or str: whatever the app writes; ends with the response

One payload after the other, each with its response: JSON up; down the start (status and headers of the HTTP response),
its body in any number of messages, and the end. It is spoken as fal documents it and as the `fal` package's own client
does; it was tried against a double of the server, not against fal itself.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, overload

from ._client import RealtimeClient
from ._exceptions import ConnectionClosedError, DecodeError, RequestTimeoutError
from ._secrets import Redaction
from ._sync_client import SyncRealtimeClient
from ._ws_exchange import Clock, Exchange, IncompleteResponseError, Response, address, encoded

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Self

    from ._keywords import SyncRawKeywords
    from ._raw import RawConnection
    from ._sync_raw import SyncRawConnection

__all__ = ["Endpoint", "IncompleteResponseError", "Response", "SyncEndpoint", "connect"]


_NOT_ITS_TURN = "the response before it had not come to its end"
_BEHIND_A_STREAM = "the stream before it was still open: read it to its end, or close it"
_OWN_STREAM = "a stream of this endpoint is still open: read it to its end, or close it with "
_LOOP_TURNS = 20
"""So many times the loop is let run until it has closed a stream that nobody holds any more, and what held it."""


@overload
def connect(
    client: RealtimeClient, app: str, *, path: str = "", base_url: str | None = None, open_timeout: float = 90
) -> Endpoint: ...


@overload
def connect(
    client: SyncRealtimeClient, app: str, *, path: str = "", base_url: str | None = None, open_timeout: float = 90
) -> SyncEndpoint: ...


def connect(
    client: RealtimeClient | SyncRealtimeClient,
    app: str,
    *,
    path: str = "",
    base_url: str | None = None,
    open_timeout: float = 90,
) -> Endpoint | SyncEndpoint:
    """Make a connection to an app's HTTP endpoint; to be entered with `async with`, or `with` for the blocking client.

    The key goes into the handshake. It does not reconnect: an endpoint may have run what has no response.

    Args:
        client: Whose credentials and network options are used.
        app: The app id, such as `fal-ai/any-llm`.
        path: The path after the app id. Default: none.
        base_url: Where to. Default: `wss://$FAL_WS_RUN_HOST` if that is set, else the client's with `ws.` before the
            host, as in `wss://ws.fal.run`; an IP address, or a name without a dot, such as `localhost`, stays as it is.
        open_timeout: Seconds for opening, cold start of the app included.

    Raises:
        ValueError: An option has a value that is not accepted, or FAL_WS_RUN_HOST has.
        TypeError: An option is of the wrong type.
    """
    if base_url is None:
        base_url = address(client._base_url)  # noqa: SLF001 - of this package
    options: SyncRawKeywords = {"path": path or None, "use_jwt": False, "reconnect": None, "open_timeout": open_timeout}
    if isinstance(client, SyncRealtimeClient):
        return SyncEndpoint(client.with_options(base_url=base_url).connect(app, raw=True, **options))
    return Endpoint(client.with_options(base_url=base_url).connect(app, raw=True, **options))


class Endpoint:
    """An app's HTTP endpoint over one WebSocket; made by `connect`."""

    def __init__(self, connection: RawConnection) -> None:
        import asyncio

        self.connection = connection
        """The connection underneath."""
        self._redaction = Redaction(connection._without_secrets)  # noqa: SLF001 - of this package
        self._turn = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None
        self._is_streaming = False
        self._open: Exchange | None = None

    async def __aenter__(self) -> Self:
        """Open; raises what the opening raised."""
        await self.connection
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.connection.aclose()

    async def run(self, payload: object, *, timeout: float | None = None) -> Response:
        """Send a payload and give its whole response. Others wait for their turn.

        Raises:
            ApiError: The status is an error's; `body` says what the app said. 422 is a `ValidationError`.
            RequestTimeoutError: It was not complete in time, its turn included. What still comes of it is skipped.
            EncodeError: The payload cannot be written as JSON.
            DecodeError: What came is no response of this kind; the connection is closed then.
            IncompleteResponseError: The connection was closed before all of it had come; `response` is what had.
            ConnectionClosedError: It was closed before the payload was sent.
            RuntimeError: The same task has a stream of this endpoint open.
        """
        clock = Clock(timeout)
        async with self._exchange(payload, clock, keeps=True) as exchange:
            async for _ in self._body(exchange, clock):
                pass
        return exchange.response()

    async def stream(self, payload: object, *, timeout: float | None = None) -> AsyncGenerator[bytes | str, None]:
        """Send a payload and give its response as it comes; raises like `run`.

        Whoever leaves early lets the next payload wait until the rest has come, which is skipped. A stream that is kept
        in a variable is open until `aclose` is called: others wait, and the same task cannot send the next payload.
        """
        clock = Clock(timeout)
        async with self._exchange(payload, clock, keeps=False) as exchange:
            async for chunk in self._body(exchange, clock):
                yield chunk
        exchange.response()

    @asynccontextmanager
    async def _exchange(self, payload: object, clock: Clock, *, keeps: bool) -> AsyncIterator[Exchange]:
        import asyncio

        message = encoded(payload)
        for _ in range(_LOOP_TURNS):
            if self._holder is not asyncio.current_task():
                break
            await asyncio.sleep(0)
        else:
            raise RuntimeError(_OWN_STREAM + "aclose()")
        try:
            await asyncio.wait_for(self._turn.acquire(), clock.left())
        except asyncio.TimeoutError:
            raise clock.error(_BEHIND_A_STREAM if self._is_streaming else _NOT_ITS_TURN) from None
        self._holder, self._is_streaming = asyncio.current_task(), not keeps
        try:
            while self._open is not None:
                await self._take(self._open, clock)
            await self.connection.send(message)
            self._open = Exchange(self._redaction, keeps=keeps)
            yield self._open
        finally:
            self._holder = None
            self._turn.release()

    async def _body(self, exchange: Exchange, clock: Clock) -> AsyncIterator[bytes | str]:
        try:
            while not exchange.is_over:
                if (chunk := await self._take(exchange, clock)) is not None:
                    yield chunk
        except ConnectionClosedError as error:
            raise exchange.incomplete(error) from error

    async def _take(self, exchange: Exchange, clock: Clock) -> bytes | str | None:
        import asyncio

        # A stream may be read in another task than the one that began it.
        self._holder = asyncio.current_task()
        try:
            message = await self.connection.recv(timeout=clock.left())
        except RequestTimeoutError:
            raise clock.error(exchange.arrived()) from None
        try:
            chunk = exchange.take(message)
        except DecodeError:
            # Where the next response begins is not known any more.
            self.connection.close()
            raise
        if exchange.is_over:
            self._open = None
        return chunk


class SyncEndpoint:
    """An app's HTTP endpoint over one WebSocket, in blocking form; made by `connect`. See `Endpoint`."""

    def __init__(self, connection: SyncRawConnection) -> None:
        self.connection = connection
        """The connection underneath."""
        self._redaction = Redaction(connection._without_secrets)  # noqa: SLF001 - of this package
        self._turn = threading.Lock()
        self._holder: int | None = None
        self._is_streaming = False
        self._open: Exchange | None = None

    def __enter__(self) -> Self:
        """Open; raises what the opening raised."""
        self.connection.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.connection.close()

    def run(self, payload: object, timeout: float | None = None) -> Response:
        """Send a payload and give its whole response, as `Endpoint.run` does."""
        clock = Clock(timeout)
        with self._exchange(payload, clock, keeps=True) as exchange:
            for _ in self._body(exchange, clock):
                pass
        return exchange.response()

    def stream(self, payload: object, timeout: float | None = None) -> Generator[bytes | str, None, None]:
        """Send a payload and give its response as it comes, as `Endpoint.stream` does; `close` closes it."""
        clock = Clock(timeout)
        with self._exchange(payload, clock, keeps=False) as exchange:
            yield from self._body(exchange, clock)
        exchange.response()

    @contextmanager
    def _exchange(self, payload: object, clock: Clock, *, keeps: bool) -> Iterator[Exchange]:
        message = encoded(payload)
        if self._holder == threading.get_ident():
            raise RuntimeError(_OWN_STREAM + "close()")
        left = clock.left()
        if not self._turn.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX)):
            raise clock.error(_BEHIND_A_STREAM if self._is_streaming else _NOT_ITS_TURN)
        self._holder, self._is_streaming = threading.get_ident(), not keeps
        try:
            while self._open is not None:
                self._take(self._open, clock)
            self.connection.send(message)
            self._open = Exchange(self._redaction, keeps=keeps)
            yield self._open
        finally:
            self._holder = None
            self._turn.release()

    def _body(self, exchange: Exchange, clock: Clock) -> Iterator[bytes | str]:
        try:
            while not exchange.is_over:
                if (chunk := self._take(exchange, clock)) is not None:
                    yield chunk
        except ConnectionClosedError as error:
            raise exchange.incomplete(error) from error

    def _take(self, exchange: Exchange, clock: Clock) -> bytes | str | None:
        self._holder = threading.get_ident()
        try:
            message = self.connection.recv(timeout=clock.left())
        except RequestTimeoutError:
            raise clock.error(exchange.arrived()) from None
        try:
            chunk = exchange.take(message)
        except DecodeError:
            # Where the next response begins is not known any more.
            self.connection.close()
            raise
        if exchange.is_over:
            self._open = None
        return chunk
