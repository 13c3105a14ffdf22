"""Encoders that are coroutine functions: they run on the event loop, one after the other, before the native core.

A plain function is called by the native core itself, at `send`; so is every decoder, sync or async.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from . import _checks as check
from ._connection import RealtimeConnection
from ._exceptions import EncodeError, RequestTimeoutError
from ._opening import CURRENT
from ._retrying import request as request_again
from ._types import ErrorCallback

if TYPE_CHECKING:
    from typing_extensions import Self

AsyncEncoder = Callable[[Any], Awaitable["bytes | str"]]


class AsyncEncodedConnection(RealtimeConnection):
    """A connection whose inputs are encoded by a coroutine function; their order is that of the calls."""

    _encode: AsyncEncoder
    _on_error: ErrorCallback | None
    _turns: _Turns
    _turns_of_opening: _Turns
    _tasks: set[asyncio.Task[None]]
    _running_callbacks: set[asyncio.Task[None]]
    _context: Context

    @classmethod
    def create(cls, client: Any, *, encode: AsyncEncoder, arguments: dict[str, Any]) -> AsyncEncodedConnection:
        """Make one; `arguments` are a native connection's, without `encode_message`."""
        connection = cls(client, encode_message=None, **arguments)
        connection._encode = encode
        connection._on_error = arguments["on_error"]
        connection._turns = _Turns()
        connection._turns_of_opening = _Turns()
        connection._tasks = set()
        connection._running_callbacks = set()
        connection._context = copy_context()  # callbacks run in the contextvars of `connect`
        return connection

    def set_callbacks(self, **callbacks: Any) -> None:
        """As everywhere; the error callback also takes what fails after `send_nowait` returned."""
        super().set_callbacks(**callbacks)
        self._on_error = callbacks["on_error"]
        self._context = copy_context()

    def send_nowait(self, input: Any) -> None:
        """Schedule the encoding, then the sending; what fails then goes to `on_error`.

        Unlike elsewhere this needs the running loop, since the encoder runs on it.
        """
        turn = self._turn()
        task = asyncio.ensure_future(self._encode_then(turn, input, self._send_encoded_nowait))
        self._tasks.add(task)
        # Not inside the coroutine: a task that is cancelled before it began never runs its `finally`.
        task.add_done_callback(lambda _: turn.release())
        task.add_done_callback(self._scheduled_send_done)

    async def send(self, input: Any) -> None:
        """Encode, then wait for room like everywhere."""
        with self._turn() as turn:
            payload = await self._encoded(turn, input)
            await self._send_encoded(payload)

    async def request(
        self, input: Any, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
    ) -> Any:
        """Encode, then send and wait for the answer like everywhere; the timeout is that of both."""
        if type(retries) is not int or retries != 0 or type(idempotent) is not bool:
            return await request_again(self, input, timeout, retries, idempotent)
        left = _Left(timeout)
        message, request_id = self._with_request_id(input)
        with self._turn() as turn:
            payload = await self._encoded(turn, message, timeout)
            answer = self._request_encoded(payload, request_id, left.seconds())
        return await answer

    async def drain(self) -> None:
        """Wait until everything is encoded and written."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await super().drain()

    async def finish(self, timeout: float | None = None) -> None:
        """As everywhere; what is being encoded was accepted."""
        left = _Left(timeout)
        while self._tasks and left.seconds() != 0:
            await asyncio.wait(self._tasks, timeout=left.seconds())
        if count := len(self._tasks):
            await self.aclose()
            inputs = "1 input was" if count == 1 else f"{count} inputs were"
            message = f"after {timeout} s {inputs} not encoded yet; the connection was closed"
            raise RequestTimeoutError(message)
        await super().finish(left.seconds())

    def _callbacks_under_way(self) -> set[asyncio.Task[Any]]:
        # Where what was being encoded fails, it is told.
        return super()._callbacks_under_way() | self._running_callbacks | self._tasks

    def _turn(self) -> _Turn:
        # Others may wait for room, and with that for `on_open`, which must not wait for them.
        turns = self._turns if CURRENT.get(None) is None else self._turns_of_opening
        return turns.take()

    async def _encoded_so_far(self) -> None:
        turn = self._turn()
        await turn.come()
        turn.release()

    async def _encoded(self, turn: _Turn, message: Any, timeout: float | None = None) -> bytes | str:
        """Encode it in its turn, but not beyond the end of the connection."""
        encoding = asyncio.ensure_future(self._in_turn(turn, message))
        end = asyncio.ensure_future(self.wait_closed())
        try:
            await asyncio.wait((encoding, end), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if encoding.cancelled():
                why = "encode_message was cancelled"
                raise EncodeError(why)
            if encoding.done():
                return encoding.result()
            if end.done():
                self._send_encoded_nowait(b"")  # raises why it is closed
            error = RequestTimeoutError(f"the input was not encoded within {timeout} s")
            error.retryable = error.unprocessed = True
            raise error
        finally:
            encoding.cancel()
            end.cancel()

    async def _in_turn(self, turn: _Turn, message: Any) -> bytes | str:
        await turn.come()
        return await self._encode(message)

    async def _encode_then(self, turn: _Turn, message: Any, send: Callable[[bytes | str], None]) -> None:
        send(await self._encoded(turn, message))

    def _scheduled_send_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or not isinstance(error := task.exception(), Exception):
            return
        loop = task.get_loop()
        if self._on_error is None:
            loop.call_exception_handler({"message": f"{self!r}: send_nowait failed", "exception": error, "task": task})
            return
        try:
            outcome = self._context.run(self._on_error, error)
        except Exception as raised:  # noqa: BLE001 - reported like every callback that raises
            loop.call_exception_handler({"message": f"{self!r}: on_error raised", "exception": raised})
            return
        if inspect.iscoroutine(outcome):
            callback = self._context.run(loop.create_task, outcome)
            self._running_callbacks.add(callback)
            callback.add_done_callback(self._running_callbacks.discard)


class _Left:
    """What is left of a time limit."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = check.timeout(timeout)
        self._began = time.monotonic()

    def seconds(self) -> float | None:
        """Give the seconds, as they are to be said where it takes longer."""
        if self._timeout is None:
            return None
        return max(0.0, round(self._timeout - (time.monotonic() - self._began), 3))


class _Turns:
    """Serves its callers in the order of `take`, not in that in which their tasks happen to run."""

    def __init__(self) -> None:
        self._last: asyncio.Future[None] | None = None

    def take(self) -> _Turn:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            explanation = (
                "with an async encode_message, sending needs the running asyncio event loop, which runs the encoder; "
                "without one, use fal_realtime.SyncRealtimeClient"
            )
            raise RuntimeError(explanation) from None
        turn = _Turn(self._last, loop.create_future())
        self._last = turn.released
        return turn


class _Turn:
    """One place in the line; as a context manager it is given up at the end of the block."""

    def __init__(self, previous: asyncio.Future[None] | None, released: asyncio.Future[None]) -> None:
        self._previous = previous
        self.released = released

    async def come(self) -> None:
        """Wait for all earlier turns to be released."""
        if self._previous is not None and not self._previous.done():
            await asyncio.wait((self._previous,))

    def release(self) -> None:
        """Let the next one come; a turn that is given up early still waits for those before it."""
        if self._previous is None or self._previous.done():
            self._previous = None
            if not self.released.done():
                self.released.set_result(None)
        else:
            self._previous.add_done_callback(lambda _: self.release())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
