"""A fal server that does what a test tells it to, connection by connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgpack

from fal_realtime import RealtimeClient, SyncRealtimeClient

from .session import Session, SessionEnded
from .tokens import Answer, Mint, TokenEndpoint
from .waiting import LIMIT, Changes

if TYPE_CHECKING:
    from typing_extensions import Self

Script = Callable[[Session], Any]

KEY = "key-id:key-secret"


class Peer:
    """Serves the n-th connection with the n-th script, all later ones with the last; without any it echoes.

    Every connection runs in a thread of its own, so that a blocked event loop in the test does not block the server.
    What a script asserts fails the test when the peer is left.
    """

    def __init__(self, *scripts: Script, tokens: tuple[Answer, ...] = ()) -> None:
        self._scripts = scripts or (Session.echo,)
        self._changes = Changes()
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self.sessions: list[Session] = []
        """The connections, from the moment of their handshake's request."""
        self.accepted = 0
        """TCP connections."""
        self._endpoint = TokenEndpoint(self._changes, tokens)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self.rest_url = self._endpoint.url
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for session in self.sessions:
            session.interrupt()
        for thread in self._threads:
            thread.join(LIMIT)
        self._endpoint.close()
        if self._failures and kind is None:
            raise self._failures[0]

    # --- what it saw ---

    @property
    def mints(self) -> list[Mint]:
        """The token requests."""
        return self._endpoint.mints

    @property
    def inputs(self) -> list[Any]:
        """The msgpack messages of all connections in order, decoded."""
        return [msgpack.unpackb(message) for session in self.sessions for message in session.messages]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition holds for what was seen."""
        await self._changes.until(condition)

    def wait(self, condition: Callable[[], Any]) -> None:
        """The same, for a test without a loop."""
        self._changes.wait(condition)

    # --- who talks to it ---

    def client(self, **options: Any) -> RealtimeClient:
        """A client of this server."""
        return RealtimeClient(**self._options(options))

    def sync_client(self, **options: Any) -> SyncRealtimeClient:
        """A blocking client of this server."""
        return SyncRealtimeClient(**self._options(options))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"credentials": KEY, "base_url": self.base_url, "rest_url": self.rest_url, **options}

    # --- serving ---

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            self._changes.note(lambda: setattr(self, "accepted", self.accepted + 1))
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        session = Session(sock, 0, self._changes)
        try:
            session.read_request()
            self._changes.note(lambda: self._register(session))
            self._scripts[min(session.number, len(self._scripts)) - 1](session)
        except SessionEnded:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised where the test ends
            self._fail(failure)
        finally:
            session.leave()

    def _fail(self, failure: BaseException) -> None:
        self._changes.note(lambda: self._failures.append(failure))

    def _register(self, session: Session) -> None:
        self.sessions.append(session)
        session.number = len(self.sessions)
