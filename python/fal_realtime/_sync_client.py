"""The blocking client: the same native core, without asyncio."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _core
from ._base import BaseClient
from ._core import EncodedResult
from ._exceptions import ForkedProcessError
from ._functions import check_plain
from ._generics import In, Out
from ._keywords import ConnectHandler, PoolKeywords, SyncRawKeywords, SyncSessionKeywords
from ._signatures import implemented_by
from ._sync import SyncRealtimeConnection
from ._sync_noop import SyncNoopConnection
from ._sync_raw import SyncRawConnection
from ._token import RealtimeToken
from ._types import Validator

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import ConnectOptions
    from .pool._sync_pool import SyncPool

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


class SyncRealtimeClient(BaseClient[SyncRealtimeConnection[Any, Any], SyncRawConnection]):
    """Makes realtime connections for code without an event loop.

        client = SyncRealtimeClient()  # FAL_KEY from the environment
        with client.connect("fal-ai/fast-lcm-diffusion") as connection:
            result = connection.request({"prompt": "a cat"}, timeout=5)

    The options are those of `RealtimeClient`; callbacks, encoder, decoder and token provider are plain functions.
    Closing it, or leaving `with`, closes its connections.
    """

    _pools: weakref.WeakSet[SyncPool] | None = None

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        raw: Literal[True],
        on_result: Callable[[bytes | str], object] | None = None,
        on_open: Callable[[SyncRawConnection], object] | None = None,
        **options: Unpack[SyncRawKeywords],
    ) -> SyncRawConnection: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        decode: Literal[False],
        input_type: type[In] | Validator[In] | None = None,
        on_result: Callable[[EncodedResult], object] | None = None,
        on_open: Callable[[SyncRealtimeConnection[In, EncodedResult]], object] | None = None,
        **options: Unpack[SyncSessionKeywords],
    ) -> SyncRealtimeConnection[In, EncodedResult]: ...

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
        on_open: Callable[[SyncRealtimeConnection[In, Out]], object] | None = None,
        **options: Unpack[SyncSessionKeywords],
    ) -> SyncRealtimeConnection[In, Out]: ...

    @overload
    def connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        decode_message: Callable[[Any], Out],
        input_type: type[In] | Validator[In] | None = None,
        on_result: Callable[[Out], object] | None = None,
        on_open: Callable[[SyncRealtimeConnection[In, Out]], object] | None = None,
        **options: Unpack[SyncSessionKeywords],
    ) -> SyncRealtimeConnection[In, Out]: ...

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
        on_open: Callable[[SyncRealtimeConnection[In, Any]], object] | None = None,
        **options: Unpack[SyncSessionKeywords],
    ) -> SyncRealtimeConnection[In, Any]: ...

    @implemented_by(BaseClient[Any, Any]._connect, gives=SyncRealtimeConnection[Any, Any])  # noqa: SLF001 - its own class
    def connect(
        self, app: str, handler: ConnectHandler | None = None, **options: Any
    ) -> SyncRealtimeConnection[Any, Any]:
        """Make a connection to an app."""
        raise NotImplementedError

    def mint_token(self, app: str, *, path: str | None = None, expires_in: float = 120) -> RealtimeToken:
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
        app_path, token = self._native_client().mint_token_blocking(*arguments)
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
    ) -> SyncPool:
        """Make a pool of connections to an app, which share the requests of any number of threads.

            with client.pool("fal-ai/fast-lcm-diffusion", size=8) as pool:
                result = pool.request({"prompt": "a cat"}, timeout=30)

        The options are those of `RealtimeClient.pool`. It has an event loop in a thread of its own, in which callbacks,
        asynchronous ones too, are called.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type, or there is none of that name.
            RuntimeError: The client is closed.
            FalRealtimeError: The system gives no thread.
        """
        from ._client import RealtimeClient
        from .pool._sync_pool import SyncPool

        self._native_client()  # which says so where the client is closed
        twin = RealtimeClient(**self._options.keywords())
        twin._tokens = self._tokens  # noqa: SLF001 - of this package
        twin._observers = self._observers  # noqa: SLF001 - likewise
        pool = SyncPool(
            twin.pool(
                app,
                size=size,
                depth=depth,
                prewarm=prewarm,
                max_age=max_age,
                drain_timeout=drain_timeout,
                **connect_options,
            )
        )
        with self._lock:
            self._pools = self._pools or weakref.WeakSet()
            self._pools.add(pool)
        return pool

    def close(self) -> None:
        """Close all connections and pools made with it, one by one; it makes no others. Again, it does nothing.

        In a forked child: those made there.
        """
        for connection in self._end():
            with contextlib.suppress(ForkedProcessError):
                connection.close()
        for pool in list(self._pools or ()):
            with contextlib.suppress(ForkedProcessError):
                pool._close_at_once()  # noqa: SLF001 - of this package

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
    ) -> SyncRealtimeConnection[Any, Any]:
        arguments = self._arguments(app, url, options)
        if noop:
            return SyncNoopConnection(client, **arguments)
        # Here rather than where they are first used: by then the process may have no descriptor left to read them.
        from . import _retrying  # noqa: F401

        if options.token_provider or options.before_attempt or options.on_open:
            from . import _calls, _opening  # noqa: F401
        kind = SyncRawConnection if options.raw else SyncRealtimeConnection
        connection = kind(client, **arguments)
        connection._introduce()  # noqa: SLF001 - its own module
        connection._close_timeout = options.close_timeout  # noqa: SLF001 - likewise
        connection._dispatch(options.callbacks())  # noqa: SLF001 - likewise
        return connection

    def _check(self, options: ConnectOptions) -> None:
        check_plain({name: getattr(options, name) for name in _PLAIN_ONLY})
