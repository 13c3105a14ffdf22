"""Plays an app's WebSocket with PyPI `websockets`: what it does is said by the last part of the path."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

if TYPE_CHECKING:
    from typing_extensions import Self

LIMIT = 20.0


class FalSocket:
    """Serves on loopback while it is entered.

    `echo`; `close-CODE` sends three messages and closes; `drop` ends the TCP connection; `flood-N` sends N messages of
    1 MiB; `deaf` reads nothing until `hear` is set, then counts what comes.
    """

    def __init__(self) -> None:
        self.opened: queue.Queue[Any] = queue.Queue()
        """The request of each handshake."""
        self.ended: queue.Queue[tuple[int, str]] = queue.Queue()
        """Code and reason with which each session was closed by its client."""
        self.received: list[Any] = []
        self.flooded = 0
        self.hear = threading.Event()
        self._server = serve(
            self._serve, "127.0.0.1", 0, subprotocols=["two"], select_subprotocol=_second, compression=None, max_queue=1
        )
        self.base_url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def forget(self) -> None:
        """Begin anew."""
        self.opened, self.ended = queue.Queue(), queue.Queue()
        self.received, self.flooded = [], 0
        self.hear.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hear.set()
        self._server.shutdown()
        self._thread.join()

    def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.opened.put(socket.request)
        ended, received = self.ended, self.received
        what, _, argument = socket.request.path.partition("?")[0].rpartition("/")[2].partition("-")
        try:
            if what == "close":
                for number in range(3):
                    socket.send(str(number))
                socket.close(int(argument), "bye")
                return
            if what == "drop":
                socket.send("last words")
                socket.socket.shutdown(2)
                return
            if what == "flood":
                for number in range(int(argument)):
                    socket.send(number.to_bytes(4, "big") * (256 * 1024))
                    self.flooded = number + 1
            if what == "deaf":
                self.hear.wait(LIMIT)
            for message in socket:
                received.append(message)
                if what == "echo":
                    socket.send(message)
            ended.put((socket.close_code or 0, socket.close_reason or ""))
        except ConnectionClosed:
            ended.put((socket.close_code or 0, socket.close_reason or ""))


def _second(_: Any, offered: Any) -> Any:
    return "two" if "two" in offered else None
