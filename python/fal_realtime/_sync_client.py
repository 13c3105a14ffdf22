"""The blocking client: the same native core, without asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from . import _core
from ._base import BaseClient
from ._functions import check_plain
from ._sync import SyncNoopConnection, SyncRawConnection, SyncRealtimeConnection
from ._token import RealtimeToken

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._options import ConnectOptions

_PLAIN_ONLY = (
    "on_result",
    "on_error",
    "on_timings",
    "on_state_change",
    "encode_message",
    "decode_message",
    "token_provider",
    "before_attempt",
    "on_open",
)


class SyncRealtimeClient(BaseClient[SyncRealtimeConnection]):
    """Makes realtime connections for code without an event loop.

        client = SyncRealtimeClient()  # FAL_KEY from the environment
        with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = connection.request({"prompt": "a cat"}, timeout=5)

    The options are those of `RealtimeClient`; callbacks, encoder, decoder and token provider are plain functions.
    Closing it, or leaving `with`, closes its connections.
    """

    def mint_token(self, app: str, *, path: str | None = None, expires_in: float = 120) -> RealtimeToken:
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
        app_path, token = self._native_client().mint_token_blocking(*arguments)
        return RealtimeToken(token, app_path, expires_in)

    def close(self) -> None:
        """Close all connections made with it, one by one; it makes no others. Calling it again does nothing."""
        for connection in self._end():
            connection.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it and all its connections."""
        self.close()

    def _make(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> SyncRealtimeConnection:
        arguments = self._arguments(app, url, options)
        if noop:
            return SyncNoopConnection(client, **arguments)
        kind = SyncRawConnection if options.raw else SyncRealtimeConnection
        connection = kind(client, **arguments)
        connection._introduce()  # noqa: SLF001 - its own module
        connection._close_timeout = options.close_timeout  # noqa: SLF001 - likewise
        connection._dispatch(options.callbacks())  # noqa: SLF001 - likewise
        return connection

    def _check(self, options: ConnectOptions) -> None:
        check_plain({name: getattr(options, name) for name in _PLAIN_ONLY})
