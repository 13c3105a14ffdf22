"""The faults of a `LocalServer`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal

from fal_realtime import _checks as check

from . import _arguments as arguments
from ._base import ServerBase


class Faults(ServerBase):
    """The part of a `LocalServer` that goes wrong on demand."""

    def drop_connections(self, *, abrupt: bool = True) -> None:
        """Close every connection without a close frame: reset it (TCP RST) if `abrupt`, else just end it."""
        self._server.drop_connections(abrupt)

    def close_all(self, code: int = 1000, reason: str = "") -> None:
        """Send every connection a close frame."""
        arguments.close_code(code)
        self._server.close_all(code, reason)

    def send(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send every connection a message as it is: bytes as a binary one, a str as a text one."""
        content = arguments.message("data", data)
        if isinstance(content, str):
            self._server.send_text(content)
        else:
            self._server.send_binary(content)

    def refuse(
        self,
        status: int | None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        retry_after: int | None = None,
        count: int | None = None,
        app: str | None = None,
    ) -> None:
        """Refuse handshakes with this HTTP status from now on.

        ```python
        server.refuse(429, retry_after=2, count=1)  # one opening has to wait
        ```

        What is set for one app comes before what is set for all, and goes when something is set for all.

        Args:
            status: From 300 to 599; None refuses no more.
            headers: More headers of the answer.
            body: The answer's body, in place of fal's JSON with a `detail`. What it is, `headers` says.
            retry_after: Seconds, for the header `Retry-After` (RFC 9110, section 10.2.3); a date goes into `headers`.
            count: So many handshakes only; None: all.
            app: Those of this app only, by the name that it is served as.

        Raises:
            ValueError: An argument has a value that is not accepted, or no such app is served.
            TypeError: An argument is of the wrong type.
        """
        arguments.status(status)
        if count is not None:
            check.integer("count", count, at_least=0, at_most=sys.maxsize)
        self._server.refuse(status, *arguments.answer(headers, body, retry_after), count, app)

    def mute(self, app: str | None = None) -> None:
        """Stay silent: in open sessions and in those to come, what apps say is held back, their closing included.

        Handshakes and pings are answered as always, and inputs are read (see `pause` for the opposite). Functions that
        serve as apps get them, and go on until 64 KiB of a session's results wait; built-in apps keep them for later.
        `send` and the closing controls are no apps: what they say goes out.

        Args:
            app: This app only, by the name that it is served as; None: all of them.

        Raises:
            ValueError: No such app is served.
        """
        self._server.set_silent(True, app)

    def unmute(self, app: str | None = None) -> None:
        """End the silence, also that of single sessions. What was held back goes out."""
        self._server.set_silent(False, app)

    def cold_start(self, seconds: float, *, once: bool = False, app: str | None = None) -> None:
        """Let apps be cold: a session that begins from now on is accepted, and its app begins so much later.

        Inputs wait for it, pings are answered meanwhile, and a `session_timeout` counts from its beginning. To let the
        handshake wait instead, use `handshake_delay`.

        Args:
            seconds: From the opening of the session; 0 ends the cold starts of sessions to come.
            once: The first session warms the app for all of them: later ones wait for what is left of the time. Calling
                this again cools it down. Without it each session has a cold start of its own.
            app: This app only, by the name that it is served as; None: all of them, each with its own time.

        Raises:
            ValueError: `seconds` is no number from 0 on, or no such app is served.
        """
        check.boolean("once", once)
        self._server.cold_start(seconds, once, app)

    def close_after(
        self,
        messages: int | None,
        code: int | None = 1000,
        reason: str = "",
        *,
        counted: Literal["sent", "received"] = "sent",
        app: str | None = None,
    ) -> None:
        """Close each session that begins from now on when so many messages have passed.

        ```python
        server.close_after(3, 1011)  # three results, then an internal error
        ```

        Args:
            messages: How many, control frames not counted; 0 closes a session as it opens, None closes no more of them.
            code: The close code; None ends the connection without a close frame.
            reason: The close reason; at most 123 bytes of it are sent.
            counted: `"sent"` counts the server's messages, the last of which goes out before the close frame;
                `"received"` the client's, the last of which is not answered.
            app: This app only, by the name that it is served as.

        Raises:
            ValueError: An argument has a value that is not accepted, or no such app is served.
            TypeError: An argument is of the wrong type.
        """
        arguments.close_after(messages, code, reason, counted)
        self._server.close_after(messages, code, reason, counted, app)

    def pause(self) -> None:
        """Stall: nothing is read, so that inputs, pings, handshakes and token requests go unanswered."""
        self._server.set_paused(True)

    def resume(self) -> None:
        """End the stall. What clients sent meanwhile is processed."""
        self._server.set_paused(False)

    def expire_tokens(self) -> None:
        """Make every token given out so far invalid, for handshakes to come."""
        self._server.expire_tokens()

    def mint_failures(
        self,
        count: int,
        status: int | None = 503,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Fail the next `count` token requests with this HTTP status; None closes their connections unanswered.

        `headers`, `body` and `retry_after` are those of `refuse`.
        """
        check.integer("count", count, at_least=0, at_most=sys.maxsize)
        arguments.status(status)
        self._server.mint_failures(count, status, *arguments.answer(headers, body, retry_after))

    def mint_delay(self, seconds: float) -> None:
        """Answer token requests so much later; 0 ends the delay."""
        self._server.mint_delay(seconds)

    def handshake_delay(self, seconds: float) -> None:
        """Answer handshakes so much later, as at a cold start; 0 ends the delay."""
        self._server.handshake_delay(seconds)

    def stop_listening(self) -> None:
        """Close the listening socket: the system refuses new connections. Open ones stay."""
        self._server.stop_listening()

    def start_listening(self) -> None:
        """Listen again on the same port.

        Raises:
            OSError: Someone else has taken the port.
        """
        self._server.start_listening()
