"""The client for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from . import _core
from ._base import BaseClient
from ._connection import NoopConnection, RealtimeConnection
from ._functions import is_async
from ._raw import RawConnection
from ._token import RealtimeToken

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._options import ConnectOptions


class RealtimeClient(BaseClient[RealtimeConnection]):
    """Makes realtime connections for asyncio.

        client = RealtimeClient()  # FAL_KEY from the environment
        async with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = await connection.request({"prompt": "a cat"}, timeout=5)

    One client serves any number of connections, in any number of threads and loops, and its connections to the same
    app share their token. It holds nothing open by itself; closing it, or leaving `async with`, closes its connections.
    """

    async def mint_token(self, app: str, *, path: str | None = None, expires_in: float = 120) -> RealtimeToken:
        """Ask fal for a token of your own, such as for a browser that you serve; connections have others.

        Args:
            app: The app id.
            path: The path after it. Default: `/realtime`. With `token_api="tokens"` the token is for all of the app.
            expires_in: Seconds for which it can open sessions; a session that is open goes on.

        Raises:
            AuthenticationError: There are no credentials, or they were refused.
            ApiError: The request was answered with an error, or not at all.
            ValueError: The app id or the path is not acceptable.
        """
        arguments = self._token_arguments(app, path, expires_in)
        app_path, token = await self._native_client().mint_token(*arguments)
        return RealtimeToken(token, app_path, expires_in)

    def close(self) -> None:
        """Begin to close all connections made with it; it makes no others. Calling it again does nothing."""
        for connection in self._end():
            connection.close()

    async def aclose(self) -> None:
        """Close all connections made with it, and wait as their `aclose` does: for those of the running loop."""
        import asyncio

        open_here = []
        for connection in self._end():
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
    ) -> RealtimeConnection:
        arguments = self._arguments(app, url, options)
        if noop:
            return NoopConnection(client, **arguments)
        connection: RealtimeConnection
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
