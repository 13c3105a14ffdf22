"""Realtime client for fal: msgpack over WebSocket, with a native core.

from fal_realtime import RealtimeClient

async with RealtimeClient().connect("fal-ai/fast-lcm-diffusion") as connection:
    result = await connection.request({"prompt": "a cat"}, timeout=5)
"""

from __future__ import annotations

from . import _for_core as _for_core, _native as _native
from ._attempt import Attempt
from ._client import RealtimeClient, create_realtime_client
from ._client_stats import ClientStats
from ._connection import RealtimeConnection
from ._core import EncodedResult, ExtType, LatencyHistogram
from ._exceptions import (
    ApiError,
    AuthenticationError,
    BufferFullError,
    ConnectionClosedError,
    ConnectionLostError,
    DecodeError,
    EncodeError,
    FalRealtimeError,
    ForkedProcessError,
    HandshakeError,
    MessageTooLargeError,
    RealtimeError,
    RequestTimeoutError,
    StreamEndedError,
    UnreadResultsError,
    ValidationError,
)
from ._keywords import ClientKeywords, ConnectHandler
from ._noop import NoopConnection
from ._policy import ReconnectPolicy
from ._raw import RawConnection
from ._recording import Recording
from ._sync import SyncRealtimeConnection
from ._sync_client import SyncRealtimeClient
from ._sync_noop import SyncNoopConnection
from ._sync_raw import SyncRawConnection
from ._tls import ClientCert, InsecureForLocalTests, PathOrPaths, Trust
from ._token import RealtimeToken
from ._types import (
    AttemptHook,
    ConnectionState,
    CredentialsSource,
    ErrorCallback,
    MessageDecoder,
    MessageEncoder,
    OpenHook,
    ResultCallback,
    Side,
    StateCallback,
    Stats,
    TimingsCallback,
    TokenApi,
    TokenProvider,
    Validator,
)
from ._version import version as _version

__all__ = [
    "ApiError",
    "Attempt",
    "AttemptHook",
    "AuthenticationError",
    "BufferFullError",
    "ClientCert",
    "ClientKeywords",
    "ClientStats",
    "ConnectHandler",
    "ConnectionClosedError",
    "ConnectionLostError",
    "ConnectionState",
    "CredentialsSource",
    "DecodeError",
    "EncodeError",
    "EncodedResult",
    "ErrorCallback",
    "ExtType",
    "FalRealtimeError",
    "ForkedProcessError",
    "HandshakeError",
    "InsecureForLocalTests",
    "LatencyHistogram",
    "MessageDecoder",
    "MessageEncoder",
    "MessageTooLargeError",
    "NoopConnection",
    "OpenHook",
    "PathOrPaths",
    "RawConnection",
    "RealtimeClient",
    "RealtimeConnection",
    "RealtimeError",
    "RealtimeToken",
    "ReconnectPolicy",
    "Recording",
    "RequestTimeoutError",
    "ResultCallback",
    "Side",
    "StateCallback",
    "Stats",
    "StreamEndedError",
    "SyncNoopConnection",
    "SyncRawConnection",
    "SyncRealtimeClient",
    "SyncRealtimeConnection",
    "TimingsCallback",
    "TokenApi",
    "TokenProvider",
    "Trust",
    "UnreadResultsError",
    "ValidationError",
    "Validator",
    "__version__",
    "create_realtime_client",
]

__version__: str


def _imported_by_native_code() -> None:
    """Never called: a frozen application holds the modules that it sees imported, wherever that is."""
    import logging  # noqa: F401


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
