"""What a client is made with and holds: its options, its tokens, its connections until they are closed with it."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, NoReturn, cast

from . import _checks as check, _core
from ._keywords import ClientKeywords
from ._reuse import ConnectionCache, ConnectionT
from ._tls import ClientCert, PathOrPaths, Trust
from ._types import CredentialsSource, Side, TokenApi
from ._version import version

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._client_stats import ClientStats
    from ._credentials import Credentials
    from ._observing import Observer


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


_MAX_TOKEN_SECONDS = 366 * 86_400
"""Seconds; what is longer is a mistake about the unit."""


_CLIENTS: weakref.WeakSet[ClientBase[Any]] = weakref.WeakSet()
"""All that there are, whose connections may outlive the program that uses them."""


class ClientBase(Generic[ConnectionT]):
    """What a client is made with and holds: all but the ways to make a connection."""

    _observers: tuple[Observer, ...] = ()

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

        __tracebackhide__ = True  # as in `_checks`
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
        self._totals = _core.Totals()
        self._reusable: ConnectionCache[ConnectionT] = ConnectionCache()
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[ConnectionT] = weakref.WeakSet()
        self._is_closed = False
        _CLIENTS.add(self)

    def with_options(self, **options: Unpack[ClientKeywords]) -> Self:
        """Make a client with the same options but for those given, which are those of the class.

        It has connections and an end of its own: closing one closes nothing of the other. They share their tokens
        unless the credentials, an address, a proxy or what TLS trusts is another one. A subclass whose `__init__` takes
        other arguments has to override this.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type, or there is none of that name.
        """
        from ._handler import options_from

        __tracebackhide__ = True  # as in `_checks`
        keywords = self._options.keywords()
        client = type(self)(**{**keywords, **options_from(options, keywords, "with_options")})
        client._observers = self._observers  # noqa: SLF001 - its own class
        if client._options.shares_tokens_with(self._options):  # noqa: SLF001 - its own class
            client._tokens = self._tokens  # noqa: SLF001 - likewise
        return client

    def stats(self) -> ClientStats:
        """What all connections made with it have counted, with those that have ended or are gone: see `ClientStats`.

        Each connection is counted at one instant, in no case twice or not at all. Not those of other clients, such as
        what `with_options` made. In a forked child: those made there.
        """
        return cast("ClientStats", self._totals.stats())

    def _own(self, connection: ConnectionT) -> ConnectionT:
        """Remember a connection, as one to close with the client."""
        with self._lock:
            self._connections.add(connection)
        return connection

    def _observe(self, observer: Observer) -> None:
        """Tell an observer of the connections that it makes, and of those that it has."""
        with self._lock:
            self._observers = (*self._observers, observer)
            existing = list(self._connections)
        for connection in existing:
            observer.made(connection, None)

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
                own = {"base_url": self._base_url, "totals": self._totals}
                arguments = {**self._options.as_native(self._user_agent), **own}
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
        if seconds > _MAX_TOKEN_SECONDS:
            message = f"expires_in must be at most {_MAX_TOKEN_SECONDS} seconds (a year), not {expires_in!r}"
            raise ValueError(message)
        return app, path, seconds, self._options.default_token_body()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the key would be in the pickle."""
        message = f"a {type(self).__name__} cannot be pickled, since it holds a key: make one in each process"
        raise TypeError(message)

    def __repr__(self) -> str:
        if (base_url := getattr(self, "_base_url", None)) is None:  # the constructor has failed
            return f"<{type(self).__name__}>"
        return f"<{type(self).__name__} {base_url}>"


def _at_exit() -> None:
    """Report the errors that nobody was told of: a connection of a module is dropped when nobody can be told any more.

    Runs before the native core's own end, which is registered earlier.
    """
    for client in list(_CLIENTS):
        for connection in list(client._connections):  # noqa: SLF001 - of this module
            connection._report_untold()  # noqa: SLF001 - its own native half


atexit.register(_at_exit)
