"""What a `LocalServer` saw: counters, and the requests themselves."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from fal_realtime import _checks as check

from ._base import ServerBase

_SECRET_HEADERS = {"cookie", "set-cookie", "authorization", "proxy-authorization", "x-api-key", "x-auth-token"}
"""Headers of handshakes that are not told."""

Credential = Literal["token", "key", "none"]

HandshakeRecord = tuple[str, list[tuple[str, str]], list[tuple[str, str]], Credential, int]


@dataclass(frozen=True)
class Handshake:
    """A WebSocket handshake that a `LocalServer` saw."""

    path: str
    """The path, such as `/local/echo/realtime`."""
    query: dict[str, str]
    """The query's parameters, without the token."""
    headers: dict[str, str]
    """The headers, names in lower case, without those that hold secrets."""
    credential: Credential
    """What the client showed, valid or not."""
    status: int
    """The status that was answered; 101 also for a refusal in band."""


@dataclass(frozen=True)
class MintRequest:
    """A token request that a `LocalServer` saw."""

    path: str
    """The path, such as `/tokens/`."""
    body: Any
    """The body: decoded, or as text if it is not JSON."""
    target_url: str | None
    """The header `x-fal-target-url` of a client that uses the server as its proxy, without a login and a query."""
    status: int
    """The status that was answered; 0 when the connection was closed unanswered."""


def handshake(record: HandshakeRecord) -> Handshake:
    """A handshake as the native server recorded it."""
    path, query, headers, credential, status = record
    told = {name: value for name, value in headers if name.lower() not in _SECRET_HEADERS}
    return Handshake(path, dict(query), told, credential, status)


def _without_secrets(url: str | None) -> str | None:
    """An address without its login and its query; empty if it is none."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class Records(ServerBase):
    """The part of a `LocalServer` that tells what it saw."""

    @property
    def connections(self) -> int:
        """How many WebSocket connections are open."""
        return self._server.connections

    @property
    def connections_total(self) -> int:
        """How many WebSocket connections were opened so far."""
        return self._server.connections_total

    @property
    def tokens_minted(self) -> int:
        """How many tokens were given out."""
        return self._server.tokens_minted

    @property
    def mint_requests(self) -> int:
        """How many token requests came, answered or not."""
        return self._server.mint_requests

    @property
    def messages_received(self) -> int:
        """How many messages came, without pings and other control frames."""
        return self._server.messages_received

    @property
    def messages_sent(self) -> int:
        """How many messages were sent, without pongs and other control frames."""
        return self._server.messages_sent

    @property
    def pings_received(self) -> int:
        """How many pings came."""
        return self._server.pings_received

    @property
    def requests(self) -> list[Handshake]:
        """The handshakes in the order in which they were answered; the newest 10,000."""
        return [handshake(record) for record in self._server.handshakes()]

    @property
    def mints(self) -> list[MintRequest]:
        """The token requests in the order in which they were answered; the newest 10,000."""
        return [
            MintRequest(path, _json_or_text(body), _without_secrets(target_url), status)
            for path, body, target_url, status in self._server.mints()
        ]

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> None:
        """Block until exactly `count` WebSocket connections are open. In a coroutine use `connections_reach`.

        Raises:
            TimeoutError: That was not so within `timeout` seconds.
            ValueError: `count` is negative.
            TypeError: It is no int.
        """
        check.integer("count", count, at_least=0, at_most=sys.maxsize)
        if not self._server.wait_for_connections(count, timeout):
            message = f"{self.connections} connections are open after {timeout} s, not {count}"
            raise TimeoutError(message)

    async def connections_reach(self, count: int, timeout: float = 5.0) -> None:
        """Wait until exactly `count` WebSocket connections are open, without blocking the loop.

        Raises:
            TimeoutError: That was not so within `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.wait_for_connections, count, timeout)


def _json_or_text(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
