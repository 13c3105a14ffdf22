"""One session of a Python app of a `LocalServer`, as fal's server and uvicorn under it run one.

What a client sees of an app depends on how asyncio schedules the server's tasks: which inputs of a burst are dropped,
which results overtake others, what becomes of results when a handler fails. So the tasks here are those of the real
server, and wait where its tasks wait: one that reads inputs, one that calls the handler, one that sends results.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from ._socket import Disconnected, Socket
from ._threads import in_thread

AppKind = Literal["unary", "server_stream", "client_stream", "bidi"]

_logger = logging.getLogger("fal_realtime.testing")

_END = object()
"""The end of an iterator."""


class HandlerExit(BaseException):
    """A handler wanted to end the process, or cancelled itself: its session ends without a word."""


@dataclass(frozen=True)
class App:
    """A Python handler and its options, as `LocalServer.app` takes them."""

    handler: Callable[..., Any]
    kind: AppKind
    input_type: Callable[..., Any] | None
    session_timeout: float | None
    buffering: int | None
    max_batch_size: int
    emit_timings: bool
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes | str]


class _Outgoing:
    """The results, which a task of its own sends; what it cannot keep goes past those that wait."""

    def __init__(self, socket: Socket, buffering: int | None) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[bytes | str] = asyncio.Queue(maxsize=(buffering or 1) * 2)
        self._task = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            await self._socket.send(await self._queue.get())
            self._queue.task_done()

    @property
    def failed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._task.done()

    async def put(self, message: bytes | str) -> None:
        """Leave a message to the task or, when that has enough, send it now."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            await self._socket.send(message)

    async def finish(self) -> None:
        """Wait until all is sent."""
        await self._queue.join()
        self._task.cancel()
        await self.stop()

    async def stop(self) -> None:
        """Wait for the task's end; raises what ended it."""
        with suppress(asyncio.CancelledError):
            await self._task

    def cancel(self) -> None:
        """Stop without waiting."""
        self._task.cancel()


async def serve(socket: Socket, app: App) -> None:
    """Run a session from its beginning to its end."""
    session = _Unary(socket, app) if app.kind == "unary" else _Streaming(socket, app)
    try:
        await _serve(socket, session)
    except BaseException as error:
        # What the real server cannot put into words, it says nothing about.
        socket.end()
        if not isinstance(error, (Exception, HandlerExit)):
            raise
        _logger.exception("a session of the local server ended without a close frame")
    finally:
        session.release()


async def _serve(socket: Socket, session: _Unary | _Streaming) -> None:
    try:
        await session.run()
    except Disconnected:
        pass
    except Exception as error:
        _logger.exception("a handler of the local server failed")
        with suppress(Disconnected):
            await socket.send(_json({"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": str(error)}))
    else:
        reason = "no inputs, reconnect when needed!"
        with suppress(Disconnected):
            await socket.send(_json({"type": "x-fal-error", "error": "TIMEOUT", "reason": reason}))
    await socket.close()


class _Unary:
    """One result for each input, or for each batch of them."""

    def __init__(self, socket: Socket, app: App) -> None:
        self._socket = socket
        self._app = app
        self._inputs: deque[Any] = deque(maxlen=app.buffering)
        self._ready = asyncio.Event()
        self._outgoing: _Outgoing | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Answer inputs until there are none, or one fails."""
        reading = asyncio.create_task(self._read())
        self._tasks.append(reading)
        reading.add_done_callback(lambda _: self._take(None))
        answering = asyncio.create_task(self._answer())
        self._tasks.append(answering)
        try:
            await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                # No input came in time: what is being processed may be finished, in as much time again.
                await asyncio.wait_for(answering, timeout=self._app.session_timeout)
            else:
                await _cancel(reading)
                answering.result()
        except Disconnected:
            with suppress(Disconnected):
                await _cancel(reading)
            with suppress(Disconnected):
                await _cancel(answering)
            raise

    def release(self) -> None:
        """Stop reading and sending. A handler that still runs, runs to its end."""
        for task in self._tasks:
            # It may have failed when the session had failed already.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._tasks[0].cancel()
        if self._outgoing is not None:
            self._outgoing.cancel()

    def _take(self, value: Any) -> None:
        # A full deque drops the oldest.
        self._inputs.append(value)
        self._ready.set()

    async def _read(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), timeout=self._app.session_timeout)
            except asyncio.TimeoutError:
                return
            self._take(_input(self._app, message))

    async def _answer(self) -> None:
        outgoing = self._outgoing = _Outgoing(self._socket, self._app.buffering)
        while True:
            if not self._inputs:
                await self._ready.wait()
                self._ready.clear()
                continue
            first = self._inputs.popleft()
            if first is None or outgoing.failed:
                # `None` is the end of the inputs, also when a client sent it.
                await (outgoing.stop() if outgoing.failed else outgoing.finish())
                return
            started = asyncio.get_running_loop().time()
            result = await _call(self._app.handler, *self._batch(first))
            took = asyncio.get_running_loop().time() - started
            message = self._app.encode(_output(result))
            for part in (message, _timings(took)) if self._app.emit_timings else (message,):
                await outgoing.put(part)

    def _batch(self, first: Any) -> list[Any]:
        batch = [first]
        while self._inputs and len(batch) < self._app.max_batch_size:
            following = self._inputs.popleft()
            if hasattr(first, "can_batch") and not first.can_batch(following, len(batch)):
                self._inputs.appendleft(following)
                break
            batch.append(following)
        return batch


class _Streaming:
    """A stream of inputs, of results, or of both."""

    def __init__(self, socket: Socket, app: App) -> None:
        self._socket = socket
        self._app = app
        self._outgoing: _Outgoing | None = None
        self._results: Any = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Call the handler once."""
        self._task = asyncio.create_task(self._stream())
        await self._task

    def release(self) -> None:
        """Stop whatever still runs."""
        if self._outgoing is not None:
            self._outgoing.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _stream(self) -> None:
        outgoing = self._outgoing = _Outgoing(self._socket, self._app.buffering)
        stream = {
            "server_stream": self._server_stream,
            "client_stream": self._client_stream,
            "bidi": self._both_ways,
        }[self._app.kind]
        try:
            await stream(outgoing)
        finally:
            # The handler cleans up when its client is gone, not when the garbage is collected.
            if hasattr(self._results, "aclose"):
                await self._results.aclose()
        await outgoing.finish()

    async def _server_stream(self, outgoing: _Outgoing) -> None:
        value = await self._next_input()
        if value is None:
            return
        handler, started = self._app.handler, asyncio.get_running_loop().time()
        if inspect.isasyncgenfunction(handler):
            self._results = handler(value)
        else:
            self._results = await _call(handler, value)
        if hasattr(self._results, "__aiter__"):
            results = self._results
        elif hasattr(self._results, "__iter__"):
            results = _in_threads(self._results)
        else:
            explanation = "Expected an async iterator or iterator output for server-streaming realtime"
            raise TypeError(explanation)
        await self._send_all(outgoing, results)
        if self._app.emit_timings:
            await outgoing.put(_timings(asyncio.get_running_loop().time() - started))

    async def _client_stream(self, outgoing: _Outgoing) -> None:
        if not inspect.iscoroutinefunction(self._app.handler):
            explanation = "Client-streaming realtime endpoints must be async functions"
            raise TypeError(explanation)
        result = await _call(self._app.handler, self._iterate_inputs())
        if hasattr(result, "__aiter__"):
            explanation = "Expected a single output for client-streaming realtime"
            raise TypeError(explanation)
        await outgoing.put(self._app.encode(_output(result)))

    async def _both_ways(self, outgoing: _Outgoing) -> None:
        handler = self._app.handler
        if inspect.isasyncgenfunction(handler):
            self._results = handler(self._iterate_inputs())
        elif inspect.iscoroutinefunction(handler):
            self._results = await _call(handler, self._iterate_inputs())
        else:
            explanation = "Bidirectional realtime endpoints must be async functions"
            raise TypeError(explanation)
        if not hasattr(self._results, "__aiter__"):
            explanation = "Expected an async iterator output for bidirectional realtime"
            raise TypeError(explanation)
        await self._send_all(outgoing, self._results)

    async def _send_all(self, outgoing: _Outgoing, results: AsyncIterator[Any]) -> None:
        iterator = aiter(results)
        while (result := await _guarded(_next_or_end(iterator))) is not _END:
            await outgoing.put(self._app.encode(_output(result)))

    async def _iterate_inputs(self) -> AsyncIterator[Any]:
        while (value := await self._next_input()) is not None:
            yield value

    async def _next_input(self) -> Any:
        """The next input; None when there is none any more, or the client sent it."""
        try:
            message = await asyncio.wait_for(self._socket.receive(), timeout=self._app.session_timeout)
        except (asyncio.TimeoutError, Disconnected):
            return None
        return _input(self._app, message)


def _input(app: App, message: bytes) -> Any:
    value = app.decode(message)
    return app.input_type(**value) if app.input_type is not None else value


def _output(result: Any) -> dict[str, Any]:
    if isinstance(result, dict):
        return cast("dict[str, Any]", result)
    if hasattr(result, "dict"):
        # What `dict()` gives without its warning of deprecation: names of the fields, not aliases.
        dump = result.model_dump if hasattr(result.__class__, "__pydantic_serializer__") else result.dict
        return cast("dict[str, Any]", dump())
    explanation = f"Expected a dict or pydantic model as output, got {type(result)}"
    raise TypeError(explanation)


def _timings(seconds: float) -> str:
    # Whatever the format of the results is.
    return json.dumps({"type": "x-fal-message", "action": "timings", "timing": seconds}, separators=(",", ":"))


def _json(message: dict[str, str]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _next_or_end(iterator: AsyncIterator[Any]) -> Any:
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        return _END


async def _in_threads(results: Any) -> AsyncIterator[Any]:
    """The items of a sync iterator, each taken on a thread."""
    while (item := await in_thread(_next, results)) is not _END:
        yield item


def _next(iterator: Iterator[Any]) -> Any:
    try:
        return next(iterator)
    except StopIteration:
        return _END


async def _call(handler: Callable[..., Any], *arguments: Any) -> Any:
    """Call a coroutine function on the loop and any other on a thread, where it may block."""
    if inspect.iscoroutinefunction(handler):
        return await _guarded(handler(*arguments))
    return await _guarded(in_thread(handler, *arguments))


async def _guarded(awaitable: Awaitable[Any]) -> Any:
    """What is awaited, of somebody's handler: it must not end this thread."""
    try:
        return await awaitable
    except (KeyboardInterrupt, SystemExit) as error:
        raise HandlerExit from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and _cancelling(task):
            raise
        raise HandlerExit from None


def _cancelling(task: asyncio.Task[Any]) -> bool:
    """Whether somebody else cancelled the task; where Python cannot say (before 3.11), so it is taken."""
    return sys.version_info < (3, 11) or task.cancelling() > 0
