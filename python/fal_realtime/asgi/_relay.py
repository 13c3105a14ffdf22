"""The relay: a browser's WebSocket on one side, an app's on the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient
from fal_realtime._handshake import checked_subprotocols
from fal_realtime._raw import RawConnection
from fal_realtime._within import within

from . import _close_codes as codes
from ._admission import Admission
from ._hooks import call, checked_hook
from ._http import Refusal, error_body, respond_json
from ._lifespan import serve_lifespan
from ._opening import make_connection, open_connection
from ._origins import check_websocket_origin, checked_origins
from ._refusing import refuse
from ._relay_types import Counters, RelaySession, RelayStats, SessionHook
from ._session import Session
from ._signals import Termination
from ._types import Receive, Scope, Send

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("fal_realtime")

_CLOSING_SECONDS = 5.0
"""For each of the steps in which a session ends: its last send, what is not written to fal yet, the closing."""

_CLOSING_STEPS = 3
_UNDECIDED = "the server could not decide about this session"
_RESTART = codes.RESTART, "the server is about to stop"


class Relay:
    """An ASGI application that passes the messages of each WebSocket on to an app of fal, and the app's back.

    Messages pass as they are, in their order, in both directions; close codes too. The session with fal opens first,
    so that a browser whose WebSocket is open has an app that listens, and one that cannot have it gets an HTTP status.

    Everything about a session is in this process: any number of workers may stand side by side, and none has to know
    of the others. Mount it at any path; `async with relay` in an application's lifespan drains it at the end.
    """

    def __init__(
        self,
        client: RealtimeClient,
        session: SessionHook,
        *,
        allow_origins: Collection[str] | None = None,
        max_sessions: int = 1000,
        max_sessions_per_client: int | None = 8,
        open_timeout: float = 90,
        idle_timeout: float | None = 300,
        drain_timeout: float = 30,
        drain_on_sigterm: bool = True,
        max_message_size: int = 16 * 1024 * 1024,
    ) -> None:
        """Check the options.

        Args:
            client: Whose key opens the sessions with fal.
            session: Takes the ASGI scope of a WebSocket and gives a `RelaySession`, or None where it may not pass
                (403); sync or async. It may raise a `Refusal`.
            allow_origins: Exact origins (`https://app.example`) of the pages that may open one. Default: pages of the
                host that the WebSocket is opened at. What is no browser names no origin, and may.
            max_sessions: So many at a time; more are refused with 503.
            max_sessions_per_client: So many at a time of the same `RelaySession.client_key`; more are refused with 429.
                None: no limit.
            open_timeout: Seconds for the opening at fal, cold start of the app included; then 504.
            idle_timeout: Seconds without a message in either direction after which a session ends with 1000, or up to
                a quarter later. None: never.
            drain_timeout: Seconds that sessions have to end by themselves once the server is to stop; then they end
                with 1012, which takes some seconds where the other side does not read.
            drain_on_sigterm: From the first session on, drain before the server hears of SIGTERM, where its handler is
                a plain one (uvicorn) or one of asyncio's own loop (hypercorn, granian), in the main thread.
            max_message_size: Bytes of the largest message, in both directions; a larger one ends the session with
                1009. The server has a limit of its own for what browsers send.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type.
        """
        check.instance("client", client, RealtimeClient, "a RealtimeClient")
        checked_hook("session", session)
        check.integer("max_sessions", max_sessions, at_least=1)
        if max_sessions_per_client is not None:
            check.integer("max_sessions_per_client", max_sessions_per_client, at_least=1)
        check.integer("max_message_size", max_message_size, at_least=1)
        check.boolean("drain_on_sigterm", drain_on_sigterm)
        self._client = client
        self._choose = session
        self._origins = None if allow_origins is None else checked_origins("allow_origins", allow_origins)
        self._open_timeout = check.positive("open_timeout", open_timeout)
        self._idle_timeout = None if idle_timeout is None else check.positive("idle_timeout", idle_timeout)
        self._drain_timeout = check.not_negative("drain_timeout", drain_timeout)
        self._max_message_size = max_message_size
        self._admission = Admission(max_sessions, max_sessions_per_client)
        self._counters = Counters()
        self._running: set[Session] = set()
        self._ending = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._termination = Termination(self.drain) if drain_on_sigterm else None

    def stats(self) -> RelayStats:
        """What was counted so far."""
        return self._counters.shown(self._admission.count, draining=self._admission.draining)

    async def drain(self, timeout: float | None = None) -> None:
        """Admit no more sessions, wait until those under way have ended, and end what is left with 1012.

        A server whose only application it is calls it at the end (lifespan), and `async with relay` does. Servers
        close all WebSockets before that: so SIGTERM is held back until it is done (`drain_on_sigterm`).

        Args:
            timeout: Seconds. Default: `drain_timeout`.
        """
        self._admission.draining = True
        seconds = self._drain_timeout if timeout is None else check.not_negative("timeout", timeout)
        with contextlib.suppress(asyncio.TimeoutError):
            await within(seconds, self._empty.wait())
        self._ending = True
        for session in list(self._running):
            session.end(*_RESTART)
        with contextlib.suppress(asyncio.TimeoutError):
            await within(_CLOSING_STEPS * _CLOSING_SECONDS, self._empty.wait())

    async def __aenter__(self) -> Self:
        """Give the relay itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain it."""
        await self.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a WebSocket, or the lifespan of a server whose only application this is."""
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send, self.drain)
        elif scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        else:
            refusal = Refusal(426, "this address takes WebSockets")
            await respond_json(send, 426, error_body(refusal), [(b"upgrade", b"websocket")])

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._termination is not None:
            self._termination.take()
        await receive()  # "websocket.connect"
        try:
            with self._admission.place():
                self._empty.clear()
                try:
                    await self._admitted(scope, receive, send)
                finally:
                    # This one is still counted.
                    if self._admission.count == 1:
                        self._empty.set()
        except Refusal as refusal:
            self._counters.refused += 1
            await refuse(scope, send, refusal)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_websocket_origin(scope, self._origins)
        chosen = await self._chosen(scope)
        with self._admission.of_client(chosen.client_key):
            connection = self._connection(chosen, scope)
            first = asyncio.ensure_future(receive())
            try:
                if await _opened(connection, first):
                    await send({"type": "websocket.accept", "subprotocol": connection.subprotocol})
                    self._counters.sessions_total += 1
                    await self._pass_on(connection, first, receive, send)
            finally:
                first.cancel()
                connection.close()

    async def _chosen(self, scope: Scope) -> RelaySession:
        try:
            chosen = await call(self._choose, scope)
            if chosen is not None:
                check.instance("what the session hook gives", chosen, RelaySession, "a RelaySession or None")
        except Refusal:
            raise
        except Exception:
            log.exception("%s: the session hook failed", type(self).__name__)
            raise Refusal(500, _UNDECIDED) from None
        if chosen is None:
            message = "this session is not allowed"
            raise Refusal(403, message)
        session: RelaySession = chosen
        return session

    def _connection(self, chosen: RelaySession, scope: Scope) -> RawConnection:
        try:
            subprotocols = checked_subprotocols(scope.get("subprotocols") or ())
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        try:
            return make_connection(
                self._client,
                chosen,
                subprotocols=subprotocols,
                open_timeout=self._open_timeout,
                max_message_size=self._max_message_size,
            )
        except Exception:
            log.exception("%s: no session can be opened with what the session hook gave", type(self).__name__)
            raise Refusal(500, _UNDECIDED) from None

    async def _pass_on(
        self, connection: RawConnection, first: asyncio.Future[Any], receive: Receive, send: Send
    ) -> None:
        session = Session(
            connection,
            receive,
            send,
            self._counters,
            idle_timeout=self._idle_timeout,
            close_timeout=_CLOSING_SECONDS,
        )
        self._running.add(session)
        if self._ending:  # it was still opening when all others were told
            session.end(*_RESTART)
        try:
            end = await session.run(first)
        finally:
            self._running.discard(session)
        log.debug("relay: a session with %s was ended by the %s with %d", connection.app, end.by, end.code)


async def _opened(connection: RawConnection, leaving: asyncio.Future[Any]) -> bool:
    """Open it, unless the browser leaves before.

    Raises:
        Refusal: It could not be opened.
    """
    opening = asyncio.ensure_future(open_connection(connection))
    try:
        await asyncio.wait([opening, leaving], return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            return True
        return False
    finally:
        opening.cancel()
