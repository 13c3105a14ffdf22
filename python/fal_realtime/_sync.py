"""The blocking connection: the same native core, without asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from . import _core
from ._callbacks import Dispatcher, call_back, warn_of_rest
from ._closing import describe_state
from ._exceptions import FalRealtimeError
from ._finishing import Finish, check_close
from ._functions import check_plain
from ._generics import Input, OfInputAndOutput, Output
from ._native import native
from ._recording import Recordable
from ._types import ErrorCallback, StateCallback, Stats, TimingsCallback

if TYPE_CHECKING:
    from typing_extensions import Self


class SyncRealtimeConnection(_core.SyncConnection, Recordable, OfInputAndOutput[Input, Output]):
    """A session with a realtime app in blocking form; made by `SyncRealtimeClient.connect`, used from any thread.

        with client.connect(app) as connection:
            connection.send({"prompt": "a cat"})
            for result in connection:
                ...

    Each blocking call can be interrupted by Ctrl-C. Callbacks run in a thread that all blocking connections share: one
    that takes long delays the others' for a moment, until another thread steps in for them.
    """

    _dispatcher: Dispatcher | None = None
    _close_timeout: float = 10
    _forget: Callable[[], None] | None = None

    if TYPE_CHECKING:

        def __iter__(self) -> Self: ...

        def __next__(self) -> Output: ...

    @native(_core.SyncConnection)
    def stats(self) -> Stats:  # type: ignore[empty-body] # the native method is in its place
        """What was counted so far, all taken at one instant."""

    @native(_core.SyncConnection)
    def send_nowait(self, input: Input) -> None:
        """Accept an input without waiting; the first one opens the connection.

        `bytes`, `bytearray` and `memoryview` are encoded messages and go out as they are; all else is encoded.
        When the outgoing queue is full, the oldest is dropped and counted if there is `max_buffering`.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            ForkedProcessError: It belongs to the parent process.
        """

    @native(_core.SyncConnection)
    def send(self, input: Input, timeout: float | None = None) -> None:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Done when the input is accepted, not when it is written (see `drain`).

        Until somebody has received (by `recv`, iteration or an `on_result`), only the newest 1,024 results are kept:
        receive while you send more than that. Older ones are dropped, which is logged and counted
        (`received_dropped`).

        Raises:
            RequestTimeoutError: No room within `timeout` seconds.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed; or the error that closed it.
        """

    @native(_core.SyncConnection)
    def request(  # type: ignore[empty-body] # likewise
        self, input: Input, timeout: float | None = None, *, retries: int = 0, idempotent: bool = False
    ) -> Output:  # pyright: ignore[reportReturnType] # likewise
        """Send an input past the throttle and give its result, matched by `request_id`.

        The `request_id` is added unless the input has one; the app must copy it into its result. Nobody else gets this
        result. Use an id of your own once: the late answer to an earlier request with it would be taken for this one's.
        `timeout` is in seconds; None waits until the connection closes.

        With `retries` it is sent again, at most so often and within the same `timeout`, after an error that passes:
        where no app can have seen the input (`error.unprocessed`: it was displaced in the queue, or too many results
        were unread); with `idempotent=True`, which says that an app may get it twice, also where one can have
        (`error.retryable`: its session was lost). Not once the connection is closed, which is final.

        Raises:
            RequestTimeoutError: No answer came in time.
            RealtimeError: The server reported an error meanwhile.
            ConnectionLostError: The session ended meanwhile, and the connection goes on.
            ConnectionClosedError: The connection was closed meanwhile.
            BufferFullError: It was not sent: newer messages displaced it (`max_buffering`), or so many results wait to
                be taken that its answer would not be read.
            UnreadResultsError: It was sent, and so many results wait to be taken that its answer is not read.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes; or its answer is.
            EncodeError: The input cannot be encoded, or not carry a `request_id`: it is no mapping, dataclass or model
                (with `encode_message`: no mapping), or its own `request_id` is no str.
            ValueError: Another request with this `request_id` is pending.
        """

    @native(_core.SyncConnection)
    def recv(self, timeout: float | None = None) -> Output:  # type: ignore[empty-body] # likewise
        """Give the next result.

        Of the results that came before anybody received, the newest 1,024 are there. From the first call on none is
        dropped, unless there is `max_buffering`.

        Raises:
            RequestTimeoutError: None came within `timeout` seconds.
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    @native(_core.SyncConnection)
    def latest(self, timeout: float | None = None) -> Output:  # type: ignore[empty-body] # likewise
        """Give the newest result, for when only that matters; wait for one if there is none.

        Older ones are dropped, and counted in `received_dropped`. An error, or the end of a stream, that came before it
        is raised first, as by `recv`.

        Raises:
            RequestTimeoutError: None came within `timeout` seconds.
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    @native(_core.SyncConnection)
    def open(self) -> None:
        """Open now, not with the first send; at most `open_timeout` seconds.

        Raises:
            AuthenticationError: The credentials or the token were refused.
            ApiError: The token request was answered with an error.
            HandshakeError: The WebSocket could not be opened.
            RequestTimeoutError: It took too long.
            ConnectionClosedError: The connection is closed; or the error that closed it.
        """

    @native(_core.SyncConnection)
    def drain(self, timeout: float | None = None) -> None:
        """Wait until everything accepted so far is written: not until it is answered.

        What failed since the last `drain` is told, with how many and why: nothing is taken for written that was not.

        Raises:
            RequestTimeoutError: It took longer than `timeout` seconds.
            ConnectionClosedError: Some were not: the connection was closed, or lost in the middle of one.
        """

    def set_callbacks(
        self,
        *,
        on_result: Callable[[Output], object] | None,
        on_error: ErrorCallback | None,
        on_timings: TimingsCallback | None,
        on_state_change: StateCallback | None,
    ) -> None:
        """Replace all four callbacks, from the next event on; they run in the contextvars of this call.

        Raises:
            TypeError: One of them cannot be called, or is a coroutine function.
            FalRealtimeError: The system gives no thread that could call them; then there are none.
        """
        callbacks: dict[str, Callable[..., object] | None] = {
            "on_result": on_result,
            "on_error": on_error,
            "on_timings": on_timings,
            "on_state_change": on_state_change,
        }
        check_plain(callbacks)
        super().set_callbacks(**callbacks)
        self._dispatch(callbacks)

    def _dispatch(self, callbacks: dict[str, Callable[..., object] | None]) -> None:
        if self._dispatcher is not None:
            self._dispatcher.replace(callbacks)
        elif any(callback is not None for callback in callbacks.values()):
            # Before: a callback may close the connection at once.
            self._dispatcher = Dispatcher(callbacks)
            try:
                call_back(self._events(), self._dispatcher)
            except BaseException:
                # What comes is not for callbacks that nobody calls.
                self._dispatcher = None
                super().set_callbacks(**dict.fromkeys(callbacks))
                raise

    def finish(self, timeout: float | None = None) -> None:
        """Accept no more inputs, wait until all that were accepted are written and answered, and close.

        What `in_flight` counts is waited for, a result for each input: an app that answers one with nothing, or drops
        it, lets this wait until the session ends, which fal's apps do by themselves when nothing comes. With
        `streaming` the answers end with the stream.
        Results go where they always go: take them meanwhile or afterwards; while 64 MiB wait for you, none is read.

        Args:
            timeout: Seconds, after which it closes all the same; None: none.

        Raises:
            RequestTimeoutError: It took longer; says how many inputs had no answer.
            ConnectionLostError: A session was lost meanwhile, before `unanswered` inputs had their answer.
            ConnectionClosedError: Some were not written: the connection was closed meanwhile.
            FalRealtimeError: Some were not written or had no answer, since the connection has given up: the reason.
        """
        with Finish(self, timeout) as finish:
            self._let_go()
            if not self._finished(finish.timeout):
                error = finish.timed_out()
                self.close()
                raise error
            try:
                finish.check_end()
                self.drain()
                finish.check()
            finally:
                self.close()

    def _let_go(self) -> None:
        """Let the client make another connection where this one would be given again."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until it is done and the callbacks have heard of it: each at most `close_timeout` seconds.

        What callbacks have not been called with then, which is logged, they are called with as long as the process
        lives. A callback that closes its own connection does not wait for itself.

        Args:
            code: What the server is told (RFC 6455, section 7.4): 1000 (done), 1001 (going away), or 3000 to 4999.
            reason: In words, at most 123 bytes of UTF-8.

        Raises:
            ValueError: The code or the reason is not accepted.
        """
        check_close(code, reason)
        self._let_go()
        if self._dispatcher is None:
            super().close(code, reason)
        else:
            # Before: the last event may be delivered at once.
            self._dispatcher.finish(events := self._events())
            super().close(code, reason)
            if not self._dispatcher.wait(self._close_timeout):
                warn_of_rest(
                    events, f"{self._close_timeout} s after its end; they will be, as long as the process lives"
                )
        self._wait_until_recorded()

    def _is_stranded(self) -> bool:
        return False

    def __enter__(self) -> Self:
        """Open; raises what the opening raised."""
        try:
            self.open()
        except BaseException:
            # Nobody will own it: a failed or interrupted opening must not leave a socket, which would be billed.
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, and wait until it is done.

        Without an exception everything accepted is written first, for at most `close_timeout` seconds. With one, what
        has not been written fails at once.
        """
        if exc_type is None:
            # What could not be written is counted as failed.
            with contextlib.suppress(FalRealtimeError):
                self._release()
                self.drain(timeout=self._close_timeout)
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} {describe_state(self)}>"
