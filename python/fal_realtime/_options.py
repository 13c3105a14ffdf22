"""Every option: its unit, default and meaning, checked before anything is opened.

What is wrong raises `ValueError` or `TypeError` inside `RealtimeClient(…)` or `connect(…)`, saying what would be right.
The grammar of app ids, paths and proxy addresses is the native core's and is checked there, at the same moment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from . import _checks as check
from ._defaults import DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_READ_AHEAD, DEFAULT_RECONNECT
from ._handler import options_from
from ._handshake import check_headers, check_query, checked_subprotocols
from ._policy import ReconnectPolicy
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

__tracebackhide__ = True
"""As in `_checks`."""

DEFAULT_THROTTLE_INTERVAL = 128
"""Milliseconds, as in the TypeScript client; for `send_nowait`, which is its `send`."""

_HOUR_MS = 3_600_000
"""Milliseconds; what is longer is a mistake about the unit."""

FAL_MAX_INPUT_SIZE = 16 * 1024 * 1024
"""Bytes; fal's apps are served by uvicorn, which closes with 1009 above, and no option of `fal` changes that."""

DEFAULT_TOKEN_EXPIRATION = 120.0
"""Seconds; what the default token request asks for."""

DEFAULT_STREAM_BUSY_TIMEOUT = 300.0
"""Seconds; what `busy_timeout="auto"` means where the app streams. Elsewhere it means 0."""


@dataclass(frozen=True)
class Callbacks:
    """The four callbacks of a connection, each sync or async."""

    on_result: ResultCallback | None = None
    on_error: ErrorCallback | None = None
    on_timings: TimingsCallback | None = None
    on_state_change: StateCallback | None = None

    def __post_init__(self) -> None:
        for name, value in self.callbacks().items():
            check.callable_or_none(name, value)

    def callbacks(self) -> dict[str, Callable[..., object] | None]:
        """The four by name, as a native connection takes them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(Callbacks)}


class _Milliseconds(float):
    """What a timedelta came to: nobody has mistaken the unit."""


@dataclass(frozen=True)
class ConnectOptions(Callbacks):
    """The options of `connect`; they are described there."""

    connection_key: str | None = field(default=None, repr=False)  # it may be made of a secret
    client_only: bool = False
    throttle_interval: float | timedelta | None = None
    max_buffering: int | None = None
    path: str | None = None
    encode_message: MessageEncoder | None = None
    decode_message: MessageDecoder | None = None
    decode: bool = True
    result_type: type[Any] | Validator[Any] | None = None
    input_type: type[Any] | Validator[Any] | None = None
    token_provider: TokenProvider | None = field(default=None, repr=False)
    token_expiration_seconds: float | None = None
    token_body: Mapping[str, Any] | None = field(default=None, repr=False)
    use_jwt: bool = True
    streaming: bool = False
    reconnect: ReconnectPolicy | None = DEFAULT_RECONNECT
    open_timeout: float = 90
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    busy_timeout: float | Literal["auto"] | None = "auto"
    max_session: float | None = None
    idle_close: float | None = None
    close_timeout: float = 10
    max_message_size: int | None = None
    read_ahead: int = DEFAULT_READ_AHEAD
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # they may hold secrets
    query: Mapping[str, str] | None = field(default=None, repr=False)  # likewise
    subprotocols: Sequence[str] = field(default=(), repr=False)  # likewise
    before_attempt: AttemptHook | None = None
    on_open: OpenHook | None = None
    raw: bool = False
    _any_server: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check.text_or_none("connection_key", self.connection_key)
        check.text_or_none("path", self.path, may_be_empty=True)
        for name in ("client_only", "use_jwt", "streaming", "decode", "raw"):
            check.boolean(name, getattr(self, name))
        for name in ("encode_message", "decode_message", "token_provider", "before_attempt", "on_open"):
            check.callable_or_none(name, getattr(self, name))
        if isinstance(self.throttle_interval, timedelta):
            # In one unit, so that equal intervals are equal options.
            milliseconds = _Milliseconds(self.throttle_interval / timedelta(milliseconds=1))
            object.__setattr__(self, "throttle_interval", milliseconds)
        self._throttle_seconds()
        if self.max_buffering is not None:
            check.integer("max_buffering", self.max_buffering, at_least=1, at_most=60)
        if self.max_message_size is not None:
            check.integer("max_message_size", self.max_message_size, at_least=1, at_most=sys.maxsize)
        check.integer("read_ahead", self.read_ahead, at_least=1, at_most=sys.maxsize)
        check.positive("open_timeout", self.open_timeout)
        check.not_negative("close_timeout", self.close_timeout)
        for name in ("token_expiration_seconds", "ping_interval", "ping_timeout", "max_session", "idle_close"):
            if getattr(self, name) is not None:
                check.positive(name, getattr(self, name), or_none=True)
        if self.busy_timeout is not None and self.busy_timeout != "auto":
            check.not_negative("busy_timeout", self.busy_timeout, "a number of seconds of at least 0, 'auto' or None")
        if self.reconnect is not None:
            check.instance("reconnect", self.reconnect, ReconnectPolicy, "a ReconnectPolicy, or None for no reconnect")
        check_headers(self.headers, raw=self._any_server)
        check_query(self.query, raw=self._any_server)
        object.__setattr__(self, "subprotocols", checked_subprotocols(self.subprotocols))
        self._token_body_json()
        self._check_token_source()
        self._check_kind()

    def merged_with(self, handler: object) -> ConnectOptions:
        """These, and those of `handler`, which must not contradict each other."""
        given = options_from(handler, (entry.name for entry in fields(self)), "handler")
        for entry in fields(self):
            if entry.name in given and getattr(self, entry.name) is not entry.default:
                message = f"{entry.name} is given both in handler and as an argument"
                raise TypeError(message)
        return replace(self, **given)

    def as_native(self) -> dict[str, Any]:
        """The arguments of a native connection, in its units (seconds, JSON text)."""
        return {
            **self.callbacks(),
            "path": self.path,
            "max_buffering": self.max_buffering,
            "throttle_interval": self._throttle_seconds(),
            "throttle_send": self.throttle_interval is not None,
            "use_jwt": self.use_jwt,
            "streaming": self.streaming,
            "raw": self.raw,
            "open_timeout": float(self.open_timeout),
            "ping_interval": None if self.ping_interval is None else float(self.ping_interval),
            "ping_timeout": None if self.ping_timeout is None else float(self.ping_timeout),
            "busy_timeout": self._busy_seconds(),
            "max_session": None if self.max_session is None else float(self.max_session),
            "idle_close": None if self.idle_close is None else float(self.idle_close),
            "close_timeout": float(self.close_timeout),
            "max_message_size": self.max_message_size or DEFAULT_MAX_MESSAGE_SIZE,
            "max_input_size": self.max_message_size or (DEFAULT_MAX_MESSAGE_SIZE if self.raw else FAL_MAX_INPUT_SIZE),
            "read_ahead": self.read_ahead,
            "reconnect": None if self.reconnect is None else self.reconnect.as_native(),
            "token_provider": self.token_provider,
            "token_expiration": self._token_expiration(),
            "token_body": self._token_body_json(),
            "encode_message": self.encode_message,
            "decode_message": self.decode_message,
            "decode": self.decode,
            **self._typed(),
            "headers": list((self.headers or {}).items()),
            "query": list((self.query or {}).items()),
            "subprotocols": list(self.subprotocols),
            "before_attempt": self.before_attempt,
            "on_open": self.on_open,
        }

    def _typed(self) -> dict[str, Callable[[Any], Any] | None]:
        """What checks results and inputs; none where no type is given, so that nothing is imported for that."""
        functions: dict[str, Callable[[Any], Any] | None] = {"convert_result": None, "check_input": None}
        if self.result_type is not None:
            from ._typed import result_converter

            functions["convert_result"] = result_converter(self.result_type)
        if self.input_type is not None:
            from ._typed import input_checker

            functions["check_input"] = input_checker(self.input_type)
        return functions

    def _busy_seconds(self) -> float | None:
        if self.busy_timeout == "auto":
            return DEFAULT_STREAM_BUSY_TIMEOUT if self.streaming else 0.0
        return None if self.busy_timeout is None else float(self.busy_timeout)

    def _throttle_seconds(self) -> float:
        interval = self.throttle_interval
        if interval is None:
            interval = 0 if self.raw else DEFAULT_THROTTLE_INTERVAL
        expected = "a number of milliseconds, a timedelta or None"
        milliseconds = check.not_negative("throttle_interval", interval, expected)
        if not isinstance(interval, _Milliseconds) and (0 < milliseconds < 1 or milliseconds > _HOUR_MS):
            message = (
                f"throttle_interval is in milliseconds: it must be 0 or from 1 to {_HOUR_MS}, not {interval!r}; "
                "a timedelta has its own unit"
            )
            raise ValueError(message)
        return milliseconds / 1000

    def _token_expiration(self) -> float | None:
        if self.token_expiration_seconds is not None:
            return float(self.token_expiration_seconds)
        # What a provider's token lives for is unknown unless the caller says so: then it is not refreshed.
        return DEFAULT_TOKEN_EXPIRATION if self.token_provider is None else None

    def _token_body_json(self) -> str | None:
        if self.token_body is None:
            return None
        check.instance("token_body", self.token_body, Mapping, "a mapping that can be written as JSON")
        import json

        try:
            return json.dumps(dict(self.token_body), allow_nan=False)
        except (TypeError, ValueError) as error:
            message = f"token_body cannot be written as JSON: {error}"
            raise ValueError(message) from error

    def _check_kind(self) -> None:
        """Refuse what a stream, or a raw connection, has no use for."""
        of_answers = ("max_session", "idle_close")
        of_types = ("result_type", "input_type")
        of_meaning = ("encode_message", "decode_message", *of_types, "on_timings", "streaming", *of_answers)
        streams = "streaming=True, where a session is one stream"
        raw = "raw=True, where messages pass as they are"
        contradictions = (
            (self.streaming, of_answers, streams),
            (self.raw, of_meaning, raw),
            (not self.decode, ("result_type",), "decode=False, which gives results as they came"),
            (self.decode_message is not None, ("result_type",), "decode_message, whose own result is what you get"),
            (self.encode_message is not None, ("input_type",), "encode_message, which is given each input as it is"),
        )
        for given, names, why in contradictions:
            for name in names if given else ():
                if getattr(self, name) is not None and getattr(self, name) is not False:
                    message = f"{name} has no use with {why}: leave out one of them"
                    raise ValueError(message)
        if not self.decode and (self.raw or self.decode_message is not None):
            why = raw if self.raw else "decode_message, which would decode them"
            message = f"decode=False has no use with {why}: leave out one of them"
            raise ValueError(message)

    def _check_token_source(self) -> None:
        if not self.use_jwt and self.token_provider is not None:
            message = (
                "token_provider is never asked with use_jwt=False, which sends the key itself: leave out one of them"
            )
            raise ValueError(message)
        if self.token_body is not None and (self.token_provider is not None or not self.use_jwt):
            message = (
                "token_body belongs to the default token request: it has no use with token_provider or use_jwt=False"
            )
            raise ValueError(message)


@dataclass(frozen=True)
class RawOptions(ConnectOptions):
    """The options of `connect_raw`."""

    raw: bool = True
    _any_server: ClassVar[bool] = True
