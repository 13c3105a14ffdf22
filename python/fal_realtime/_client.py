"""The client for asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _core
from ._base import BaseClient
from ._connection import RealtimeConnection
from ._core import EncodedResult
from ._exceptions import ForkedProcessError
from ._functions import is_async
from ._generics import In, Out
from ._keywords import ConnectHandler, PoolKeywords, RawKeywords, SessionKeywords
from ._noop import NoopConnection
from ._raw import RawConnection
from ._signatures import implemented_by
from ._token import RealtimeToken
from ._types import Validator

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import ConnectOptions
    from .pool._pool import Pool


class RealtimeClient(BaseClient[RealtimeConnection[Any, Any], RawConnection]):
    """Makes realtime connections for asyncio.

        client = RealtimeClient()  # FAL_KEY from the environment
        async with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = await connection.request({"prompt": "a cat"}, timeout=5)

    One client serves any number of connections, in any number of threads and loops, and its connections to the same
    app share their token. It holds nothing open by itself; closing it, or leaving `async with`, closes its connections.
    """

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        raw: Literal[True],
        on_result: Callable[[bytes | str], object] | None = None,
        on_open: Callable[[RawConnection], object] | None = None,
        **options: Unpack[RawKeywords],
    ) -> RawConnection: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        decode: Literal[False],
        input_type: type[In] | Validator[In] | None = None,
        on_result: Callable[[EncodedResult], object] | None = None,
        on_open: Callable[[RealtimeConnection[In, EncodedResult]], object] | None = None,
        **options: Unpack[SessionKeywords],
    ) -> RealtimeConnection[In, EncodedResult]: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        result_type: type[Out] | Validator[Out],
        input_type: type[In] | Validator[In] | None = None,
        decode: Literal[True] = True,
        raw: Literal[False] = False,
        on_result: Callable[[Out], object] | None = None,
        on_open: Callable[[RealtimeConnection[In, Out]], object] | None = None,
        **options: Unpack[SessionKeywords],
    ) -> RealtimeConnection[In, Out]: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        decode_message: Callable[[Any], Awaitable[Out]],
        input_type: type[In] | Validator[In] | None = None,
        on_result: Callable[[Out], object] | None = None,
        on_open: Callable[[RealtimeConnection[In, Out]], object] | None = None,
        **options: Unpack[SessionKeywords],
    ) -> RealtimeConnection[In, Out]: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        decode_message: Callable[[Any], Out],
        input_type: type[In] | Validator[In] | None = None,
        on_result: Callable[[Out], object] | None = None,
        on_open: Callable[[RealtimeConnection[In, Out]], object] | None = None,
        **options: Unpack[SessionKeywords],
    ) -> RealtimeConnection[In, Out]: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        input_type: type[In] | Validator[In] | None = None,
        result_type: None = None,
        decode_message: None = None,
        decode: Literal[True] = True,
        raw: Literal[False] = False,
        on_result: Callable[[Any], object] | None = None,
        on_open: Callable[[RealtimeConnection[In, Any]], object] | None = None,
        **options: Unpack[SessionKeywords],
    ) -> RealtimeConnection[In, Any]: ...

    @implemented_by(BaseClient[Any, Any]._connect, gives=RealtimeConnection[Any, Any])  # noqa: SLF001 - its own class
    def connect(self, app: str, handler: ConnectHandler | None = None, **options: Any) -> RealtimeConnection[Any, Any]:
        """Make a connection to an app."""
        raise NotImplementedError

    async def mint_token(self, app: str, *, path: str | None = None, expires_in: float = 120) -> RealtimeToken:
        """Ask fal for a token of your own, such as for a browser that you serve; connections have others.

        Args:
            app: The app id.
            path: The path after it. Default: `/realtime`. With `token_api="tokens"` the token is for all of the app.
            expires_in: Seconds for which it can open sessions; a session that is open goes on.

        Raises:
            AuthenticationError: There are no credentials, or they were refused.
            ApiError: The request was answered with an error, or not at all. It is tried again, unless `retry_after` is
                more than 5 seconds.
            ValueError: The app id or the path is not acceptable.
        """
        arguments = self._token_arguments(app, path, expires_in)
        app_path, token = await self._native_client().mint_token(*arguments)
        return RealtimeToken(token, app_path, expires_in)

    def pool(
        self,
        app: str,
        *,
        size: int,
        depth: int = 1,
        prewarm: int = 1,
        max_age: float | None = None,
        drain_timeout: float | None = None,
        **connect_options: Unpack[PoolKeywords],
    ) -> Pool:
        """Make a pool of connections to an app, which share the requests: see `fal_realtime.pool.Pool`.

            async with client.pool("fal-ai/fast-lcm-diffusion", size=8) as pool:
                result = await pool.request({"prompt": "a cat"}, timeout=30)

        Nothing is opened before it is entered, or the first request.

        Args:
            app: The app id, such as `fal-ai/fast-lcm-diffusion`.
            size: The most connections at any time; they are opened as they are needed.
            depth: The most requests under way on each. More than 1 is for apps that take several inputs at once, or
                wait for them: fal's apps keep few inputs, and drop the oldest silently.
            prewarm: Connections that are opened on entering, and kept open; at most `size`. 0: none before a request.
            max_age: Seconds after which a connection takes no more requests, is closed when those under way are done,
                and replaced. Default: never.
            drain_timeout: Seconds for which leaving `async with` waits for the requests under way. Default: as long as
                they take.
            **connect_options: Those of `connect` for each connection. Not `on_result` and `on_state_change`, which the
                pool uses, nor `connection_key`, `client_only`, `streaming` and `raw`. `reconnect` and `open_timeout`
                hold for the openings of the pool, too. Without `on_error`, errors that are no request's are logged.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type, or there is none of that name.
            RuntimeError: The client is closed.
        """
        from .pool._options import PoolOptions
        from .pool._pool import Pool

        given: dict[str, Any] = {**connect_options}
        shared = {name: given[name] for name in ("reconnect", "open_timeout") if name in given}
        options = PoolOptions(size, depth, prewarm, max_age, drain_timeout, **shared)
        return Pool(self.connect, app, options, given)

    def close(self) -> None:
        """Begin to close all connections made with it; it makes no others. Calling it again does nothing.

        In a forked child: those made there.
        """
        for connection in self._end():
            with contextlib.suppress(ForkedProcessError):
                connection.close()

    async def aclose(self) -> None:
        """Close all connections made with it, and wait as their `aclose` does: for those of the running loop."""
        import asyncio

        open_here: list[Coroutine[Any, Any, None]] = []
        for connection in self._end():
            with contextlib.suppress(ForkedProcessError):
                connection.close()
                if not connection._is_elsewhere():  # noqa: SLF001 - its own module
                    open_here.append(connection.aclose())
        await asyncio.gather(*open_here)

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it and all its connections."""
        await self.aclose()

    def _make(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> RealtimeConnection[Any, Any]:
        arguments = self._arguments(app, url, options)
        if noop:
            return NoopConnection(client, **arguments)
        # Here rather than where they are first used: by then the process may have no descriptor left to read them.
        from . import _calls, _delivery, _opening, _retrying, _within  # noqa: F401

        connection: RealtimeConnection[Any, Any]
        if options.raw:
            connection = RawConnection(client, **arguments)
        elif is_async(options.encode_message):
            from ._codec import AsyncEncodedConnection

            encode = arguments.pop("encode_message")
            connection = AsyncEncodedConnection.create(client, encode=encode, arguments=arguments)
        else:
            connection = RealtimeConnection(client, **arguments)
        connection._introduce()  # noqa: SLF001 - its own module
        connection._close_timeout = options.close_timeout  # noqa: SLF001 - likewise
        return connection


def create_realtime_client(config: object = None) -> RealtimeClient:
    """The counterpart of `createRealtimeClient({ config })`.

    `config` is a mapping or a dataclass of `RealtimeClient`'s options, under their names or the TypeScript client's
    (`credentials`, `proxyUrl`, …); None takes the defaults.
    """
    from dataclasses import fields

    from ._client_options import ClientOptions
    from ._handler import options_from

    known = [entry.name for entry in fields(ClientOptions)]
    return RealtimeClient(**({} if config is None else options_from(config, known, "config")))
