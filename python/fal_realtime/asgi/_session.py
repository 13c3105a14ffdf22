"""One browser's WebSocket and its connection with fal, from the acceptance to the end of both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

from fal_realtime._exceptions import ConnectionClosedError, FalRealtimeError, MessageTooLargeError
from fal_realtime._raw import RawConnection
from fal_realtime._within import within

from . import _close_codes as codes
from ._relay_types import Counters
from ._types import Receive, Send

_UNWRITTEN_BYTES = 256 * 1024
"""What may wait on the way to fal before the browser is no longer read, besides the message that goes over it."""

_QUARTERS = 4


@dataclass
class End:
    """Why a session ends."""

    by: Literal["browser", "app", "relay"]
    code: int
    reason: str = ""


class Session:
    """Passes messages on in both directions, one at a time in each.

    The next one is not asked for before the last one is taken: the browser is not read while fal's side is full, nor
    fal's side (beyond what a connection reads ahead) while the browser's is.
    """

    def __init__(
        self,
        connection: RawConnection,
        receive: Receive,
        send: Send,
        counters: Counters,
        *,
        idle_timeout: float | None,
        close_timeout: float,
    ) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self._counters = counters
        self._idle_timeout = idle_timeout
        self._close_timeout = close_timeout
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[End] = self._loop.create_future()
        self._messages = 0
        self._idle_timer: asyncio.TimerHandle | None = None

    def end(self, code: int, reason: str) -> None:
        """Let the session end, from the loop's thread."""
        self._finish(End("relay", code, reason))

    async def run(self, first: asyncio.Future[Any]) -> End:
        """Pass on until one side has ended, then end the other; `first` is what the browser's side says first."""
        tasks = [asyncio.ensure_future(self._to_app(first)), asyncio.ensure_future(self._to_browser())]
        for task in tasks:
            task.add_done_callback(self._check)
        self._watch_idling(0, 0)
        try:
            end = await self._end
        finally:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            for task in tasks:
                task.cancel()
            # The browser's side is asked and told by one at a time.
            await asyncio.wait(tasks, timeout=self._close_timeout)
        await self._close(end)
        return end

    async def _to_app(self, first: asyncio.Future[Any]) -> None:
        connection, counters = self._connection, self._counters
        unwritten = 0
        event = await first
        while event["type"] == "websocket.receive":
            message = event.get("bytes")
            if message is None:
                message = event["text"]
            try:
                await connection.send(message)
                unwritten += len(message)
                if unwritten > _UNWRITTEN_BYTES:
                    await connection.drain()
                    unwritten = 0
            except MessageTooLargeError as error:
                self._finish(End("relay", codes.TOO_BIG, str(error)))
                return
            except ConnectionClosedError:
                return  # the other direction has all that came before, and then the code
            self._messages += 1
            counters.to_app += 1
            counters.bytes_to_app += len(message)
            event = await self._receive()
        self._finish(End("browser", event.get("code") or codes.NO_CODE, event.get("reason") or ""))

    async def _to_browser(self) -> None:
        recv, send, counters = self._connection.recv, self._send, self._counters
        while True:
            try:
                message = await recv()
            except MessageTooLargeError as error:
                self._finish(End("app", codes.TOO_BIG, str(error)))
                return
            except ConnectionClosedError as error:
                # Of a normal end the error has no reason.
                reason = error.reason or self._connection.close_reason or ""
                self._finish(End("app", error.code, reason))
                return
            except FalRealtimeError as error:
                self._finish(End("app", codes.ABNORMAL, str(error)))
                return
            kind = "text" if isinstance(message, str) else "bytes"
            try:
                await send({"type": "websocket.send", kind: message})
            except OSError:  # ASGI 2.4: the client has left
                self._finish(End("browser", codes.ABNORMAL))
                return
            self._messages += 1
            counters.to_browser += 1
            counters.bytes_to_browser += len(message)

    def _finish(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A fault of a server, or our own, ends the session and is raised by `run`."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._end.done():
            self._end.set_exception(error)

    def _watch_idling(self, messages: int, quarters: int) -> None:
        """Look four times in `idle_timeout` whether anything has passed: a timer a message would cost more."""
        if self._idle_timeout is None:
            return
        quarters = quarters + 1 if messages == self._messages else 0
        if quarters > _QUARTERS:
            self.end(codes.NORMAL, "idle")
            return
        delay = self._idle_timeout / _QUARTERS
        self._idle_timer = self._loop.call_later(delay, self._watch_idling, self._messages, quarters)

    async def _close(self, end: End) -> None:
        """End both sides at the same time: a browser that does not read holds no session with fal open."""
        await asyncio.gather(self._close_browser(end), self._close_app(end))

    async def _close_browser(self, end: End) -> None:
        if end.by == "browser":
            return
        event = {
            "type": "websocket.close",
            "code": codes.to_browser(end.code),
            "reason": codes.reason(end.reason),
        }
        # A server may wait until all that was sent before it is read.
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await within(self._close_timeout, self._tell(event))

    async def _tell(self, event: MutableMapping[str, Any]) -> None:
        await self._send(event)

    async def _close_app(self, end: End) -> None:
        if end.by != "app":
            # What the browser sent before it left has been accepted: as without a relay, it arrives.
            with contextlib.suppress(FalRealtimeError, asyncio.TimeoutError):
                await within(self._close_timeout, self._connection.drain())
            self._connection.close(codes.to_app(end.code), codes.reason(end.reason))
        # It closes by itself even if nobody waits any longer.
        with contextlib.suppress(asyncio.TimeoutError):
            await within(self._close_timeout, self._connection.aclose())
