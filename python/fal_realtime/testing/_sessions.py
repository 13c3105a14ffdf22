"""The open connections of a `LocalServer`, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from . import _arguments as arguments
from ._base import ServerBase
from ._records import Handshake, handshake

if TYPE_CHECKING:
    from fal_realtime import _core


class ServerSession:
    """One connection of a client to a `LocalServer`, as the server has it: `LocalServer.sessions` gives the open ones.

    What it is told is set off without waiting for the client. Once the connection is over, `send` raises and the other
    controls do nothing. Two of them are equal if they are of the same connection.
    """

    __slots__ = ("_native", "_server")

    def __init__(self, server: _core.LocalServer, native: _core.LocalSession) -> None:
        self._server = server
        self._native = native

    def __repr__(self) -> str:
        """The app and the number."""
        state = "" if self.is_open else ", over"
        return f"<{type(self).__name__} {self.id} of {self.app}{state}>"

    def __eq__(self, other: object) -> bool:
        """Whether they are of the same connection."""
        if not isinstance(other, ServerSession):
            return NotImplemented
        return self._server is other._server and self.id == other.id

    def __hash__(self) -> int:
        """As it is compared."""
        return hash((id(self._server), self.id))

    @property
    def id(self) -> int:
        """Its number on its server; greater than those of the connections before it."""
        return self._native.id

    @property
    def app(self) -> str:
        """The name of the app, as it is served: `local/echo`."""
        return self._native.app

    @property
    def handshake(self) -> Handshake:
        """The handshake that opened it: the path, the query and the headers of its client."""
        return handshake(self._native.handshake())

    @property
    def is_open(self) -> bool:
        """Whether the connection is open; until the client has answered a close frame it is."""
        return self._native.is_open

    @property
    def messages_received(self) -> int:
        """How many messages came, without pings and other control frames."""
        return self._native.messages_received

    @property
    def messages_sent(self) -> int:
        """How many messages were sent, without pongs and other control frames."""
        return self._native.messages_sent

    def send(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send a message as it is: bytes as a binary one, a str as a text one.

        Raises:
            RuntimeError: The connection is over.
            TypeError: `data` is neither.
        """
        content = arguments.message("data", data)
        if not self.is_open:
            message = f"session {self.id} of {self.app} is over"
            raise RuntimeError(message)
        if isinstance(content, str):
            self._native.send_text(content)
        else:
            self._native.send_binary(content)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; of the reason at most 123 bytes.

        Raises:
            ValueError: The code may not be sent (RFC 6455, section 7.4).
            TypeError: An argument is of the wrong type.
        """
        arguments.close_code(code)
        self._native.close(code, reason)

    def close_after(
        self,
        messages: int | None,
        code: int | None = 1000,
        reason: str = "",
        *,
        counted: Literal["sent", "received"] = "sent",
    ) -> None:
        """Close it when so many messages have passed since it was opened; at once, if they have. None: not any more.

        The arguments are those of `LocalServer.close_after`.

        Raises:
            ValueError: An argument has a value that is not accepted.
            TypeError: An argument is of the wrong type.
        """
        arguments.close_after(messages, code, reason, counted)
        self._native.close_after(messages, code, reason, counted)

    def drop_connection(self, *, abrupt: bool = True) -> None:
        """Close it without a close frame: reset it (TCP RST) if `abrupt`, else just end it."""
        self._native.drop_connection(abrupt)

    def pause(self) -> None:
        """Stall: nothing is read, so that inputs and pings go unanswered."""
        self._native.set_paused(True)

    def resume(self) -> None:
        """End this stall; that of the whole server, if it is paused too, lasts. What the client sent is processed."""
        self._native.set_paused(False)

    def mute(self) -> None:
        """Stay silent: what the app says is held back, while inputs and pings are taken. See `LocalServer.mute`."""
        self._native.set_silent(True)

    def unmute(self) -> None:
        """End the silence, whoever began it. What was held back goes out."""
        self._native.set_silent(False)


class Sessions(ServerBase):
    """The part of a `LocalServer` that gives its connections one by one."""

    def sessions(self, app: str | None = None) -> list[ServerSession]:
        """The open connections, in the order in which they were opened; those refused in band are not among them.

        A connection is there before its client knows that it is open.

        ```python
        async with server.client().connect("local/echo") as first, server.client().connect("local/echo") as second:
            session, _ = server.sessions("local/echo")
            session.close(1012)  # the first one alone; the second one notices nothing
        ```

        Args:
            app: Those of this app only, by the name that it is served as.

        Raises:
            ValueError: No such app is served.
        """
        return [ServerSession(self._server, native) for native in self._server.sessions(app)]
