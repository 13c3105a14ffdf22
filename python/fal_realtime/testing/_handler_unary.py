"""A handler's session that gives one result for each input."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from ._handler_app import App
from ._handler_calls import call
from ._handler_outgoing import Outgoing, timings
from ._socket import Disconnected, Socket


class Unary:
    """One result for each input, or for each batch of them."""

    def __init__(self, socket: Socket, app: App) -> None:
        self._socket = socket
        self._app = app
        self._inputs: deque[Any] = deque(maxlen=app.buffering)
        self._ready = asyncio.Event()
        self._outgoing: Outgoing | None = None
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
            self._take(self._app.input(message))

    async def _answer(self) -> None:
        outgoing = self._outgoing = Outgoing(self._socket, self._app.buffering)
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
            result = await call(self._app.handler, *self._batch(first))
            took = asyncio.get_running_loop().time() - started
            message = self._app.output(result)
            for part in (message, timings(took)) if self._app.emit_timings else (message,):
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


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
