"""The native core. Private: what users need of it is exported by `fal_realtime`."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Literal, final

from typing_extensions import Self, disjoint_base

from ._attempt import Attempt
from ._types import ConnectionState, Stats

__all__ = [
    "CallbackEvents",
    "CallbackQueue",
    "Client",
    "Connection",
    "EncodedResult",
    "ExtType",
    "LatencyHistogram",
    "LocalServer",
    "LocalSession",
    "Recording",
    "SyncConnection",
    "Totals",
    "_io_counters",
    "decode",
    "decode_as_packer",
    "decode_json",
    "encode",
    "encode_as_packer",
    "encode_input",
    "method",
]

@final
class Client:
    """Holds the credentials, the runtime's settings and the tokens of all connections made with it."""

    def __new__(
        cls,
        *,
        credentials: str | None,
        bearer: bool,
        why_no_credentials: str,
        base_url: str,
        token_url: str,
        proxy: str | None,
        trust_env: bool,
        proxy_url: str | None,
        tls: Mapping[str, Any],
        user_agent: str,
        totals: Totals,
        tokens_of: Client | None = None,
    ) -> Self:
        """Check the addresses; nothing is opened.

        Raises:
            ValueError: An address is not acceptable.
        """

    def mint_token(
        self, app: str, path: str | None, expiration: float, body: str | None
    ) -> asyncio.Future[tuple[str, str]]:
        """A future of the app id with its path, and a token for it that lives `expiration` seconds."""

    def mint_token_blocking(self, app: str, path: str | None, expiration: float, body: str | None) -> tuple[str, str]:
        """The same in blocking form."""

@final
class Totals:
    """The sums over connections, over those that are gone too. A forked child has its own."""

    def __new__(cls) -> Self:
        """Nothing is counted yet."""

    def stats(self) -> dict[str, Any]:
        """Over all of them, with their durations: a `ClientStats`."""

    def by_app(self) -> dict[str, tuple[dict[str, int], dict[ConnectionState, int]]]:
        """By app (of more than 100 the rest is `other`) the counters, and how many connections are in which state."""

@final
class LatencyHistogram:
    """Durations from 1 µs to 10,000 s in buckets that are at most 5 % wide, as counted when it was asked for.

    Equal ones hold the same. They can be pickled, for other processes, and added: `a + b` holds what both do, and
    `sum(several, LatencyHistogram())` what all do.
    """

    def __new__(cls, buckets: Sequence[tuple[float, float, int]] = ..., sum: float = 0.0) -> Self:
        """Make one of the `buckets` and the `sum` of another; by default one that is empty.

        Raises:
            ValueError: It has no bucket with such edges, or `sum` is negative or not finite.
        """

    def __add__(self, other: Self, /) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[LatencyHistogram], tuple[list[tuple[float, float, int]], float]]: ...
    @property
    def count(self) -> int:
        """How many were counted."""

    @property
    def sum(self) -> float:
        """Their sum, in seconds."""

    @property
    def buckets(self) -> list[tuple[float, float, int]]:
        """The buckets that are not empty, shortest first: durations above so many seconds, and up to so many; how many.

        The edges are 1 to 2 in steps of 0.05, 2 to 5 of 0.1 and 5 to 10 of 0.25, times each power of ten from 1 µs to
        1,000 s. What is shorter or longer is in the first or last bucket.
        """

    def quantile(self, q: float) -> float | None:
        """Seconds that the part `q` of the durations (0.99: 99 %) do not exceed: the upper edge of their bucket.

        None if none was counted.

        Raises:
            ValueError: `q` is not from 0 to 1.
        """

@final
class EncodedResult:
    """A result as it came, where `connect` was told `decode=False`: for gateways that pass it on.

    A message that nobody could decode is one, too, without a `request_id`: that is for whoever gets it in the end.
    Those of equal messages are equal. They can be pickled, for other processes.
    """

    def __new__(cls, payload: bytes | str) -> Self:
        """Make one of a message, for tests."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[EncodedResult], tuple[bytes | str]]: ...
    @property
    def payload(self) -> bytes | str:
        """The message: `bytes` if it was a binary one, `str` if it was text."""

    @property
    def request_id(self) -> str | None:
        """The `request_id` that it holds, or None."""

    @property
    def kind(self) -> Literal["binary", "text"]:
        """What kind of message it was."""

@disjoint_base
class Connection:
    """A connection for asyncio. Times are in seconds; the options are described at `RealtimeClient.connect`."""

    def __new__(
        cls,
        client: Client,
        *,
        app: str,
        url: str | None = None,
        path: str | None,
        max_buffering: int | None,
        throttle_interval: float,
        throttle_send: bool,
        use_jwt: bool,
        streaming: bool,
        raw: bool,
        open_timeout: float,
        ping_interval: float | None,
        ping_timeout: float | None,
        busy_timeout: float | None,
        max_session: float | None,
        idle_close: float | None,
        close_timeout: float,
        max_message_size: int,
        max_input_size: int,
        read_ahead: int,
        reconnect: dict[str, Any] | None,
        token_provider: Callable[[str], Any] | None,
        token_expiration: float | None,
        token_body: str | None,
        encode_message: Callable[[Any], Any] | None,
        decode_message: Callable[[Any], Any] | None,
        decode: bool,
        convert_result: Callable[[Any], Any] | None,
        check_input: Callable[[Any], Any] | None,
        headers: list[tuple[str, str]],
        subprotocols: list[str],
        query: list[tuple[str, str]],
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[..., object] | None,
        on_open: Callable[[Any], object] | None,
        before_attempt: Callable[[Attempt], object] | None,
    ) -> Self:
        """Check the app id and the path, or the `url` of a raw connection; nothing is opened, no event loop needed.

        Raises:
            ValueError: The app id, the path or the URL is not acceptable.
        """

    @property
    def app(self) -> str:
        """The app id with its path, such as `fal-ai/fast-lcm-diffusion/realtime`; in raw mode the URL without query."""

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""

    @property
    def last_error(self) -> Exception | None:
        """Why the newest attempt to open, or session, failed; a session that opens does not clear it."""

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455, section 7.4): the caller's own, once `close` was called.

        Else that of the newest session that is over, 1006 without a close frame; None before the first.
        """

    @property
    def close_reason(self) -> str | None:
        """The close reason that belongs to it."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose for the newest session; None before the first, or if it chose none."""

    @property
    def latency(self) -> float | None:
        """Seconds from the newest answered ping to its pong, in this session or an earlier one; None before the first.

        A ping is sent after `ping_interval` seconds in which nothing came.
        """

    @property
    def in_flight(self) -> int:
        """How many inputs of this session may have no answer yet, at most: an app need not answer each.

        One result is the answer to one input before it, and so is an error that the app reports. At least the open
        requests; with `streaming` all inputs of the stream. An app that answers an input with several results has more
        under way than this says, unless `streaming` was said. What is not written yet is `pending` in `stats()`.
        """

    @property
    def _why_not_open(self) -> Exception | None:
        """Why it is not open yet, while it is being opened, as far as that is known."""

    @property
    def _lost_while_finishing(self) -> int:
        """How many messages, at most, had no answer when their sessions were lost during `finish`."""

    @property
    def _has_untold_end(self) -> bool:
        """Whether it has given up, and nobody was told."""

    def _failure(self) -> Exception | None:
        """Why the connection has given up, for `finish`, which raises it."""

    def stats(self) -> Stats:
        """What was counted so far, all taken at one instant."""

    def _count_in(self, totals: Totals) -> None:
        """Count it in these totals, too."""

    def _introduce(self) -> None:
        """Let its hooks know it, before it opens."""

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[..., object] | None,
    ) -> None:
        """Replace all four callbacks, from the next event on; they run in the contextvars of this call."""

    def send_nowait(self, input: Any) -> None:
        """Accept an input without waiting, from any thread; the first one opens the connection.

        `bytes`, `bytearray` and `memoryview` are encoded messages and go out as they are; all else is encoded.
        When the outgoing queue is full, the oldest is dropped and counted if there is `max_buffering`.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed.
            ForkedProcessError: It belongs to the parent process.
            RuntimeError: It would open here, and no event loop runs.
        """

    def send(self, input: Any) -> Coroutine[Any, Any, None]:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Done when the input is accepted, not when it is written (see `drain`). Nothing is lost but what the throttle
        replaces by newer inputs. The input is encoded at the call: changing it afterwards is harmless.

        Raises:
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed.
            ForkedProcessError: It belongs to the parent process.
        """

    def request(
        self, input: Any, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """Send an input past the throttle and give its result, matched by `request_id`.

        The `request_id` is added unless the input has one; the app must copy it into its result. Nobody else gets this
        result. `timeout` is in seconds; None waits until the connection closes.

        Raises:
            RequestTimeoutError: No answer came in time.
            RealtimeError: The server reported an error meanwhile.
            ConnectionClosedError: The connection was closed meanwhile.
            EncodeError: The input cannot be encoded, or not carry a `request_id`: it is no mapping, dataclass or model
                (with `encode_message`: no mapping), or its own `request_id` is no str.
            ValueError: Another request with this `request_id` is pending.
        """

    def recv(self, *, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        """Give the next result, within `timeout` seconds. Neither the timeout nor cancelling it loses anything.

        Raises:
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    def latest(self, *, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        """Give the newest result, and drop older ones."""

    def __aiter__(self) -> Self:
        """Iterate over the results, until the connection or (with `streaming`) the stream ends normally."""

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        """Give the next result, like `recv`."""

    def open(self) -> Coroutine[Any, Any, None]:
        """Open now, not with the first send; at most `open_timeout` seconds.

        Raises:
            AuthenticationError: The credentials or the token were refused.
            ApiError: The token request was answered with an error.
            HandshakeError: The WebSocket could not be opened.
            RequestTimeoutError: It took too long.
            ConnectionClosedError: The connection is closed.
        """

    def drain(self) -> Coroutine[Any, Any, None]:
        """Wait until everything accepted so far is written.

        Raises:
            ConnectionClosedError: The connection was closed before that.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close, from any state; what is not written fails. Calling it again does nothing."""

    def _begin_finish(self) -> None:
        """Accept nothing more."""

    def _end_finish(self, tells: bool) -> None:
        """Nobody waits for that any more; with `tells`, what was lost meanwhile is told by whoever waited."""

    def _report_untold(self) -> None:
        """Report the errors that nobody was told of: the process leaves."""

    @property
    def _is_closed_by_caller(self) -> bool:
        """Whether `close` was called."""

    def _without_secrets(self, text: str) -> str:
        """Give `text`, which the server said, without the secrets that it was told."""

    def _finished(self) -> Coroutine[Any, Any, None]:
        """Wait until everything accepted is written, and answered or given up."""

    @property
    def _running_callback(self) -> asyncio.Task[Any] | None:
        """The asynchronous callback that is running."""

    def _is_elsewhere(self) -> bool:
        """Whether it is bound to another event loop than the running one."""

    def _deliver(self) -> bool:
        """Call the callbacks with what is there, a bounded number; whether there is more."""

    def _left(self) -> tuple[int, int]:
        """How many results, and how many other events, callbacks have not been called with."""

    def _decoded(self, task: object) -> None:
        """Go on when the task of a received result's asynchronous decoder is done."""

    def _release(self) -> None:
        """Let what the throttle holds go before its time: nothing newer will come."""

    def _is_stranded(self) -> bool:
        """Whether its event loop is closed, so that it cannot be used any more."""

    def wait_closed(self) -> Coroutine[Any, Any, None]:
        """Wait until the connection is closed and its socket is gone."""

    def _send_encoded_nowait(self, payload: bytes | str) -> None:
        """`send_nowait` of an encoded message: bytes as binary, str as text."""

    def _send_encoded(self, payload: bytes | str) -> Coroutine[Any, Any, None]:
        """`send` of an encoded message."""

    def _with_request_id(self, input: Any) -> tuple[dict[Any, Any], str]:
        """A copy of an input of a request with the `request_id` that it holds, else a fresh one; and that."""

    def _request_encoded(
        self, payload: bytes | str, request_id: str, timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        """`request` of an encoded message that holds this `request_id`."""

@disjoint_base
class SyncConnection:
    """A connection in blocking form, of the same options. Each wait can be interrupted by a signal."""

    def __new__(
        cls,
        client: Client,
        *,
        app: str,
        url: str | None = None,
        path: str | None,
        max_buffering: int | None,
        throttle_interval: float,
        throttle_send: bool,
        use_jwt: bool,
        streaming: bool,
        raw: bool,
        open_timeout: float,
        ping_interval: float | None,
        ping_timeout: float | None,
        busy_timeout: float | None,
        max_session: float | None,
        idle_close: float | None,
        close_timeout: float,
        max_message_size: int,
        max_input_size: int,
        read_ahead: int,
        reconnect: dict[str, Any] | None,
        token_provider: Callable[[str], Any] | None,
        token_expiration: float | None,
        token_body: str | None,
        encode_message: Callable[[Any], Any] | None,
        decode_message: Callable[[Any], Any] | None,
        decode: bool,
        convert_result: Callable[[Any], Any] | None,
        check_input: Callable[[Any], Any] | None,
        headers: list[tuple[str, str]],
        subprotocols: list[str],
        query: list[tuple[str, str]],
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[..., object] | None,
        on_open: Callable[[Any], object] | None,
        before_attempt: Callable[[Attempt], object] | None,
    ) -> Self:
        """Check the app id and the path, or the `url` of a raw connection; nothing is opened.

        Raises:
            ValueError: The app id, the path or the URL is not acceptable.
        """

    @property
    def app(self) -> str:
        """The app id with its path, such as `fal-ai/fast-lcm-diffusion/realtime`; in raw mode the URL without query."""

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""

    @property
    def last_error(self) -> Exception | None:
        """Why the newest attempt to open, or session, failed; a session that opens does not clear it."""

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455, section 7.4): the caller's own, once `close` was called.

        Else that of the newest session that is over, 1006 without a close frame; None before the first.
        """

    @property
    def close_reason(self) -> str | None:
        """The close reason that belongs to it."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose for the newest session; None before the first, or if it chose none."""

    @property
    def latency(self) -> float | None:
        """Seconds from the newest answered ping to its pong, in this session or an earlier one; None before the first.

        A ping is sent after `ping_interval` seconds in which nothing came.
        """

    @property
    def in_flight(self) -> int:
        """How many inputs of this session may have no answer yet, at most: an app need not answer each.

        One result is the answer to one input before it, and so is an error that the app reports. At least the open
        requests; with `streaming` all inputs of the stream. An app that answers an input with several results has more
        under way than this says, unless `streaming` was said. What is not written yet is `pending` in `stats()`.
        """

    @property
    def _why_not_open(self) -> Exception | None:
        """Why it is not open yet, while it is being opened, as far as that is known."""

    @property
    def _lost_while_finishing(self) -> int:
        """How many messages, at most, had no answer when their sessions were lost during `finish`."""

    @property
    def _has_untold_end(self) -> bool:
        """Whether it has given up, and nobody was told."""

    def _failure(self) -> Exception | None:
        """Why the connection has given up, for `finish`, which raises it."""

    def stats(self) -> Stats:
        """What was counted so far, all taken at one instant."""

    def _count_in(self, totals: Totals) -> None:
        """Count it in these totals, too."""

    def _introduce(self) -> None:
        """Let its hooks know it, before it opens."""

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[..., object] | None,
    ) -> None:
        """Replace all four callbacks, for what comes from now on."""

    def send_nowait(self, input: Any) -> None:
        """As in `Connection`."""

    def send(self, input: Any, timeout: float | None = None) -> None:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Raises:
            RequestTimeoutError: No room within `timeout` seconds.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed.
        """

    def request(self, input: Any, timeout: float | None = None, *, retries: int = 0, idempotent: bool = False) -> Any:
        """Send an input past the throttle and give its result; see `Connection.request`."""

    def recv(self, timeout: float | None = None) -> Any:
        """Give the next result.

        Raises:
            RequestTimeoutError: None came within `timeout` seconds.
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    def latest(self, timeout: float | None = None) -> Any:
        """Give the newest result, and drop older ones."""

    def __iter__(self) -> Self:
        """Iterate over the results, until the connection or (with `streaming`) the stream ends normally."""

    def __next__(self) -> Any:
        """Give the next result, like `recv`."""

    def open(self) -> None:
        """Open now, not with the first send; errors as in `Connection.open`."""

    def drain(self, timeout: float | None = None) -> None:
        """Wait until everything accepted so far is written.

        Raises:
            RequestTimeoutError: It took longer than `timeout` seconds.
            ConnectionClosedError: The connection was closed before that.
        """

    def _begin_finish(self) -> None:
        """Accept nothing more."""

    def _end_finish(self, tells: bool) -> None:
        """Nobody waits for that any more; with `tells`, what was lost meanwhile is told by whoever waited."""

    def _report_untold(self) -> None:
        """Report the errors that nobody was told of: the process leaves."""

    @property
    def _is_closed_by_caller(self) -> bool:
        """Whether `close` was called."""

    def _without_secrets(self, text: str) -> str:
        """Give `text`, which the server said, without the secrets that it was told."""

    def _finished(self, timeout: float | None) -> bool:
        """Wait until everything accepted is written, and answered or given up; False when the time is over."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with code 1000 and wait until it is done: at most `close_timeout` seconds."""

    def _release(self) -> None:
        """As in `Connection`."""

    def _events(self) -> CallbackEvents:
        """What the callbacks are called with, for a `CallbackQueue`. Does not keep the connection alive."""

@final
class CallbackEvents:
    """What the callbacks of a blocking connection are called with, in order."""

    @property
    def app(self) -> str:
        """That of the connection."""

    def left(self) -> tuple[int, int]:
        """How many results, and how many other events, callbacks have not been called with."""

    def poll(self) -> tuple[str, Any]:
        """The next event, without waiting, as a pair of its kind and its value.

        `result`, `error`, `timings`, or `state_change` with the state and the reason; `nothing`: the queue gives the
        connection again when there is something; `end`: the connection is closed and everything is delivered.
        """

@final
class Recording:
    """The file into which a connection is recorded."""

    def __new__(cls, connection: Connection | SyncConnection, path: str) -> Self:
        """Record what passes from now on."""

    @property
    def messages(self) -> int:
        """How many messages it took."""

    @property
    def dropped(self) -> int:
        """How many messages found no room."""

    @property
    def is_open(self) -> bool:
        """Whether what passes is recorded."""

    @property
    def error(self) -> tuple[int | None, str] | None:
        """The system's number and words for what ended it early."""

    def wait(self, seconds: float) -> bool:
        """Wait until the file of a connection that is closed is written; whether it is."""

    def close(self) -> None:
        """Write what is left, end the file, and wait for it."""

@final
class CallbackQueue:
    """Blocking connections that have something for their callbacks, for the threads that call these."""

    def __new__(cls) -> Self: ...
    def reserve(self) -> tuple[int, bool]:
        """Take on a connection. Its number, and whether a thread is to be started before it is added."""

    def give_up(self, number: int) -> None:
        """Forget a connection that was taken on and will not be added."""

    def add(self, number: int, events: CallbackEvents, reference: object) -> None:
        """Add a connection that was taken on, with what finds its callbacks."""

    def arrive(self) -> None:
        """A thread that was to be started has."""

    def has_no_thread(self) -> None:
        """A thread that was to be started has not: the system gives none."""

    def next(self) -> tuple[CallbackEvents, Any, int, bool] | None:
        """Wait for a connection whose turn it is; None: the thread is to end.

        Its events, the reference, its number, and whether another thread is to be started, since nobody stands by.
        """

    def done(self, number: int, *, has_more: bool, is_over: bool) -> None:
        """A thread is through with a connection: there is more to be delivered, or it has ended, or neither."""

@final
class ExtType:
    """A msgpack extension value: the application's type code (-128 to 127) and the payload."""

    __match_args__: ClassVar[tuple[str, str]] = ("code", "data")

    def __new__(cls, code: int, data: bytes) -> Self:
        """Raises `ValueError` for a code outside its range."""

    @property
    def code(self) -> int:
        """The type code."""

    @property
    def data(self) -> bytes:
        """The payload."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[ExtType], tuple[int, bytes]]: ...

@final
class LocalServer:
    """A running local server. `fal_realtime.testing.LocalServer` is its public face and describes everything here."""

    def __new__(
        cls,
        *,
        key: str,
        host: str,
        port: int,
        tls: bool,
        token_form: Literal["string", "detail", "token"],
        refuse_in_band: bool,
        session_timeout: float | None,
        buffering: int | None,
        emit_timings: bool,
        max_message_size: int,
    ) -> Self:
        """Start a server.

        Raises:
            OSError: The address cannot be bound.
            ValueError: An option is not acceptable.
        """

    def stop(self) -> None:
        """Stop; takes at most two seconds. Counters and records stay readable."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    @property
    def ca_file(self) -> str | None:
        """The file, in PEM, with the authority to trust; None without TLS. Removed at the stop."""

    @staticmethod
    def check_name(name: str) -> None:
        """Refuse the name of an app that no client could ask for.

        Raises:
            ValueError: It is no app id.
        """

    def add_builtin(
        self,
        name: str,
        builtin: str,
        *,
        session_timeout: float | None,
        buffering: int | None,
        emit_timings: bool,
    ) -> None:
        """Serve a built-in app as `name`.

        Raises:
            ValueError: There is no such built-in app, or an option is not acceptable.
        """

    def add_handler(self, name: str, handler: int) -> None:
        """Serve an app as `name` whose jobs come from `take_jobs`, marked with this number."""

    def take_jobs(self, timeout: float) -> list[tuple[int, int, str, list[bytes | str]]] | None:
        """Block until there are jobs and take all, in order; empty after `timeout` seconds, None once it stops.

        A job is its session, the handler's number, and: `open` (a session began), `inputs` with what one read brought,
        `writable` (the handler may say more) or `closed`.
        """

    def send_to(self, session: int, message: bytes | str) -> bool:
        """Send a session's client a message. When False, wait for `writable` or `closed` before the next one."""

    def close_session(self, session: int, code: int, reason: str) -> None:
        """Begin a session's closing handshake; 1005 sends a close frame without a code and a reason."""

    def end_session(self, session: int) -> None:
        """End a session's connection without a close frame."""

    def inputs_taken(self, session: int) -> None:
        """Read on, all inputs of a session being taken."""

    def drop_connections(self, abrupt: bool) -> None:
        """Close every connection without a close frame, with a reset if `abrupt`."""

    def close_all(self, code: int, reason: str) -> None:
        """Send every connection a close frame.

        Raises:
            ValueError: The code may not be sent.
        """

    def send_binary(self, data: bytes) -> None:
        """Send every connection a binary message."""

    def send_text(self, text: str) -> None:
        """Send every connection a text message."""

    def refuse(
        self,
        status: int | None,
        headers: list[tuple[str, str]],
        body: bytes | None,
        count: int | None,
        app: str | None,
    ) -> None:
        """Refuse the next `count` handshakes, or all, with this HTTP status; None refuses no more.

        Raises:
            ValueError: The status or a header is not acceptable, or there is no such app.
        """

    def set_paused(self, paused: bool) -> None:
        """Stall, or go on."""

    def set_silent(self, is_silent: bool, app: str | None) -> None:
        """Hold back what an app, or all, says, or let it go.

        Raises:
            ValueError: There is no such app.
        """

    def cold_start(self, seconds: float, once: bool, app: str | None) -> None:
        """Let an app, or all, begin so much later in sessions to come; `once`: until the first of them is warm.

        Raises:
            ValueError: `seconds` is not acceptable, or there is no such app.
        """

    def close_after(self, messages: int | None, code: int | None, reason: str, counted: str, app: str | None) -> None:
        """Close sessions to come, of an app or of all, after so many messages.

        Raises:
            ValueError: An argument is not acceptable, or there is no such app.
        """

    def sessions(self, app: str | None) -> list[LocalSession]:
        """The open sessions of an app, or of all, in the order in which they were opened.

        Raises:
            ValueError: There is no such app.
        """

    def expire_tokens(self) -> None:
        """Make every token given out so far invalid."""

    def mint_failures(self, count: int, status: int | None, headers: list[tuple[str, str]], body: bytes | None) -> None:
        """Fail the next token requests with this HTTP status; None closes their connections unanswered.

        Raises:
            ValueError: The status or a header is not acceptable.
        """

    def mint_delay(self, seconds: float) -> None:
        """Answer token requests so much later."""

    def handshake_delay(self, seconds: float) -> None:
        """Answer handshakes so much later."""

    def stop_listening(self) -> None:
        """Close the listening socket."""

    def start_listening(self) -> None:
        """Listen again on the same port.

        Raises:
            OSError: Someone else has taken the port.
        """

    def wait_for_connections(self, count: int, timeout: float) -> bool:
        """Block until exactly `count` connections are open; whether that was so in time. Ctrl-C interrupts it."""

    @property
    def connections(self) -> int:
        """How many WebSocket connections are open."""

    @property
    def connections_total(self) -> int:
        """How many WebSocket connections were opened so far."""

    @property
    def tokens_minted(self) -> int:
        """How many tokens were given out."""

    @property
    def mint_requests(self) -> int:
        """How many token requests came."""

    @property
    def messages_received(self) -> int:
        """How many messages came, without control frames."""

    @property
    def messages_sent(self) -> int:
        """How many messages were sent, without control frames."""

    @property
    def pings_received(self) -> int:
        """How many pings came."""

    def handshakes(
        self,
    ) -> list[tuple[str, list[tuple[str, str]], list[tuple[str, str]], Literal["token", "key", "none"], int]]:
        """The newest handshakes: path, query, headers, credential, status."""

    def mints(self) -> list[tuple[str, str, str | None, int]]:
        """The newest token requests: path, body, target URL, status."""

@final
class LocalSession:
    """An open connection of a `LocalServer`, or one that was."""

    @property
    def id(self) -> int:
        """Its number on its server."""

    @property
    def app(self) -> str:
        """The name of the app."""

    def handshake(
        self,
    ) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]], Literal["token", "key", "none"], int]:
        """Path, query, headers, credential, status."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""

    @property
    def messages_received(self) -> int:
        """How many messages came, without control frames."""

    @property
    def messages_sent(self) -> int:
        """How many messages were sent, without control frames."""

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""

    def send_text(self, text: str) -> None:
        """Send a text message."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame.

        Raises:
            ValueError: The code may not be sent.
        """

    def close_after(self, messages: int | None, code: int | None, reason: str, counted: str) -> None:
        """Close it after so many messages.

        Raises:
            ValueError: An argument is not acceptable.
        """

    def drop_connection(self, abrupt: bool) -> None:
        """Close it without a close frame, with a reset if `abrupt`."""

    def set_paused(self, is_paused: bool) -> None:
        """Read nothing, or go on."""

    def set_silent(self, is_silent: bool) -> None:
        """Hold back what the app says, or let it go."""

def _io_counters() -> dict[str, int]:
    """How often, in this process, an I/O thread woke up, polled whether a loop comes, took over and gave back."""

def encode(value: Any, /, *, default: Callable[[Any], Any] | None = None, timestamps: bool = False) -> bytes:
    """Encode `value` as one msgpack object; `fal_realtime.msgpack` says what becomes of which type.

    Args:
        value: What to encode.
        default: Called with each value that has no form of its own; what it returns is encoded in its place. What it
            raises is raised.
        timestamps: Encode aware `datetime` objects as timestamp extensions, and refuse naive ones. By default both are
            str in ISO 8601, which a typed app of fal accepts.

    Raises:
        EncodeError: A value cannot be encoded; it says where it is.
    """

def encode_input(value: Any, /) -> bytes:
    """Encode `value` as a connection does its inputs. Raises `EncodeError`."""

def encode_as_packer(value: Any, /) -> bytes:
    """Encode `value` as Python's `msgpack.packb` does. Raises what that raises."""

def decode(data: bytes | bytearray | memoryview, /) -> Any:
    """Decode `data`, which holds exactly one msgpack object; `fal_realtime.msgpack` says what becomes of which type.

    Raises:
        DecodeError: It is not msgpack, is cut off, goes on after the object, nests deeper than 256 levels, or would
            become more Python objects than 64 MiB and 16 times its own length.
    """

def decode_as_packer(data: bytes, /) -> Any:
    """Decode `data` as Python's `msgpack.unpackb` does. Raises `ValueError` in its words."""

def decode_json(text: str, /) -> Any:
    """Decode one JSON value (RFC 8259); like Python's `json` it takes `NaN` and `Infinity`. Raises `DecodeError`."""

def method(native: Callable[..., Any]) -> Any:
    """An object that is called like `native`, an unbound method, and whose attributes can be set."""
