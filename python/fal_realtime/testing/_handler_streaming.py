"""A handler's session that is a stream: of inputs, of results, or of both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

from ._handler_app import App
from ._handler_calls import END, call, guarded, in_threads, next_or_end
from ._handler_outgoing import Outgoing, timings
from ._socket import Disconnected, Socket


class Streaming:
    """A stream of inputs, of results, or of both."""

    def __init__(self, socket: Socket, app: App) -> None:
        self._socket = socket
        self._app = app
        self._outgoing: Outgoing | None = None
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
        outgoing = self._outgoing = Outgoing(self._socket, self._app.buffering)
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

    async def _server_stream(self, outgoing: Outgoing) -> None:
        value = await self._next_input()
        if value is None:
            return
        handler, started = self._app.handler, asyncio.get_running_loop().time()
        if inspect.isasyncgenfunction(handler):
            self._results = handler(value)
        else:
            self._results = await call(handler, value)
        if hasattr(self._results, "__aiter__"):
            results = self._results
        elif hasattr(self._results, "__iter__"):
            results = in_threads(self._results)
        else:
            explanation = "Expected an async iterator or iterator output for server-streaming realtime"
            raise TypeError(explanation)
        await self._send_all(outgoing, results)
        if self._app.emit_timings:
            await outgoing.put(timings(asyncio.get_running_loop().time() - started))

    async def _client_stream(self, outgoing: Outgoing) -> None:
        if not inspect.iscoroutinefunction(self._app.handler):
            explanation = "Client-streaming realtime endpoints must be async functions"
            raise TypeError(explanation)
        result = await call(self._app.handler, self._iterate_inputs())
        if hasattr(result, "__aiter__"):
            explanation = "Expected a single output for client-streaming realtime"
            raise TypeError(explanation)
        await outgoing.put(self._app.output(result))

    async def _both_ways(self, outgoing: Outgoing) -> None:
        handler = self._app.handler
        if inspect.isasyncgenfunction(handler):
            self._results = handler(self._iterate_inputs())
        elif inspect.iscoroutinefunction(handler):
            self._results = await call(handler, self._iterate_inputs())
        else:
            explanation = "Bidirectional realtime endpoints must be async functions"
            raise TypeError(explanation)
        if not hasattr(self._results, "__aiter__"):
            explanation = "Expected an async iterator output for bidirectional realtime"
            raise TypeError(explanation)
        await self._send_all(outgoing, self._results)

    async def _send_all(self, outgoing: Outgoing, results: AsyncIterator[Any]) -> None:
        iterator = aiter(results)
        while (result := await guarded(next_or_end(iterator))) is not END:
            await outgoing.put(self._app.output(result))

    async def _iterate_inputs(self) -> AsyncIterator[Any]:
        while (value := await self._next_input()) is not None:
            yield value

    async def _next_input(self) -> Any:
        """The next input; None when there is none any more, or the client sent it."""
        try:
            message = await asyncio.wait_for(self._socket.receive(), timeout=self._app.session_timeout)
        except (asyncio.TimeoutError, Disconnected):
            return None
        return self._app.input(message)
