"""Runs the Python handlers of a `LocalServer` as fal's server runs an app's, on an event loop of their own."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import typing
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from . import _core

AppKind = Literal["unary", "server_stream", "client_stream", "bidi"]

_logger = logging.getLogger("fal_realtime.testing")

_ROOM_POLL = 0.002
"""Seconds between two looks whether a slow client has taken enough of a stream's results."""

_STOP_TIMEOUT = 2.0
"""Seconds that stopping waits for each thread; a handler that blocks is left behind."""

_ASYNC = frozenset(("AsyncIterator", "AsyncGenerator"))
_SYNC = frozenset(("Iterator", "Iterable", "Generator"))
"""The annotations that mean a stream."""

_END = object()


@dataclass(frozen=True)
class App:
    """A Python handler and its options, as `LocalServer.app` takes them."""

    handler: Callable[[Any], Any]
    kind: AppKind
    session_timeout: float | None
    buffering: int | None
    emit_timings: bool


def kind_of(handler: Callable[[Any], Any]) -> AppKind:
    """How inputs and results relate, by the handler's annotations: an (async) iterator means a stream, as for fal."""
    signature = inspect.signature(handler)
    parameter = next(iter(signature.parameters.values()), None)
    many_outputs = (
        inspect.isasyncgenfunction(handler)
        or inspect.isgeneratorfunction(handler)
        or _name(signature.return_annotation) in _ASYNC | _SYNC
    )
    if parameter is not None and _name(parameter.annotation) in _ASYNC:
        return "bidi" if many_outputs else "client_stream"
    return "server_stream" if many_outputs else "unary"


def _name(annotation: Any) -> str:
    """`AsyncIterator` of `typing.AsyncIterator[Anything]`, evaluated or not: a test's local names could not be."""
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2].strip()
    return str(getattr(typing.get_origin(annotation) or annotation, "__name__", ""))


class HandlerThread:
    """Takes the jobs of a native server on one thread, and runs their handlers on the event loop of another.

    Both are daemons: a handler that never returns does not keep the process alive.
    """

    def __init__(self, native: _core.LocalServer) -> None:
        self._native = native
        self._apps: list[App] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._inputs: dict[int, asyncio.Queue[Any]] = {}
        self._threads = (
            threading.Thread(target=self._run_loop, name="fal-local-handlers", daemon=True),
            threading.Thread(target=self._take_jobs, name="fal-local-jobs", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def add(self, name: str, app: App) -> None:
        """Serve the app as `name`."""
        self._apps.append(app)
        self._native.add_handler(
            name,
            len(self._apps) - 1,
            app.kind,
            session_timeout=app.session_timeout,
            buffering=app.buffering,
            emit_timings=app.emit_timings,
        )

    def stop(self) -> None:
        """End both threads, the native server being stopped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            for task in self._tasks.values():
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._tasks.values(), return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _take_jobs(self) -> None:
        while (jobs := self._native.take_jobs(timeout=1.0)) is not None:
            if jobs:
                try:
                    self._loop.call_soon_threadsafe(self._dispatch, jobs)
                except RuntimeError:  # the loop is closed: the server stops
                    return

    def _dispatch(self, jobs: list[tuple[int, int, str, bytes | str | None]]) -> None:
        for session, handler, event, payload in jobs:
            app = self._apps[handler]
            inputs = self._inputs.get(session)
            if event == "open":
                inputs = self._inputs[session] = asyncio.Queue()
                self._start(session, self._stream_inputs(session, app, inputs))
            elif event == "closed":
                self._close(session, inputs)
            elif inputs is not None:
                # What no app can take fails where the handler asks for its next input.
                inputs.put_nowait(payload if event == "input" else ValueError(payload))
            elif app.kind == "unary":
                self._start(session, self._unary(session, app, payload))
            else:
                self._start(session, self._server_stream(session, app, payload))

    def _close(self, session: int, inputs: asyncio.Queue[Any] | None) -> None:
        if inputs is not None:
            # The iteration ends, and the handler may finish what it has.
            inputs.put_nowait(_END)
        elif session in self._tasks:
            self._tasks[session].cancel()

    def _start(self, session: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[session] = self._loop.create_task(self._report(session, work))
        task.add_done_callback(lambda done: self._forget(session, done))

    def _forget(self, session: int, done: asyncio.Task[None]) -> None:
        if self._tasks.get(session) is done:
            del self._tasks[session]
            self._inputs.pop(session, None)

    async def _report(self, session: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            _logger.exception("a handler of the local server failed")
            self._native.fail(session, str(error))

    async def _unary(self, session: int, app: App, payload: Any) -> None:
        # The task is done before the next input of the session can come: nothing awaits after `respond`.
        self._native.respond(session, _encode(await _call(app.handler, _core.decode(payload))))

    async def _server_stream(self, session: int, app: App, payload: Any) -> None:
        await self._send_all(session, await _call(app.handler, _core.decode(payload)))

    async def _stream_inputs(self, session: int, app: App, queue: asyncio.Queue[Any]) -> None:
        inputs = _iterate(queue, app.session_timeout)
        result = await _call(app.handler, inputs)
        if app.kind == "bidi":
            await self._send_all(session, result)
        else:
            await self._send(session, result)
            self._native.finish(session)

    async def _send_all(self, session: int, results: Any) -> None:
        if hasattr(results, "__aiter__"):
            try:
                async for result in results:
                    await self._send(session, result)
            finally:
                # The handler cleans up when its client is gone, not when the garbage is collected.
                if hasattr(results, "aclose"):
                    await results.aclose()
        elif hasattr(results, "__iter__"):
            iterator = iter(results)
            while (result := await _in_thread(next, iterator, _END)) is not _END:
                await self._send(session, result)
        else:
            message = f"Expected an async iterator or iterator as output of a stream, got {type(results)}"
            raise TypeError(message)
        self._native.finish(session)

    async def _send(self, session: int, result: Any) -> None:
        if not self._native.respond(session, _encode(result)):
            while not self._native.has_room(session):  # noqa: ASYNC110 - the I/O thread sets no events
                await asyncio.sleep(_ROOM_POLL)
        else:
            # A generator that awaits nothing would otherwise never hear that its client is gone.
            await asyncio.sleep(0)


async def _iterate(queue: asyncio.Queue[Any], timeout: float | None) -> AsyncIterator[Any]:
    """The inputs of a session; ends when the client is gone or no input came for `timeout` seconds."""
    while True:
        try:
            payload = await asyncio.wait_for(queue.get(), timeout)
        except asyncio.TimeoutError:
            return
        if payload is _END:
            return
        if isinstance(payload, Exception):
            raise payload
        yield _core.decode(payload)


def _encode(output: Any) -> bytes:
    if not isinstance(output, dict):
        for method in ("model_dump", "dict"):  # pydantic 2 and 1
            if hasattr(output, method):
                return _core.encode(getattr(output, method)())
        message = f"Expected a dict or pydantic model as output, got {type(output)}"
        raise TypeError(message)
    return _core.encode(output)


async def _call(handler: Callable[[Any], Any], argument: Any) -> Any:
    """Calls an async handler on the loop and any other on a thread, where it may block."""
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        return handler(argument)
    if inspect.iscoroutinefunction(handler):
        return await handler(argument)
    result = await _in_thread(handler, argument)
    return await result if inspect.isawaitable(result) else result


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls on a daemon thread of its own: the executor's threads would be waited for at the process's exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as raised:  # noqa: BLE001 - belongs to whoever awaits it
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=run, name="fal-local-handler", daemon=True).start()
    return await future
