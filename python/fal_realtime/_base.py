"""What the asyncio and the blocking client have in common: all but the kind of connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from . import _checks as check, _core
from ._client_base import ClientBase
from ._defaults import DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_READ_AHEAD, DEFAULT_RECONNECT
from ._keywords import ConnectHandler
from ._policy import ReconnectPolicy
from ._reuse import ConnectionT, RawT
from ._types import (
    AttemptHook,
    ErrorCallback,
    MessageDecoder,
    MessageEncoder,
    OpenHook,
    ResultCallback,
    StateCallback,
    TimingsCallback,
    TokenProvider,
    Validator,
)

if TYPE_CHECKING:
    from ._observing import Observer
    from ._options import ConnectOptions


class BaseClient(ClientBase[ConnectionT], ABC, Generic[ConnectionT, RawT]):
    """What the asyncio and the blocking client have in common: all but the kind of connection."""

    def _connect(
        self,
        app: str,
        handler: ConnectHandler | None = None,
        *,
        on_result: ResultCallback | None = None,
        on_error: ErrorCallback | None = None,
        connection_key: str | None = None,
        client_only: bool = False,
        throttle_interval: float | timedelta | None = None,
        max_buffering: int | None = None,
        path: str | None = None,
        encode_message: MessageEncoder | None = None,
        decode_message: MessageDecoder | None = None,
        decode: bool = True,
        result_type: type[Any] | Validator[Any] | None = None,
        input_type: type[Any] | Validator[Any] | None = None,
        token_provider: TokenProvider | None = None,
        token_expiration_seconds: float | None = None,
        token_body: Mapping[str, Any] | None = None,
        use_jwt: bool = True,
        streaming: bool = False,
        reconnect: ReconnectPolicy | None = DEFAULT_RECONNECT,
        open_timeout: float = 90,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        busy_timeout: float | Literal["auto"] | None = "auto",
        max_session: float | None = None,
        idle_close: float | None = None,
        close_timeout: float = 10,
        max_message_size: int | None = None,
        read_ahead: int = DEFAULT_READ_AHEAD,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        raw: bool = False,
        on_state_change: StateCallback | None = None,
        on_timings: TimingsCallback | None = None,
        before_attempt: AttemptHook | None = None,
        on_open: OpenHook | None = None,
    ) -> ConnectionT:
        """Make a connection to an app. Nothing is opened yet: that happens on the first send, or where it is entered.

        Args:
            app: The app id, such as `fal-ai/fast-lcm-diffusion`.
            handler: The same options as a mapping, under these names or the TypeScript client's (`onResult`,
                `throttleInterval`, …): a `ConnectHandler`, or a dataclass.
            on_result: Takes each result; then `recv` and iteration are not available.
            on_error: Takes each error that no call raised.
            connection_key: Connecting again to the same app with the same key gives the same connection, with the new
                callbacks (in the contextvars of that `connect`), until it is closed. The client keeps it: close it when
                it is done.
            client_only: On the server side (see `side`), give a connection that does nothing.
            throttle_interval: **Milliseconds** (0, or 1 to 3,600,000), or a `timedelta`, between two sends; of the
                inputs in between the latest is sent. 0 sends all. Default: 128 for `send_nowait`, which is the
                TypeScript client's `send`, and none for `send`. `request` is never throttled.
            max_buffering: From 1 to 60: the server's buffer **and** the local ones, which then drop the oldest.
                Default: the app's own choice, and nothing is dropped here.
            path: The path after the app id. Default: `/realtime`.
            encode_message: Gives the message for an input, `bytes` (binary) or `str` (text). Default: msgpack.
            decode_message: Gives the result for a message. Default: msgpack for binary, JSON for text.
            decode: False gives each result as an `EncodedResult`, undecoded, with its `request_id`: for gateways that
                pass it on (`await connection.send(result.payload)`), and so each message that could not be decoded.
                `request` matches as ever; errors are errors.
            result_type: What each result is to be: a pydantic model, `msgspec.Struct`, dataclass or TypedDict, or a
                `pydantic.TypeAdapter` of anything. `recv`, iteration, `request` and `on_result` give such objects; a
                result that is none is a `DecodeError` with its `path` and the whole `result`. Fields that the type does
                not know are left out, unless the model or Struct is configured otherwise. Dataclasses and TypedDicts
                need `msgspec`. Default: dicts, lists, `str`, `bytes` and so on, unchecked.
            input_type: What each input is to be, likewise: `send`, `send_nowait` and `request` raise `EncodeError` for
                anything else, with the path. Default: anything that can be encoded.
            token_provider: Takes `owner/alias/path`, gives a token. Default: a request to fal with the credentials.
            token_expiration_seconds: The life of a token, which is renewed at 90 % of it. Default: 120 without
                `token_provider`, no renewal with one.
            token_body: The JSON body of the default token request, instead of fal's current one.
            use_jwt: False sends the key itself in the handshake, which saves the token request.
            streaming: The app answers with streams: the server's TIMEOUT ends the iteration instead of meaning "idle".
            reconnect: When and how often to reconnect after a loss; None: never.
            open_timeout: Seconds for opening, cold start of the app included.
            ping_interval: Seconds between two pings; None: no pings.
            ping_timeout: Seconds without an answer to a ping after which the connection counts as lost; None: never.
            busy_timeout: Seconds that it may take beyond that while the server's system (or that of a gateway before
                it) acknowledges what is sent: a server that works, and does not read meanwhile, answers no ping. None:
                as long as it acknowledges. Only Linux tells; elsewhere it has no effect. Default: 300 with
                `streaming=True`, else 0.
            max_session: Seconds after which a session is closed at the next moment with nothing under way: every input
                written has its answer. The connection is then `idle`, and the next send opens it again. Default: never.
            idle_close: Seconds without a message in either direction after which it is closed likewise, if nothing is
                under way (or up to a quarter of that later). Default: never.
            close_timeout: Seconds for the closing handshake.
            max_message_size: Bytes of the largest message, in both directions. Default: 16 MiB for what is sent, which
                is what a fal app takes (it closes with 1009 above), and 64 MiB for what is received.
            read_ahead: Bytes of results that may wait for you before the socket is no longer read, besides the one that
                goes over it; with `max_buffering` none is waited for. Default: 64 MiB.
            headers: Headers of your own in the opening handshake, such as `traceparent`.
            query: Parameters of your own in its address.
            subprotocols: Offered in it (`Sec-WebSocket-Protocol`), the best first; see `connection.subprotocol`.
            raw: Messages pass as they are, as with `connect_raw`, but with fal's address and authentication and with
                `reconnect`: for apps that are plain WebSockets. `send` takes `bytes` (a binary message) or `str` (a
                text message); `recv`, iteration and `on_result` give the same. No `/realtime` is added to the app id,
                nothing is throttled unless `throttle_interval` says so, and there is no `request`.
            on_state_change: Takes each new state; with a second argument (without a default, or called `reason`) also
                the error that led to it, or None.
            on_timings: Takes the seconds that the app reports for a result.
            before_attempt: Called with an `Attempt` before each attempt to open, the first one too: it may change the
                headers, the query or the token of this attempt, or stop. Sync (in a thread of its own) or async (on the
                loop), within `open_timeout`; what it raises fails the attempt. Stays that of the first `connect` with
                a `connection_key`.
            on_open: Called with the connection each time a socket has opened: what it sends (`send_nowait`, `send`,
                `request`, none of it throttled) goes out before all that waits, and in this session alone. Then the
                state becomes `active`. Sync or async, on the loop (with `SyncRealtimeClient` in a thread of its own),
                beside the other callbacks, within `open_timeout`: an opening whose `on_open` does not end by then has
                failed. What it raises is reported, and the opening goes on. It must not wait for `drain` or `open`,
                which wait for it. Stays that of the first `connect` with a `connection_key`.

        Raises:
            ValueError: An option has a value that is not accepted, or a reused connection has another one.
            TypeError: An option is of the wrong type, or `handler` has an unknown one.
            RuntimeError: The client is closed.
        """
        from ._options import ConnectOptions

        __tracebackhide__ = True  # as in `_checks`
        options = ConnectOptions(
            on_result=on_result,
            on_error=on_error,
            on_timings=on_timings,
            on_state_change=on_state_change,
            connection_key=connection_key,
            client_only=client_only,
            throttle_interval=throttle_interval,
            max_buffering=max_buffering,
            path=path,
            encode_message=encode_message,
            decode_message=decode_message,
            decode=decode,
            result_type=result_type,
            input_type=input_type,
            token_provider=token_provider,
            token_expiration_seconds=token_expiration_seconds,
            token_body=token_body,
            use_jwt=use_jwt,
            streaming=streaming,
            reconnect=reconnect,
            open_timeout=open_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            busy_timeout=busy_timeout,
            max_session=max_session,
            idle_close=idle_close,
            close_timeout=close_timeout,
            max_message_size=max_message_size,
            read_ahead=read_ahead,
            headers=headers,
            query=query,
            before_attempt=before_attempt,
            on_open=on_open,
            subprotocols=subprotocols,
            raw=raw,
        )
        check.text("app", app, "a str such as 'fal-ai/fast-lcm-diffusion'", may_be_empty=True)
        if handler is not None:
            options = options.merged_with(handler)
        self._check(options)
        if not options.use_jwt:
            self._options.check_key_in_handshake()
        noop = options.client_only and self._side == "server"
        client = self._native_client()
        if noop or options.connection_key is None:
            return self._own(self._observed(client, app, options, noop=noop))
        return self._own(
            self._reusable.get_or_make(
                app, options.connection_key, options, lambda: self._observed(client, app, options)
            )
        )

    def connect_raw(
        self,
        url: str,
        *,
        on_result: ResultCallback | None = None,
        on_error: ErrorCallback | None = None,
        on_state_change: StateCallback | None = None,
        reconnect: ReconnectPolicy | None = None,
        open_timeout: float = 90,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        busy_timeout: float | None = 0,
        close_timeout: float = 10,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        read_ahead: int = DEFAULT_READ_AHEAD,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        before_attempt: AttemptHook | None = None,
        on_open: OpenHook | None = None,
    ) -> RawT:
        """Make a connection to any WebSocket server, on which messages pass as they are.

        `send` takes `bytes` (a binary message) or `str` (a text message), `recv` and iteration give the same. Nothing
        of fal's protocol applies: no key or token is sent, nothing is throttled or looked at, there is no `request`.
        When the server closes normally (code 1000, or none), iteration ends and the connection is closed; other
        codes raise `ConnectionClosedError`. The client's `proxy`, `ssl` and `user_agent` hold here too.

        Args:
            url: The whole address, `ws://` or `wss://`, with its query. The query appears in no repr or message.
            on_result: Takes each message; then `recv` and iteration are not available.
            on_error: Takes each error that no call raised.
            on_state_change: Takes each new state; with a second argument (without a default, or called `reason`) also
                the error that led to it, or None.
            reconnect: When and how often to reconnect after a loss that is no normal close. Default: never.
            open_timeout: Seconds for opening.
            ping_interval: Seconds between two pings; None: no pings.
            ping_timeout: Seconds without an answer to a ping after which the connection counts as lost; None: never.
            busy_timeout: Seconds that it may take beyond that while the server's system acknowledges what is sent;
                None: as long as it does. Only Linux tells.
            close_timeout: Seconds for the closing handshake.
            max_message_size: Bytes, in both directions.
            read_ahead: As for `connect`.
            headers: Headers of your own in the opening handshake, `Authorization` among them.
            query: Parameters that are added to the query of the `url`, percent-encoded.
            subprotocols: Offered in it (`Sec-WebSocket-Protocol`), the best first; see `connection.subprotocol`.
            before_attempt: As for `connect`; there is no token to change, and what is in the `url` stays.
            on_open: As for `connect`.

        Raises:
            ValueError: The URL or an option has a value that is not accepted.
            TypeError: An option is of the wrong type.
            RuntimeError: The client is closed.
        """
        __tracebackhide__ = True  # as in `_checks`
        check.url("url", url, "ws", "wss", query=True)
        from ._options import RawOptions

        options = RawOptions(
            on_result=on_result,
            on_error=on_error,
            on_state_change=on_state_change,
            throttle_interval=0,
            use_jwt=False,
            reconnect=reconnect,
            open_timeout=open_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            busy_timeout=busy_timeout,
            close_timeout=close_timeout,
            max_message_size=max_message_size,
            read_ahead=read_ahead,
            headers=headers,
            query=query,
            before_attempt=before_attempt,
            on_open=on_open,
            subprotocols=subprotocols,
        )
        self._check(options)
        connection = self._own(self._observed(self._native_client(), "raw", options, url=url))
        return cast("RawT", connection)  # what `_make` makes where there is a `url`

    def _check(self, options: ConnectOptions) -> None:
        """Refuse what this kind of client cannot do."""

    def _observed(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> ConnectionT:
        """Make the connection, of which observers are told."""
        told: list[tuple[Observer, object]] = []
        if not noop:
            for observer in self._observers:
                options, about = observer.options(url or self._base_url, options)
                told.append((observer, about))
        connection = self._make(client, app, options, noop=noop, url=url)
        for observer, about in told:
            observer.made(connection, about)
        return connection

    @abstractmethod
    def _make(
        self, client: _core.Client, app: str, options: ConnectOptions, *, noop: bool = False, url: str | None = None
    ) -> ConnectionT:
        """Make the connection, or one that does nothing (`noop`), or a raw one (`url`)."""

    def _arguments(self, app: str, url: str | None, options: ConnectOptions) -> dict[str, Any]:
        """The arguments of a native connection."""
        arguments = {"app": app, "url": url, **options.as_native()}
        if arguments["token_body"] is None:
            arguments["token_body"] = self._options.default_token_body()
        return arguments
