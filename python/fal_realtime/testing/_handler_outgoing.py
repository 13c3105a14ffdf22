"""The way out of a handler's session: results and control messages, as fal's server sends them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from ._socket import Socket


class Outgoing:
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


def timings(seconds: float) -> str:
    """The message that says how long an input took."""
    # Whatever the format of the results is.
    return json.dumps({"type": "x-fal-message", "action": "timings", "timing": seconds}, separators=(",", ":"))


def control(message: dict[str, str]) -> str:
    """A control message, as JSON."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
