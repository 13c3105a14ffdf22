"""The realtime part of PyPI's `fal-client`, on this client's core.

```python
from fal_realtime.compat import fal_client

with fal_client.realtime("fal-ai/fast-lcm-diffusion") as connection:
    connection.send({"prompt": "a cat"})
    result = connection.recv()
```

Names, arguments and what they do are those of `fal-client` 1.0.3: one session for each context manager, without
reconnecting; `recv` gives None once the server has closed normally, and raises `RealtimeError` where it reports an
error, `TIMEOUT` (idle, or the end of a stream) among them; `path=""` adds no path. What is no realtime (`run`,
`submit`, `upload`, …) is not here.

Other than there, on purpose:

- an app id that ends in `/realtime` gets no second one;
- an error of the app in msgpack is raised, as one in JSON is, and JSON text that is no object is a result;
- a connection that fails to open, or a token that is refused, raises this package's errors (`HandshakeError`,
  `AuthenticationError`, `ApiError`), and so does sending on a closed connection (`ConnectionClosedError`);
- `ws_connect` gives a `RawConnection`: `send`, `recv`, iteration and `close` as with `websockets`, with this package's
  errors;
- leaving with unread results takes no ten seconds, pings are answered while the program is busy, errors can be pickled;
- a round trip takes about half the time, and half the processor's (`docs/performance.md`);
- values are encoded and decoded as `fal_realtime.msgpack` does: it takes more types, and timestamps become `datetime`.

`SyncClient` and `AsyncClient` take this package's client options beside `key` and `default_timeout` (which is accepted,
and has no meaning for realtime), such as `base_url`, `proxy` or `ssl`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, cast

from fal_realtime import msgpack
from fal_realtime._client import RealtimeClient
from fal_realtime._exceptions import ConnectionClosedError
from fal_realtime._raw import RawConnection
from fal_realtime._secrets import Hidden, Redaction
from fal_realtime._sync_client import SyncRealtimeClient
from fal_realtime._sync_raw import SyncRawConnection
from fal_realtime._tls import hidden_password

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncClient",
    "AsyncRealtimeConnection",
    "RealtimeConnection",
    "RealtimeError",
    "SyncClient",
    "realtime",
    "realtime_async",
    "ws_connect",
    "ws_connect_async",
]

_TOKEN_EXPIRATION_SECONDS = 120
"""Seconds; fal-client's default."""

_HIDDEN_OPTIONS = ("proxy", "proxy_url")
"""Options of a client that may hold a password."""

_NORMAL = frozenset({1000, 1001, 1005})
"""Close codes that are no error (RFC 6455, section 7.4.1; 1005: a close frame without a code)."""

Encoder = Callable[[Any], bytes]
Decoder = Callable[[bytes], Any]


class RealtimeError(RuntimeError):
    """The app reported an error, whose name is in `error`, or the connection broke: `CONNECTION_CLOSED`."""

    def __init__(self, error: str, reason: str | None = None, payload: Mapping[str, Any] | None = None) -> None:
        self.error: str = error
        self.reason: str = reason or ""
        self.payload: dict[str, Any] = dict(payload or {})
        super().__init__(f"{error}: {self.reason}" if self.reason else error)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with all three arguments."""
        return type(self), (self.error, self.reason, self.payload)


class _Wire:
    """What messages mean, both ways."""

    def __init__(self, encode: Encoder | None, decode: Decoder | None, redaction: Redaction) -> None:
        self._redaction = redaction
        self.encode: Encoder = msgpack.encode if encode is None else encode
        self._decode: Decoder = msgpack.decode if decode is None else decode

    def decode(self, message: bytes | str) -> Any:
        """The result, or None for what is of no interest to the caller; raises what the app reports.

        A result that is None is passed over, as there: it would be taken for the end.
        """
        if isinstance(message, bytes):
            value = self._decode(message)
            return value if self._decode is not msgpack.decode else self._without_control(value)
        try:
            value = json.loads(message)
        except json.JSONDecodeError:
            return {"type": "text", "payload": message}
        return self._without_control(value)

    def _without_control(self, value: Any) -> Any:
        if isinstance(value, dict):
            message = cast("dict[str, Any]", value)
            kind = message.get("type")
            if kind == "x-fal-error":
                message = self._redaction(message)
                raise RealtimeError(message.get("error", "UNKNOWN_ERROR"), message.get("reason"), message)
            if kind == "x-fal-message":
                return None
            return message
        return value


def _raise_unless_normal(error: ConnectionClosedError) -> None:
    """Raise what `recv` raises at an end that is no normal one."""
    if error.code not in _NORMAL:
        name = "CONNECTION_CLOSED"
        raise RealtimeError(name, str(error)) from error


class RealtimeConnection:
    """A session in blocking form; made by `SyncClient.realtime`."""

    def __init__(
        self,
        socket: SyncRawConnection,
        encode: Encoder | None,
        decode: Decoder | None,
    ) -> None:
        self._socket = socket
        self._wire = _Wire(encode, decode, Redaction(socket._without_secrets))  # noqa: SLF001 - our own package

    def send(self, arguments: dict[str, Any]) -> None:
        """Send an input."""
        self._socket.send(self._wire.encode(arguments))

    def recv(self) -> Any:
        """Give the next result, or None once the server has closed normally.

        Raises:
            RealtimeError: The app reported an error, or the connection broke.
        """
        while True:
            try:
                message = self._socket.recv()
            except ConnectionClosedError as error:
                _raise_unless_normal(error)
                return None
            if (result := self._wire.decode(message)) is not None:
                return result

    def close(self) -> None:
        """Close; what was sent is written first."""
        self._socket.__exit__(None, None, None)

    def __enter__(self) -> Self:
        """Give the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class AsyncRealtimeConnection:
    """A session for asyncio; made by `AsyncClient.realtime`."""

    def __init__(self, socket: RawConnection, encode: Encoder | None, decode: Decoder | None) -> None:
        self._socket = socket
        self._wire = _Wire(encode, decode, Redaction(socket._without_secrets))  # noqa: SLF001 - our own package

    async def send(self, arguments: dict[str, Any]) -> None:
        """Send an input."""
        await self._socket.send(self._wire.encode(arguments))

    async def recv(self) -> Any:
        """Give the next result, or None once the server has closed normally.

        Raises:
            RealtimeError: The app reported an error, or the connection broke.
        """
        while True:
            try:
                message = await self._socket.recv()
            except ConnectionClosedError as error:
                _raise_unless_normal(error)
                return None
            if (result := self._wire.decode(message)) is not None:
                return result

    async def close(self) -> None:
        """Close; what was sent is written first."""
        await self._socket.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        """Give the connection itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


class _Client:
    """What both clients are made with, and open."""

    _kind: ClassVar[type[RealtimeClient | SyncRealtimeClient]]

    def __init__(self, key: str | None = None, default_timeout: float = 120.0, **options: Any) -> None:
        """Take the key (default: as `RealtimeClient` finds it) and options of `RealtimeClient`."""
        self.default_timeout = default_timeout
        self._client_options: dict[str, Any] = {**options, "credentials": None if key is None else Hidden(key)}
        for name in _HIDDEN_OPTIONS:
            if isinstance(value := options.get(name), str):
                self._client_options[name] = Hidden(value)
        if "client_cert" in options:
            self._client_options["client_cert"] = hidden_password(options["client_cert"])

    def _connect(
        self, application: str, path: str, max_buffering: int | None, token_expiration: int, *, use_jwt: bool
    ) -> Any:
        """A raw connection of the kind's."""
        if application.endswith("/realtime") and path.strip("/") == "realtime":
            path = ""
        revealed = {name: self._client_options[name].reveal() for name in self._hidden_options()}
        client = self._kind(**{**self._client_options, **revealed})
        return client.connect(
            application,
            path=path or None,
            raw=True,
            use_jwt=use_jwt,
            token_expiration_seconds=token_expiration,
            max_buffering=max_buffering,
            reconnect=None,
            max_message_size=2**31,  # fal-client has no limit
        )

    def _hidden_options(self) -> list[str]:
        """The names of those that are hidden and that a client takes as they are."""
        return [name for name in _HIDDEN_OPTIONS if isinstance(self._client_options.get(name), Hidden)]

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the key would be in the pickle."""
        message = f"a {type(self).__name__} cannot be pickled, since it holds a key: make one in each process"
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(default_timeout={self.default_timeout!r})"


class SyncClient(_Client):
    """The counterpart of `fal_client.SyncClient`, as far as realtime goes."""

    _kind = SyncRealtimeClient

    @contextmanager
    def realtime(
        self,
        application: str,
        *,
        use_jwt: bool = True,
        path: str = "/realtime",
        max_buffering: int | None = None,
        token_expiration: int = _TOKEN_EXPIRATION_SECONDS,
        encode_message: Encoder | None = None,
        decode_message: Decoder | None = None,
    ) -> Iterator[RealtimeConnection]:
        """Open a session with a realtime app, and close it when the context is left."""
        with self._connect(application, path, max_buffering, token_expiration, use_jwt=use_jwt) as socket:
            yield RealtimeConnection(socket, encode_message, decode_message)

    @contextmanager
    def ws_connect(
        self,
        application: str,
        *,
        use_jwt: bool = True,
        path: str = "",
        max_buffering: int | None = None,
        token_expiration: int = _TOKEN_EXPIRATION_SECONDS,
    ) -> Iterator[SyncRawConnection]:
        """Open a WebSocket to an app, whose messages pass as they are, and close it when the context is left."""
        with self._connect(application, path, max_buffering, token_expiration, use_jwt=use_jwt) as socket:
            yield socket


class AsyncClient(_Client):
    """The counterpart of `fal_client.AsyncClient`, as far as realtime goes."""

    _kind = RealtimeClient

    @asynccontextmanager
    async def realtime(
        self,
        application: str,
        *,
        use_jwt: bool = True,
        path: str = "/realtime",
        max_buffering: int | None = None,
        token_expiration: int = _TOKEN_EXPIRATION_SECONDS,
        encode_message: Encoder | None = None,
        decode_message: Decoder | None = None,
    ) -> AsyncIterator[AsyncRealtimeConnection]:
        """Open a session with a realtime app, and close it when the context is left."""
        async with self._connect(application, path, max_buffering, token_expiration, use_jwt=use_jwt) as socket:
            yield AsyncRealtimeConnection(socket, encode_message, decode_message)

    @asynccontextmanager
    async def ws_connect(
        self,
        application: str,
        *,
        use_jwt: bool = True,
        path: str = "",
        max_buffering: int | None = None,
        token_expiration: int = _TOKEN_EXPIRATION_SECONDS,
    ) -> AsyncIterator[RawConnection]:
        """Open a WebSocket to an app, whose messages pass as they are, and close it when the context is left."""
        async with self._connect(application, path, max_buffering, token_expiration, use_jwt=use_jwt) as socket:
            yield socket


sync_client: Final = SyncClient()
realtime: Final = sync_client.realtime
ws_connect: Final = sync_client.ws_connect

async_client: Final = AsyncClient()
realtime_async: Final = async_client.realtime
ws_connect_async: Final = async_client.ws_connect
