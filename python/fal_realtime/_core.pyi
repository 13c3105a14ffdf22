"""The native half. Private: what users need of it is exported by `fal_realtime`."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, final

from typing_extensions import Self, disjoint_base

from ._types import ConnectionState, Stats

__all__ = ["Client", "Connection", "ExtType", "SyncConnection", "decode", "decode_json", "encode"]

@final
class Client:
    """Holds the credentials, the runtime's settings and the tokens of all connections made with it."""

    def __new__(
        cls,
        *,
        credentials: str | None,
        base_url: str,
        token_url: str,
        proxy: str | None,
        trust_env: bool,
        proxy_url: str | None,
        ca_file: str | None,
        insecure: bool,
        user_agent: str,
    ) -> Self:
        """Check the addresses; nothing is opened.

        Raises:
            ValueError: An address is not acceptable.
        """

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
        use_jwt: bool,
        streaming: bool,
        open_timeout: float,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float,
        max_message_size: int,
        reconnect: tuple[float, float, float, float, int | None] | None,
        token_provider: Callable[[str], Any] | None,
        token_expiration: float | None,
        token_body: str | None,
        encode_message: Callable[[Any], Any] | None,
        decode_message: Callable[[Any], Any] | None,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[[Any], object] | None,
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

    def stats(self) -> Stats:
        """What was counted so far, all taken at one instant."""

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[[Any], object] | None,
    ) -> None:
        """Replace all four callbacks, for what comes from now on."""

    def send_nowait(self, input: Any) -> None:
        """Accept an input without waiting, from any thread; the first one opens the connection.

        When the outgoing queue is full, the oldest is dropped and counted if there is `max_buffering`.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed.
            ForkedProcessError: It belongs to the parent process.
            RuntimeError: It would open here, and no event loop runs.
        """

    def send(self, input: Any) -> Awaitable[None]:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Done when the input is accepted, not when it is written (see `drain`). Nothing is lost but what the throttle
        replaces by newer inputs. The input is encoded at the call: changing it afterwards is harmless.

        Raises:
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed.
            ForkedProcessError: It belongs to the parent process.
        """

    def request(self, input: Any, *, timeout: float | None = None) -> Awaitable[Any]:
        """Send an input past the throttle and give its result, matched by `request_id`.

        The `request_id` is added unless the input has one; the app must copy it into its result. Nobody else gets this
        result. `timeout` is in seconds; None waits until the connection closes.

        Raises:
            RequestTimeoutError: No answer came in time.
            RealtimeError: The server reported an error meanwhile.
            ConnectionClosedError: The connection was closed meanwhile.
            TypeError: The input is not a mapping.
        """

    def recv(self) -> Awaitable[Any]:
        """Give the next result. Cancelling it loses nothing.

        Raises:
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    def __aiter__(self) -> Self:
        """Iterate over the results, until the connection or (with `streaming`) the stream ends normally."""

    def __anext__(self) -> Awaitable[Any]:
        """Give the next result, like `recv`."""

    def open(self) -> Awaitable[None]:
        """Open now, not with the first send; at most `open_timeout` seconds.

        Raises:
            AuthenticationError: The credentials or the token were refused.
            ApiError: The token request was answered with an error.
            HandshakeError: The WebSocket could not be opened.
            RequestTimeoutError: It took too long.
            ConnectionClosedError: The connection is closed.
        """

    def drain(self) -> Awaitable[None]:
        """Wait until everything accepted so far is written.

        Raises:
            ConnectionClosedError: The connection was closed before that.
        """

    def close(self) -> None:
        """Begin to close with code 1000, from any state; what is not written fails. Calling it again does nothing."""

    def wait_closed(self) -> Awaitable[None]:
        """Wait until the connection is closed and its socket is gone."""

    def _send_encoded_nowait(self, payload: bytes | str) -> None:
        """`send_nowait` of an encoded message: bytes as binary, str as text."""

    def _send_encoded(self, payload: bytes | str) -> Awaitable[None]:
        """`send` of an encoded message."""

    def _request_encoded(self, payload: bytes | str, request_id: str, timeout: float | None) -> Awaitable[Any]:
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
        use_jwt: bool,
        streaming: bool,
        open_timeout: float,
        ping_interval: float | None,
        ping_timeout: float | None,
        close_timeout: float,
        max_message_size: int,
        reconnect: tuple[float, float, float, float, int | None] | None,
        token_provider: Callable[[str], Any] | None,
        token_expiration: float | None,
        token_body: str | None,
        encode_message: Callable[[Any], Any] | None,
        decode_message: Callable[[Any], Any] | None,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[[Any], object] | None,
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

    def stats(self) -> Stats:
        """What was counted so far, all taken at one instant."""

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Any], object] | None,
        on_error: Callable[[Any], object] | None,
        on_timings: Callable[[Any], object] | None,
        on_state_change: Callable[[Any], object] | None,
    ) -> None:
        """Replace all four callbacks, for what comes from now on."""

    def send_nowait(self, input: Any) -> None:
        """As in `Connection`."""

    def send(self, input: Any, timeout: float | None = None) -> None:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Raises:
            RequestTimeoutError: No room within `timeout` seconds.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`.
            ConnectionClosedError: The connection is closed.
        """

    def request(self, input: Any, timeout: float | None = None) -> Any:
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

    def close(self) -> None:
        """Close with code 1000 and wait until it is done: at most `close_timeout` seconds."""

    def _events(self) -> Iterator[tuple[str, Any]]:
        """What the callbacks are called with, until the connection is closed and all is delivered.

        Pairs of `result`, `error`, `timings` or `state_change` and the value. Blocks between them, and does not keep
        the connection alive.
        """

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

def encode(value: Any, /) -> bytes:
    """Encode one msgpack object. Raises `EncodeError`."""

def decode(data: bytes | bytearray | memoryview, /) -> Any:
    """Decode one msgpack object. Raises `DecodeError`."""

def decode_json(text: str, /) -> Any:
    """Decode one JSON value (RFC 8259). Raises `DecodeError`."""
