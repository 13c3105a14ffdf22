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

import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlsplit

from . import _checks as check
from ._client import RealtimeClient
from ._exceptions import ApiError, DecodeError, EncodeError, RequestTimeoutError, ValidationError
from ._sync_client import SyncRealtimeClient

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._raw import RawConnection
    from ._sync import SyncRawConnection

__all__ = ["Endpoint", "Response", "SyncEndpoint", "connect"]

_FIRST_ERROR = 400
_UNPROCESSABLE = 422


@dataclass(frozen=True)
class Response:
    """What an endpoint answered to one payload."""

    request_id: str
    """fal's id of the request."""
    status: int
    """The HTTP status."""
    headers: dict[str, str]
    """Those of the HTTP response, as they came."""
    chunks: list[bytes | str] = field(repr=False)
    """The body, in the messages in which it came."""

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in self.chunks)

    def json(self) -> Any:
        """The body, decoded from JSON.

        Raises:
            DecodeError: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            message = f"the response is no JSON: {error}"
            raise DecodeError(message) from error


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
            host, as in `wss://ws.fal.run`.
        open_timeout: Seconds for opening, cold start of the app included.
    """
    if base_url is None:
        parts = urlsplit(client._base_url)  # noqa: SLF001 - of this package
        host = os.environ.get("FAL_WS_RUN_HOST")
        base_url = f"wss://{host}" if host else f"{parts.scheme}://ws.{parts.netloc}"
    options: dict[str, Any] = {"raw": True, "use_jwt": False, "reconnect": None, "open_timeout": open_timeout}
    if path:
        options["path"] = path
    if isinstance(client, SyncRealtimeClient):
        return SyncEndpoint(client.with_options(base_url=base_url).connect(app, **options))  # type: ignore[arg-type]
    return Endpoint(client.with_options(base_url=base_url).connect(app, **options))  # type: ignore[arg-type]


class _Exchange:
    """One payload and its response, without I/O: takes messages, says what they are."""

    def __init__(self) -> None:
        self.request_id = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_over = False
        self._has_started = False

    def take(self, message: bytes | str) -> bytes | str | None:
        """A part of the body, or None for what frames it."""
        said = _frame(message)
        if not self._has_started:
            if said is None or said["type"] != "start":
                why = "the response does not begin with its start: is this app behind fal's HTTP over WebSockets?"
                raise DecodeError(why)
            self._has_started = True
            self.request_id = str(said["request_id"])
            status, headers = said.get("status"), said.get("headers")
            self.status = status if isinstance(status, int) else 0
            self.headers = (
                {str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
            )
            return None
        # An app's own JSON may look like this, but for the id.
        if said is not None and said["type"] == "end" and str(said["request_id"]) == self.request_id:
            self.is_over = True
            return None
        return message

    def refused(self, chunks: list[bytes | str]) -> ApiError | None:
        """The error for a status that says so."""
        if self.status < _FIRST_ERROR:
            return None
        response = Response(self.request_id, self.status, self.headers, chunks)
        try:
            body = response.json()
        except DecodeError:
            body = response.body.decode(errors="replace")[:2048]
        kind = ValidationError if self.status == _UNPROCESSABLE else ApiError
        error = kind(f"the endpoint answered with status {self.status}", self.status, body, self.request_id)
        error.headers = {name.lower(): value for name, value in self.headers.items()}
        return error


def _frame(message: bytes | str) -> dict[str, Any] | None:
    """The start or end that a message is, or None."""
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return None
    try:
        said = json.loads(message)
    except ValueError:
        return None
    is_frame = isinstance(said, dict) and said.get("type") in ("start", "end") and "request_id" in said
    return said if is_frame else None


def _encoded(payload: object) -> str:
    try:
        return json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the payload cannot be written as JSON: {error}"
        raise EncodeError(message) from error


class _Clock:
    """Seconds left of a timeout."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = None if timeout is None else check.not_negative("timeout", timeout)
        self._end = None if self._timeout is None else time.monotonic() + self._timeout

    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def error(self) -> RequestTimeoutError:
        return RequestTimeoutError(f"the response was not complete within {self._timeout} s")


class Endpoint:
    """An app's HTTP endpoint over one WebSocket; made by `connect`."""

    def __init__(self, connection: RawConnection) -> None:
        import asyncio

        self.connection = connection
        """The connection underneath."""
        self._turn = asyncio.Lock()
        self._open: _Exchange | None = None

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
            ConnectionClosedError: The connection was closed meanwhile.
        """
        async with self._exchange(payload, _Clock(timeout)) as (exchange, clock):
            chunks = [chunk async for chunk in self._body(exchange, clock)]
        return Response(exchange.request_id, exchange.status, exchange.headers, chunks)

    async def stream(self, payload: object, *, timeout: float | None = None) -> AsyncIterator[bytes | str]:
        """Send a payload and give its response as it comes; raises like `run`.

        Whoever leaves early lets the next payload wait until the rest has come, which is skipped.
        """
        async with self._exchange(payload, _Clock(timeout)) as (exchange, clock):
            async for chunk in self._body(exchange, clock):
                yield chunk

    @asynccontextmanager
    async def _exchange(self, payload: object, clock: _Clock) -> AsyncIterator[tuple[_Exchange, _Clock]]:
        import asyncio

        message = _encoded(payload)
        try:
            await asyncio.wait_for(self._turn.acquire(), clock.left())
        except asyncio.TimeoutError:
            raise clock.error() from None
        try:
            while self._open is not None:
                await self._take(self._open, clock)
            await self.connection.send(message)
            self._open = _Exchange()
            yield self._open, clock
        finally:
            self._turn.release()

    async def _body(self, exchange: _Exchange, clock: _Clock) -> AsyncIterator[bytes | str]:
        chunks: list[bytes | str] = []
        while not exchange.is_over:
            chunk = await self._take(exchange, clock)
            if chunk is not None and exchange.status >= _FIRST_ERROR:
                chunks.append(chunk)
            elif chunk is not None:
                yield chunk
        if (error := exchange.refused(chunks)) is not None:
            raise error

    async def _take(self, exchange: _Exchange, clock: _Clock) -> bytes | str | None:
        try:
            message = await self.connection.recv(timeout=clock.left())
        except RequestTimeoutError:
            raise clock.error() from None
        chunk = exchange.take(message)
        if exchange.is_over:
            self._open = None
        return chunk


class SyncEndpoint:
    """An app's HTTP endpoint over one WebSocket, in blocking form; made by `connect`. See `Endpoint`."""

    def __init__(self, connection: SyncRawConnection) -> None:
        self.connection = connection
        """The connection underneath."""
        self._turn = threading.Lock()
        self._open: _Exchange | None = None

    def __enter__(self) -> Self:
        """Open; raises what the opening raised."""
        self.connection.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.connection.close()

    def run(self, payload: object, timeout: float | None = None) -> Response:
        """Send a payload and give its whole response, as `Endpoint.run` does."""
        with self._exchange(payload, _Clock(timeout)) as (exchange, clock):
            chunks = list(self._body(exchange, clock))
        return Response(exchange.request_id, exchange.status, exchange.headers, chunks)

    def stream(self, payload: object, timeout: float | None = None) -> Iterator[bytes | str]:
        """Send a payload and give its response as it comes, as `Endpoint.stream` does."""
        with self._exchange(payload, _Clock(timeout)) as (exchange, clock):
            yield from self._body(exchange, clock)

    @contextmanager
    def _exchange(self, payload: object, clock: _Clock) -> Iterator[tuple[_Exchange, _Clock]]:
        message = _encoded(payload)
        left = clock.left()
        if not self._turn.acquire(timeout=-1 if left is None else left):
            raise clock.error()
        try:
            while self._open is not None:
                self._take(self._open, clock)
            self.connection.send(message)
            self._open = _Exchange()
            yield self._open, clock
        finally:
            self._turn.release()

    def _body(self, exchange: _Exchange, clock: _Clock) -> Iterator[bytes | str]:
        chunks: list[bytes | str] = []
        while not exchange.is_over:
            chunk = self._take(exchange, clock)
            if chunk is not None and exchange.status >= _FIRST_ERROR:
                chunks.append(chunk)
            elif chunk is not None:
                yield chunk
        if (error := exchange.refused(chunks)) is not None:
            raise error

    def _take(self, exchange: _Exchange, clock: _Clock) -> bytes | str | None:
        try:
            message = self.connection.recv(timeout=clock.left())
        except RequestTimeoutError:
            raise clock.error() from None
        chunk = exchange.take(message)
        if exchange.is_over:
            self._open = None
        return chunk
