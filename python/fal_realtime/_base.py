"""What the asyncio and the blocking client have in common: all but the kind of connection."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn

from . import _checks as check, _core
from ._defaults import DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_RECONNECT
from ._policy import ReconnectPolicy
from ._reuse import ConnectionCache, ConnectionT
from ._tls import ClientCert, PathOrPaths, Trust
from ._types import (
    AttemptHook,
    CredentialsSource,
    ErrorCallback,
    MessageDecoder,
    MessageEncoder,
    OpenHook,
    ResultCallback,
    Side,
    StateCallback,
    TimingsCallback,
    TokenApi,
    TokenProvider,
)
from ._version import version

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._client_options import ClientKeywords
    from ._credentials import Credentials
    from ._options import ConnectOptions


class _SharedTokens:
    """The native client whose tokens all clients use that were made of one another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: tuple[Credentials, _core.Client] | None = None

    def client_of(self, credentials: Credentials, arguments: dict[str, Any]) -> _core.Client:
        """A native client; with the tokens of the first one, if that has the same credentials."""
        with self._lock:
            first = self._first
            if first is not None and first[0] == credentials:
                return _core.Client(tokens_of=first[1], **arguments)
            client = _core.Client(**arguments)
            # A key that changes, of a callable: whoever comes now has the newer one.
            self._first = credentials, client
            return client


_LONGEST_TOKEN = 366 * 86_400
"""Seconds; what is longer is a mistake about the unit."""


class BaseClient(ABC, Generic[ConnectionT]):
    """What the asyncio and the blocking client have in common: all but the kind of connection."""

    def __init__(
        self,
        credentials: str | CredentialsSource | None = None,
        *,
        base_url: str | None = None,
        rest_url: str = "https://rest.fal.ai",
        token_path: str | None = None,
        token_api: TokenApi = "tokens",  # noqa: S107 - a name, not a secret
        proxy: str | None = None,
        trust_env: bool = True,
        proxy_url: str | None = None,
        ssl: Trust | None = None,
        extra_ca: PathOrPaths | None = None,
        client_cert: ClientCert | None = None,
        user_agent: str | None = None,
        side: Side | None = None,
        allow_cleartext: bool = False,
    ) -> None:
        """Check the options; nothing is opened, and no event loop is needed.

        Args:
            credentials: The key (`key_id:key_secret`; white space around it is ignored), or a callable that gives it,
                asked at each `connect`. Default: the environment's FAL_KEY, else FAL_KEY_ID and FAL_KEY_SECRET joined
                with a colon, else the secret FAL_KEY of a Colab notebook, else the login of `fal auth login`, if it has
                not expired (with FAL_FORCE_AUTH_BY_USER=1 the login alone). Not needed with a `token_provider`.
            base_url: Where the WebSocket goes. Default: `wss://$FAL_RUN_HOST` if that is set, else `wss://fal.run`.
            rest_url: Where tokens are requested.
            token_path: The path of the token request below `rest_url`. Default: that of `token_api`.
            token_api: "tokens" asks `/tokens/` for a token of the app's alias, as fal's clients do; "realtime" asks
                `/tokens/realtime`, as fal's newer documentation does, for one of the app's whole path.
            proxy: A network proxy for both, such as `http://user:password@host:3128` or `socks5://host:1080`.
            trust_env: Without `proxy`, use that of the environment: for the WebSocket WSS_PROXY, SOCKS_PROXY,
                HTTPS_PROXY or ALL_PROXY, for tokens HTTPS_PROXY or ALL_PROXY, unless NO_PROXY excepts the host.
            proxy_url: Your own server that adds the key to token requests, as for the TypeScript client: it gets the
                request with the real address in `x-fal-target-url`, and no key. The WebSocket does not go there.
            ssl: Whom to trust instead of the system's authorities: a PEM file of certificates, a directory of such
                files, several of these, or an `ssl.SSLContext`, of which the authorities, `verify_mode` and
                `check_hostname` are taken, since nothing else can be read from one. A server that shows one of these
                very certificates is trusted, though it has signed it itself; dates and name are checked all the same.
                `InsecureForLocalTests()` accepts any certificate.
            extra_ca: PEM files or directories of authorities that are trusted beside those.
            client_cert: What is shown to servers that ask for a certificate: a PEM file that holds it and its key, or
                a tuple of the two files, and of the key's password (PKCS #8) if it is encrypted.
            user_agent: The `User-Agent` of all requests. Default: `fal-realtime/<version> (python)`.
            allow_cleartext: The key may go to another machine without TLS: to a `rest_url` of `http://`, or with
                `use_jwt=False` to a `base_url` of `ws://`.
            side: "client" or "server": where `client_only=True` connects nothing. Default: FAL_REALTIME_SIDE, else
                "client".

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type.
        """
        from ._client_options import ClientOptions

        self._options = ClientOptions(
            credentials,
            base_url,
            rest_url,
            token_path,
            token_api,
            proxy,
            trust_env,
            proxy_url,
            ssl,
            extra_ca,
            client_cert,
            user_agent,
            side,
            allow_cleartext,
        )
        self._side = self._options.resolved_side()
        self._base_url = self._options.resolved_base_url()
        self._user_agent = f"fal-realtime/{version()} (python)"
        self._native: tuple[Credentials, _core.Client] | None = None
        self._tokens = _SharedTokens()
        self._reusable: ConnectionCache[ConnectionT] = ConnectionCache()
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[ConnectionT] = weakref.WeakSet()
        self._is_closed = False

    def with_options(self, **options: Unpack[ClientKeywords]) -> Self:
        """Make a client with the same options but for those given, which are those of the class.

        It has connections and an end of its own: closing one closes nothing of the other. They share their tokens
        unless the credentials, an address, a proxy or what TLS trusts is another one.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type, or there is none of that name.
        """
        from ._handler import options_from

        keywords = self._options.keywords()
        client = type(self)(**{**keywords, **options_from(options, keywords, "with_options")})
        if client._options.shares_tokens_with(self._options):  # noqa: SLF001 - its own class
            client._tokens = self._tokens  # noqa: SLF001 - likewise
        return client

    def connect(
        self,
        app: str,
        handler: Mapping[str, Any] | None = None,
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
                `throttleInterval`, …).
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
                pass it on (`await connection.send(result.payload)`). `request` matches as ever; errors are errors.
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
            return self._own(self._make(client, app, options, noop=noop))
        return self._own(
            self._reusable.get_or_make(app, options.connection_key, options, lambda: self._make(client, app, options))
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
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        before_attempt: AttemptHook | None = None,
        on_open: OpenHook | None = None,
    ) -> ConnectionT:
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
            headers: Headers of your own in the opening handshake, `Authorization` among them.
            subprotocols: Offered in it (`Sec-WebSocket-Protocol`), the best first; see `connection.subprotocol`.
            before_attempt: As for `connect`; there is no token to change, and the query is added to that of the `url`.
            on_open: As for `connect`.

        Raises:
            ValueError: The URL or an option has a value that is not accepted.
            TypeError: An option is of the wrong type.
            RuntimeError: The client is closed.
        """
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
            headers=headers,
            before_attempt=before_attempt,
            on_open=on_open,
            subprotocols=subprotocols,
        )
        self._check(options)
        return self._own(self._make(self._native_client(), "raw", options, url=url))

    def _check(self, options: ConnectOptions) -> None:
        """Refuse what this kind of client cannot do."""

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

    def _own(self, connection: ConnectionT) -> ConnectionT:
        """Remember a connection, as one to close with the client."""
        with self._lock:
            self._connections.add(connection)
        return connection

    def _end(self) -> list[ConnectionT]:
        """Make no more connections; those to close."""
        with self._lock:
            self._is_closed = True
            return list(self._connections)

    def _native_client(self) -> _core.Client:
        """The native client of the current credentials; it holds the tokens, so a new key means a new one."""
        if self._is_closed:
            message = "the client is closed: make a new one"
            raise RuntimeError(message)
        credentials = self._options.resolved_credentials()
        with self._lock:
            if self._native is None or self._native[0] != credentials:
                arguments = {**self._options.as_native(self._user_agent), "base_url": self._base_url}
                self._native = (
                    credentials,
                    self._tokens.client_of(credentials, {**credentials.as_native(), **arguments}),
                )
            return self._native[1]

    def _token_arguments(
        self, app: str, path: str | None, expires_in: float
    ) -> tuple[str, str | None, float, str | None]:
        """What the native client asks for a token with."""
        check.text("app", app, "a str such as 'fal-ai/fast-lcm-diffusion'", may_be_empty=True)
        check.text_or_none("path", path, may_be_empty=True)
        seconds = check.positive("expires_in", expires_in)
        if seconds > _LONGEST_TOKEN:
            message = f"expires_in must be at most {_LONGEST_TOKEN} seconds (a year), not {expires_in!r}"
            raise ValueError(message)
        return app, path, seconds, self._options.default_token_body()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the key would be in the pickle."""
        message = f"a {type(self).__name__} cannot be pickled, since it holds a key: make one in each process"
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base_url}>"
