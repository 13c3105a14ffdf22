"""Every option of a client, checked before anything is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

from . import _checks as check
from ._credentials import Credentials, found, from_key
from ._functions import is_async
from ._secrets import Hidden
from ._tls import ClientCert, PathOrPaths, Trust, client_cert_as_native, hidden_password, paths, trust_as_native
from ._types import CredentialsSource, Side, TokenApi

__tracebackhide__ = True
"""As in `_checks`."""

PROCESS_SETTINGS = (("FAL_REALTIME_IO_THREADS", 1, 64), ("FAL_REALTIME_SPIN_US", 0, 10_000))
"""The variables that the native core reads, with their bounds."""

_NOT_OF_TOKENS = ("user_agent", "side", "allow_cleartext")
"""What clients may differ in that share their tokens: neither whose they are, nor where they come from or go to."""

_DEFAULT_RUN_HOST = "fal.run"

_TOKEN_APIS: dict[TokenApi, tuple[str, str | None]] = {
    "tokens": ("/tokens/", None),
    "realtime": ("/tokens/realtime", '{"allowed_apps": ["{app_path}"], "duration": "{token_expiration}"}'),
}
"""Path and body of each."""


def _revealed(value: Any) -> Any:
    return value.reveal() if isinstance(value, Hidden) else value


@dataclass(frozen=True)
class ClientOptions:
    """The options of a client; they are described at `RealtimeClient`."""

    credentials: str | Hidden | CredentialsSource | None = field(default=None, repr=False)
    base_url: str | None = None
    rest_url: str = "https://rest.fal.ai"
    token_path: str | None = field(default=None, repr=False)  # it may hold a query
    token_api: TokenApi = "tokens"  # noqa: S105 - a name, not a secret
    proxy: str | Hidden | None = field(default=None, repr=False)  # it may hold a password
    trust_env: bool = True
    proxy_url: str | Hidden | None = field(default=None, repr=False)  # likewise
    ssl: Trust | None = None
    extra_ca: PathOrPaths | None = None
    client_cert: ClientCert | None = field(default=None, repr=False)  # it may hold a password
    user_agent: str | None = None
    side: Side | None = None
    allow_cleartext: bool = False

    def __post_init__(self) -> None:
        if is_async(self.credentials):
            message = (
                "credentials must be a plain function, not a coroutine function: connect, which calls it, cannot await"
            )
            raise TypeError(message)
        if self.credentials is not None and not callable(self.credentials) and not isinstance(self.credentials, Hidden):
            object.__setattr__(self, "credentials", Hidden(check.key("credentials", self.credentials)))
        check.boolean("allow_cleartext", self.allow_cleartext)
        check.url("base_url", self.resolved_base_url(), "ws", "wss")
        check.url("rest_url", self.rest_url, "http", "https")
        if self.rest_url.startswith("http://"):
            self._check_cleartext("rest_url", self.rest_url)
        self._check_tokens()
        if self.proxy is not None:
            check.secret("proxy", self.proxy, "an absolute URL", contains="://")
        if self.proxy_url is not None:
            check.secret_url("proxy_url", self.proxy_url, "http", "https")
        check.boolean("trust_env", self.trust_env)
        self._tls()
        check.header_value("user_agent", self.user_agent)
        self.resolved_side()
        for name, at_least, at_most in PROCESS_SETTINGS:
            check.environment_integer(name, at_least=at_least, at_most=at_most)
        self._hide_secrets()

    def _check_tokens(self) -> None:
        if self.token_path is not None and not check.text("token_path", self.token_path).startswith("/"):
            message = "token_path must start with '/', as in '/tokens/'"
            raise ValueError(message)
        if self.token_api not in _TOKEN_APIS:
            message = f"token_api must be one of {', '.join(map(repr, _TOKEN_APIS))}, not {self.token_api!r}"
            raise ValueError(message)

    def default_token_body(self) -> str | None:
        """The JSON body of token requests where a connection has none of its own; None: the native core's."""
        return _TOKEN_APIS[self.token_api][1]

    def _hide_secrets(self) -> None:
        for name in ("proxy", "proxy_url"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Hidden(value))
        object.__setattr__(self, "client_cert", hidden_password(self.client_cert))

    def as_native(self, user_agent: str) -> dict[str, Any]:
        """The arguments of a native client except the credentials; `user_agent` is the default."""
        return {
            "base_url": self.resolved_base_url(),
            "token_url": self.rest_url.rstrip("/") + (self.token_path or _TOKEN_APIS[self.token_api][0]),
            "proxy": _revealed(self.proxy),
            "trust_env": self.trust_env,
            "proxy_url": _revealed(self.proxy_url),
            "tls": self._tls(),
            "user_agent": self.user_agent or user_agent,
        }

    def resolved_credentials(self) -> Credentials:
        """Those that were given, else those that are found (see `_credentials`)."""
        if self.credentials is None:
            return found()
        if isinstance(self.credentials, Hidden):
            return Credentials(self.credentials)
        if not callable(self.credentials):
            return from_key(check.key("credentials", self.credentials))
        key = self.credentials()
        return from_key(None if key is None else check.key("what the credentials callable returns", key))

    def keywords(self) -> dict[str, Any]:
        """The arguments that make an equal client."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name in ("credentials", "proxy", "proxy_url"):
            given[name] = _revealed(given[name])
        if isinstance(self.client_cert, tuple):
            given["client_cert"] = tuple(_revealed(each) for each in self.client_cert)
        return given

    def shares_tokens_with(self, other: ClientOptions) -> bool:
        """Whether the tokens of the one are good for the other."""
        mine, others = (
            {entry.name: getattr(options, entry.name) for entry in fields(self) if entry.name not in _NOT_OF_TOKENS}
            for options in (self, other)
        )
        return mine == others and self.resolved_base_url() == other.resolved_base_url()

    def check_key_in_handshake(self) -> None:
        """The key itself may go to `base_url`, as with `use_jwt=False`."""
        if (base_url := self.resolved_base_url()).startswith("ws://"):
            self._check_cleartext("base_url, with use_jwt=False,", base_url)

    def _tls(self) -> dict[str, Any]:
        expected = "None, a PEM file, a directory of PEM files, or several of these"
        return {
            **trust_as_native(self.ssl),
            "extra_ca": [] if self.extra_ca is None else paths("extra_ca", self.extra_ca, expected),
            "client_cert": client_cert_as_native(self.client_cert),
        }

    def _check_cleartext(self, name: str, address: str) -> None:
        if self.allow_cleartext or check.is_this_machine(address):
            return
        message = (
            f"{name} would send the key in clear text to another machine: use TLS, or say allow_cleartext=True if the "
            "way there is safe"
        )
        raise ValueError(message)

    def resolved_base_url(self) -> str:
        """`base_url`, else `wss://$FAL_RUN_HOST`, else fal's own."""
        if self.base_url is not None:
            return self.base_url
        host = os.environ.get("FAL_RUN_HOST") or _DEFAULT_RUN_HOST
        if "/" in host or "@" in host:
            message = f"FAL_RUN_HOST must be a host name such as {_DEFAULT_RUN_HOST!r}, without scheme or path"
            raise ValueError(message)
        return f"wss://{host}"

    def resolved_side(self) -> Side:
        """`side`, else FAL_REALTIME_SIDE, else the client."""
        name, side = ("side", self.side) if self.side is not None else _side_from_env()
        if side in ("client", "server"):
            return side
        message = f"{name} must be 'client' or 'server', not {side!r}"
        raise ValueError(message)


def _side_from_env() -> tuple[str, Any]:
    return "FAL_REALTIME_SIDE", os.environ.get("FAL_REALTIME_SIDE") or "client"
