"""Options by their names, for type checkers: as keywords, and as the mapping that is the TypeScript client's handler.

What each means is described at `RealtimeClient` and at its `connect`.
"""

# No postponed annotations: a TypedDict compiles each that is a string, which is most of what importing this would cost.

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict

from ._policy import ReconnectPolicy
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
    Validator,
)


class ClientKeywords(TypedDict, total=False):
    """The options of a client by their names; they are described at `RealtimeClient`."""

    credentials: str | CredentialsSource | None
    base_url: str | None
    rest_url: str
    token_path: str | None
    token_api: TokenApi
    proxy: str | None
    trust_env: bool
    proxy_url: str | None
    ssl: "Trust | None"
    extra_ca: PathOrPaths | None
    client_cert: ClientCert | None
    user_agent: str | None
    side: Side | None
    allow_cleartext: bool


class _OfAll(TypedDict, total=False):
    """Options of `connect` whose type is the same for all kinds of connection."""

    on_error: ErrorCallback | None
    on_state_change: StateCallback | None
    connection_key: str | None
    client_only: bool
    throttle_interval: float | timedelta | None
    max_buffering: int | None
    path: str | None
    token_expiration_seconds: float | None
    token_body: Mapping[str, Any] | None
    use_jwt: bool
    reconnect: ReconnectPolicy | None
    open_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    busy_timeout: float | Literal["auto"] | None
    close_timeout: float
    max_message_size: int | None
    read_ahead: int
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    subprotocols: Sequence[str]
    before_attempt: AttemptHook | None


class _OfSessions(_OfAll, total=False):
    """And those of fal's protocol, which a raw connection does not speak."""

    on_timings: TimingsCallback | None
    streaming: bool
    max_session: float | None
    idle_close: float | None


class RawKeywords(_OfAll, total=False):
    """What `RealtimeClient.connect(…, raw=True)` takes beside what its signature names."""

    token_provider: TokenProvider | None


class SyncRawKeywords(_OfAll, total=False):
    """The same for `SyncRealtimeClient`, which awaits nothing."""

    token_provider: Callable[[str], str] | None


class SessionKeywords(_OfSessions, total=False):
    """What `RealtimeClient.connect` takes beside what its signature names."""

    token_provider: TokenProvider | None
    encode_message: MessageEncoder | None


class SyncSessionKeywords(_OfSessions, total=False):
    """The same for `SyncRealtimeClient`, which awaits nothing."""

    token_provider: Callable[[str], str] | None
    encode_message: Callable[[Any], bytes | str] | None


class PoolKeywords(SessionKeywords, total=False):
    """The options of `connect` that the `pool` of both clients takes; it refuses those that make no sense there."""

    on_open: OpenHook | None
    decode_message: MessageDecoder | None
    decode: bool
    result_type: type[Any] | Validator[Any] | None
    input_type: type[Any] | Validator[Any] | None


class ConnectHandler(SessionKeywords, total=False):
    """The options of `connect` as a mapping: under their own names, or the TypeScript client's."""

    on_result: ResultCallback | None
    on_open: OpenHook | None
    decode_message: MessageDecoder | None
    decode: bool
    raw: bool
    result_type: type[Any] | Validator[Any] | None
    input_type: type[Any] | Validator[Any] | None

    onResult: ResultCallback | None
    onError: ErrorCallback | None
    connectionKey: str | None
    clientOnly: bool
    throttleInterval: float | None
    maxBuffering: int | None
    encodeMessage: MessageEncoder | None
    decodeMessage: MessageDecoder | None
    tokenProvider: TokenProvider | None
    tokenExpirationSeconds: float | None
