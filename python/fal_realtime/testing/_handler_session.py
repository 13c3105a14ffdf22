"""One session of a Python app of a `LocalServer`, as fal's server and uvicorn under it run one.

What a client sees of an app depends on how asyncio schedules the server's tasks: which inputs of a burst are dropped,
which results overtake others, what becomes of results when a handler fails. So the tasks here are those of the real
server, and wait where its tasks wait: one that reads inputs, one that calls the handler, one that sends results.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from ._handler_app import App
from ._handler_calls import HandlerExit
from ._handler_outgoing import control
from ._handler_streaming import Streaming
from ._handler_unary import Unary
from ._socket import Disconnected, Socket

_logger = logging.getLogger("fal_realtime.testing")


async def serve(socket: Socket, app: App) -> None:
    """Run a session from its beginning to its end."""
    session = Unary(socket, app) if app.kind == "unary" else Streaming(socket, app)
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


async def _serve(socket: Socket, session: Unary | Streaming) -> None:
    try:
        await session.run()
    except Disconnected:
        pass
    except Exception as error:
        _logger.exception("a handler of the local server failed")
        with suppress(Disconnected):
            await socket.send(control({"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": str(error)}))
    else:
        reason = "no inputs, reconnect when needed!"
        with suppress(Disconnected):
            await socket.send(control({"type": "x-fal-error", "error": "TIMEOUT", "reason": reason}))
    await socket.close()
