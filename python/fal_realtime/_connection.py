"""The connection as users see it: the native one, with the few things that Python says better."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _core
from ._closing import Closing, describe_state, give_up_callbacks
from ._exceptions import FalRealtimeError
from ._finishing import Finish, check_close
from ._generics import Input, OfInputAndOutput, Output
from ._native import native
from ._recording import Recordable
from ._types import ErrorCallback, StateCallback, Stats, TimingsCallback

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Self


class RealtimeConnection(_core.Connection, Recordable, OfInputAndOutput[Input, Output]):
    """A session with a realtime app; made by `RealtimeClient.connect`, and used from one event loop.

    It opens on the first `send`, or at once where it is awaited or entered:

        connection = await client.connect(app)

        async with client.connect(app) as connection:
            await connection.send({"prompt": "a cat"})
            async for result in connection:
                ...

    What goes wrong in a coroutine is raised where it is awaited. The iteration ends when the connection or (with
    `streaming`) the stream ends normally; an app that answers each input ends none: leave it with `break`, or close.
    """

    _forget: Callable[[], None] | None = None
    _close_timeout: float = 10

    # The native methods themselves: no Python frame stands between the caller and them.

    if TYPE_CHECKING:

        def __aiter__(self) -> Self: ...

        async def __anext__(self) -> Output: ...

    @native(_core.Connection)
    def stats(self) -> Stats:  # type: ignore[empty-body] # the native method is in its place
        """What was counted so far, all taken at one instant."""

    @native(_core.Connection)
    def set_callbacks(
        self,
        *,
        on_result: Callable[[Output], object] | None,
        on_error: ErrorCallback | None,
        on_timings: TimingsCallback | None,
        on_state_change: StateCallback | None,
    ) -> None:
        """Replace all four callbacks, from the next event on; they run in the contextvars of this call."""

    @native(_core.Connection)
    def send_nowait(self, input: Input) -> None:
        """Accept an input without waiting, from any thread; the first one opens the connection.

        `bytes`, `bytearray` and `memoryview` are encoded messages and go out as they are; all else is encoded.
        When the outgoing queue is full, the oldest is dropped and counted if there is `max_buffering`.

        Raises:
            BufferFullError: The queue is full and there is no `max_buffering`.
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            ForkedProcessError: It belongs to the parent process.
            RuntimeError: It would open here, and no event loop runs.
        """

    @native(_core.Connection)
    async def send(self, input: Input) -> None:
        """Accept an input, waiting for room in the outgoing queue; the first one opens the connection.

        Done when the input is accepted, not when it is written (see `drain`). Nothing is lost but what the throttle
        replaces by newer inputs. The input is encoded at the call: changing it afterwards is harmless.

        Until somebody has received (by `recv`, iteration or an `on_result`), only the newest 1,024 results are kept:
        receive while you send more than that. Older ones are dropped, which is logged and counted
        (`received_dropped`).

        Raises:
            EncodeError: The input cannot be encoded.
            MessageTooLargeError: It is larger than `max_message_size`, or than a fal app takes.
            ConnectionClosedError: The connection is closed; or the error that closed it.
            ForkedProcessError: It belongs to the parent process.
        """

    @native(_core.Connection)
    async def request(  # type: ignore[empty-body] # likewise
        self, input: Input, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
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

    @native(_core.Connection)
    async def recv(self, *, timeout: float | None = None) -> Output:  # type: ignore[empty-body] # likewise
        """Give the next result, within `timeout` seconds. Neither the timeout nor cancelling it loses anything.

        Of the results that came before anybody received, the newest 1,024 are there. From the first call on none is
        dropped, unless there is `max_buffering`.

        Raises:
            RequestTimeoutError: None came in time.
            RealtimeError: The server reported an error.
            DecodeError: The message cannot be decoded.
            ConnectionClosedError: The connection is closed and all results are taken.
            RuntimeError: Results go to `on_result`.
        """

    @native(_core.Connection)
    async def latest(self, *, timeout: float | None = None) -> Output:  # type: ignore[empty-body] # likewise
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

    @native(_core.Connection)
    async def open(self) -> None:
        """Open now, not with the first send; at most `open_timeout` seconds.

        Raises:
            AuthenticationError: The credentials or the token were refused.
            ApiError: The token request was answered with an error.
            HandshakeError: The WebSocket could not be opened.
            RequestTimeoutError: It took too long.
            ConnectionClosedError: The connection is closed; or the error that closed it.
        """

    @native(_core.Connection)
    async def drain(self) -> None:
        """Wait until everything accepted so far is written: not until it is answered.

        What failed since the last `drain` is told, with how many and why: nothing is taken for written that was not.

        Raises:
            ConnectionClosedError: Some were not: the connection was closed, or lost in the middle of one.
        """

    @native(_core.Connection)
    async def wait_closed(self) -> None:
        """Wait until the connection is closed and its socket is gone."""

    def __await__(self) -> Generator[Any, None, Self]:
        """Open, and give the connection itself; raises what the opening raised."""
        return self._open_or_close().__await__()

    async def __aenter__(self) -> Self:
        """Open; raises what the opening raised."""
        return await self._open_or_close()

    async def __aexit__(
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
            await self._flush()
        await self.aclose()

    async def _flush(self) -> None:
        import asyncio

        from ._within import within

        # What could not be written is counted as failed.
        with contextlib.suppress(asyncio.TimeoutError, FalRealtimeError):
            self._release()
            await within(self._close_timeout, self.drain())

    async def finish(self, timeout: float | None = None) -> None:
        """Accept no more inputs, wait until all that were accepted are written and answered, and close.

        What `in_flight` counts is waited for, a result for each input: an app that answers one with nothing, or drops
        it, lets this wait until the session ends, which fal's apps do by themselves when nothing comes. With
        `streaming` the answers end with the stream.
        Results go where they always go: take them meanwhile or afterwards; while 64 MiB wait for you, none is read.

        Args:
            timeout: Seconds, after which it closes all the same; None: none. Cancelling it leaves the connection open,
                and without more inputs.

        Raises:
            RequestTimeoutError: It took longer; says how many inputs had no answer.
            ConnectionLostError: A session was lost meanwhile, before `unanswered` inputs had their answer.
            ConnectionClosedError: Some were not written: the connection was closed meanwhile.
            FalRealtimeError: Some were not written or had no answer, since the connection has given up: the reason.
        """
        import asyncio

        from ._within import within

        with Finish(self, timeout) as finish:
            self._let_go()
            try:
                await within(finish.timeout, self._finished())
            except asyncio.TimeoutError:
                error = finish.timed_out()
                await self.aclose()
                raise error from error.__cause__
            try:
                finish.check_end()
                await self.drain()
                finish.check()
            finally:
                await self.aclose()

    def close(self, code: int = 1000, reason: str = "") -> Awaitable[None]:  # type: ignore[override]
        """Begin to close, from any state; what is not written fails. Calling it again does nothing.

        Gives something that may be awaited, and then does what `aclose` does.

        Args:
            code: What the server is told (RFC 6455, section 7.4): 1000 (done), 1001 (going away), or 3000 to 4999.
            reason: In words, at most 123 bytes of UTF-8.

        Raises:
            ValueError: The code or the reason is not accepted.
        """
        check_close(code, reason)
        super().close(code, reason)
        self._let_go()
        return Closing(self.aclose)

    def _let_go(self) -> None:
        """Let the client make another connection where this one would be given again."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    async def aclose(self) -> None:
        """Close, and wait until it is done and the callbacks have heard of it: each at most `close_timeout` seconds.

        Asynchronous callbacks run to their end; one that is still running then is cancelled. That, and what callbacks
        have not been called with then, is logged; results among it stay `received_pending`.
        """
        import asyncio

        from ._delivery import RUNNING

        self.close()
        await self.wait_closed()
        loop = asyncio.get_running_loop()
        if self._recording is not None:
            try:
                await loop.run_in_executor(None, self._wait_until_recorded)
            except RuntimeError:  # the executor has no thread for it, and may have none soon
                self._wait_until_recorded()
        until = loop.time() + self._close_timeout
        # The caller may let go of the connection now, and with it of what the callbacks have not been told yet.
        while True:
            has_more = self._deliver()
            # A callback that closes the connection, by whatever way and in whichever task of its own, does not wait for
            # itself.
            own = (asyncio.current_task(), RUNNING.get(None))
            running = {task for task in self._callbacks_under_way() if task not in own}
            if not has_more and not running:
                return
            if (left := until - loop.time()) <= 0:
                break
            if has_more:
                await asyncio.sleep(0)  # others have their turn
            else:
                await asyncio.wait(running, timeout=left)
        results, (_, others) = self.stats()["received_pending"], self._left()
        self.set_callbacks(on_result=None, on_error=None, on_timings=None, on_state_change=None)
        await give_up_callbacks(self.app, running, self._close_timeout, results, others)

    def _callbacks_under_way(self) -> set[asyncio.Task[Any]]:
        """The asynchronous callbacks that are running."""
        running = self._running_callback
        return set() if running is None else {running}

    async def _encoded_so_far(self) -> None:
        """Wait until what was sent so far is encoded, where that is asynchronous."""

    async def _open_or_close(self) -> Self:
        try:
            await self.open()
        except BaseException:
            # Nobody will own it: a failed or cancelled opening must not leave a socket, which would be billed.
            self.close()
            raise
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} {describe_state(self)}>"
