"""The commands that set off faults of a server: the words of each, and what it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fal_realtime import msgpack

if TYPE_CHECKING:
    from fal_realtime.testing import LocalServer, ServerSession


_CLOSE_AFTER = "N|off [CODE|none [REASON]] [counted=received]"


@dataclass(frozen=True)
class Command:
    """One command."""

    usage: str
    """What follows its name; what stands in brackets may be left out."""
    do: Callable[..., object]
    """Takes words, and as keywords what was said as `name=value`; what it gives as a dict is told."""
    least: int = 0
    """Words."""
    most: int = 0
    has_text: bool = False
    """The last of the words is all that is left of the line."""
    named: tuple[str, ...] = ()
    """What may be said as `name=value`."""

    def call(self, rest: str) -> object:
        """Do it, with what followed its name.

        Raises:
            ValueError: The words are not accepted.
        """
        given: dict[str, str] = {}
        if self.named:
            words = [word.partition("=") for word in rest.split()]
            given = {name.replace("-", "_"): value for name, sign, value in words if sign and name in self.named}
            rest = " ".join("".join(word) for word in words if not (word[1] and word[0] in self.named))
        arguments = rest.split(None, self.most - 1) if self.has_text else rest.split()
        if not self.least <= len(arguments) <= self.most:
            message = f"{len(arguments)} words follow it; it takes {self.usage or 'none'}"
            raise ValueError(message)
        return self.do(*arguments, **given)


def commands_for(server: LocalServer) -> dict[str, Command]:
    """Those for a whole server, by name."""
    do, app = _Server(server), ("app",)
    return {
        "drop": Command("[end]", do.drop, most=1),
        "close": Command("CODE [REASON]", do.close, 1, 2, has_text=True),
        "close-after": Command(
            f"{_CLOSE_AFTER} [app=APP]", do.close_after, 1, 3, has_text=True, named=("counted", "app")
        ),
        "send": Command("TEXT", server.send, 1, 1, has_text=True),
        "send-msgpack": Command("JSON", do.send_msgpack, 1, 1, has_text=True),
        "refuse": Command(
            "STATUS|off [retry-after=S] [count=N] [app=APP]", do.refuse, 1, 1, named=("retry-after", "count", "app")
        ),
        "pause": Command("", server.pause),
        "resume": Command("", server.resume),
        "mute": Command("[app=APP]", server.mute, named=app),
        "unmute": Command("[app=APP]", server.unmute, named=app),
        "cold-start": Command("S [once] [app=APP]", do.cold_start, 1, 2, named=app),
        "handshake-delay": Command("S", do.handshake_delay, 1, 1),
        "expire-tokens": Command("", server.expire_tokens),
        "token-failures": Command("N [STATUS|none] [retry-after=S]", do.token_failures, 1, 2, named=("retry-after",)),
        "token-delay": Command("S", do.token_delay, 1, 1),
        "stop-listening": Command("", server.stop_listening),
        "start-listening": Command("", server.start_listening),
        "sessions": Command("[app=APP]", do.sessions, named=app),
        "session": Command("ID COMMAND", do.session, 2, 3, has_text=True),
        "counts": Command("", do.counts),
    }


class _Server:
    """What a server does of words."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    def drop(self, how: str = "reset") -> None:
        self._server.drop_connections(abrupt=_is_abrupt(how))

    def close(self, code: str, reason: str = "") -> None:
        self._server.close_all(int(code), reason)

    def close_after(self, messages: str, code: str = "1000", reason: str = "", **given: Any) -> None:
        self._server.close_after(_number(messages, "off"), _number(code, "none"), reason, **given)

    def refuse(
        self, status: str, *, count: str | None = None, app: str | None = None, retry_after: str = "none"
    ) -> None:
        of_one = None if count is None else int(count)
        self._server.refuse(_number(status, "off"), retry_after=_number(retry_after, "none"), count=of_one, app=app)

    def send_msgpack(self, text: str) -> None:
        self._server.send(_packed(text))

    def handshake_delay(self, seconds: str) -> None:
        self._server.handshake_delay(float(seconds))

    def token_delay(self, seconds: str) -> None:
        self._server.mint_delay(float(seconds))

    def cold_start(self, seconds: str, once: str = "", *, app: str | None = None) -> None:
        if once not in ("", "once"):
            message = f"it is cold-start S or cold-start S once, not {once!r}"
            raise ValueError(message)
        self._server.cold_start(float(seconds), once=bool(once), app=app)

    def token_failures(self, count: str, status: str = "503", *, retry_after: str = "none") -> None:
        self._server.mint_failures(int(count), _number(status, "none"), retry_after=_number(retry_after, "none"))

    def sessions(self, app: str | None = None) -> dict[str, Any]:
        names = ("id", "app", "messages_received", "messages_sent")
        shown = [{name: getattr(session, name) for name in names} for session in self._server.sessions(app)]
        return {"sessions": shown}

    def session(self, number: str, name: str, rest: str = "") -> object:
        found = next((session for session in self._server.sessions() if session.id == int(number)), None)
        if found is None:
            message = f"there is no open session {number}: the command sessions says which there are"
            raise ValueError(message)
        commands = _commands_for_session(found)
        if name not in commands:
            message = f"a session has no command {name!r}, but {usage_of(commands)}"
            raise ValueError(message)
        return commands[name].call(rest)

    def counts(self) -> dict[str, int]:
        names = ("connections", "connections_total", "tokens_minted", "mint_requests", "messages_received")
        return {name: getattr(self._server, name) for name in (*names, "messages_sent", "pings_received")}


class _Session:
    """What one connection does of words."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session

    def drop(self, how: str = "reset") -> None:
        self._session.drop_connection(abrupt=_is_abrupt(how))

    def close(self, code: str, reason: str = "") -> None:
        self._session.close(int(code), reason)

    def close_after(self, messages: str, code: str = "1000", reason: str = "", **given: Any) -> None:
        self._session.close_after(_number(messages, "off"), _number(code, "none"), reason, **given)

    def send_msgpack(self, text: str) -> None:
        self._session.send(_packed(text))


def _commands_for_session(session: ServerSession) -> dict[str, Command]:
    """Those for one connection, by name."""
    do = _Session(session)
    return {
        "drop": Command("[end]", do.drop, most=1),
        "close": Command("CODE [REASON]", do.close, 1, 2, has_text=True),
        "close-after": Command(_CLOSE_AFTER, do.close_after, 1, 3, has_text=True, named=("counted",)),
        "send": Command("TEXT", session.send, 1, 1, has_text=True),
        "send-msgpack": Command("JSON", do.send_msgpack, 1, 1, has_text=True),
        "pause": Command("", session.pause),
        "resume": Command("", session.resume),
        "mute": Command("", session.mute),
        "unmute": Command("", session.unmute),
    }


def usage_of(commands: dict[str, Command]) -> str:
    """All of them in a line."""
    return "; ".join(f"{name} {command.usage}".rstrip() for name, command in commands.items())


def _packed(text: str) -> bytes:
    return bytes(msgpack.encode(json.loads(text)))


def _is_abrupt(how: str) -> bool:
    if how not in ("reset", "end"):
        message = f"it is drop or drop end, not {how!r}"
        raise ValueError(message)
    return how == "reset"


def _number(word: str, none: str) -> int | None:
    return None if word == none else int(word)
