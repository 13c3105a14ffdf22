"""HTTP requests to fal by the standard library: each in a thread of a bounded pool.

The native core speaks HTTP for token requests alone, and no third-party client shall be needed for the few other
requests that a page makes through a proxy; a thread each is what those cost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient
from fal_realtime._client_options import ClientOptions
from fal_realtime._secrets import Hidden

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 20.0
"""For each step of the opening, which nothing else can end: TCP, a proxy's answer, TLS."""

_Given = TypeVar("_Given")


class Threads:
    """The threads of all requests of a proxy, made when they are needed."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.busy = 0
        """Requests that have a thread, also those that have ended while it is not back yet."""
        self._changes = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def count(self, change: int) -> None:
        """Change `busy`, from any thread."""
        with self._changes:
            self.busy += change

    def start(self, work: Callable[[], _Given]) -> Future[_Given]:
        """Do something that blocks."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.most, "fal-realtime-proxy")
        return self._pool.submit(work)


class Dial:
    """How connections are made: through which proxy, and whom they trust."""

    def __init__(self, client: RealtimeClient, trust: ssl.SSLContext) -> None:
        self._options: ClientOptions = client._options  # noqa: SLF001 - our own package
        self._trust = trust
        proxy = self._options.proxy
        if proxy is not None and not _revealed(proxy).startswith("http://"):
            message = "the client's proxy must be one of http:// for this endpoint: the standard library knows no other"
            raise ValueError(message)
        if proxy is not None:
            check.proxy("the client's proxy", _revealed(proxy))

    def __call__(self, scheme: str, host: str, timeout: float) -> http.client.HTTPConnection:
        """A connection that opens with its first request.

        Raises:
            ValueError: The environment names a proxy by what is no address of one.
        """
        if scheme != "https":
            return http.client.HTTPConnection(host, timeout=timeout)
        proxy = self._proxy(host)
        if proxy is None:
            return http.client.HTTPSConnection(host, timeout=timeout, context=self._trust)
        through = proxy.netloc.rpartition("@")[2]
        connection = http.client.HTTPSConnection(through, timeout=timeout, context=self._trust)
        user = unquote(f"{proxy.username or ''}:{proxy.password or ''}")
        headers = {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user != ":" else {}
        connection.set_tunnel(host, headers=headers)
        return connection

    def _proxy(self, host: str) -> SplitResult | None:
        if self._options.proxy is not None:
            return check.proxy("the client's proxy", _revealed(self._options.proxy))
        if not self._options.trust_env or proxy_bypass(host):
            return None
        address = getproxies().get("https")
        return check.proxy("https_proxy", address) if address else None


def _revealed(secret: str | Hidden) -> str:
    return secret.reveal() if isinstance(secret, Hidden) else secret


class Exchange:
    """One request and its answer. Leaving the `with` ends it, wherever it is.

    At most one of its methods runs at a time.
    """

    def __init__(self, threads: Threads, url: str, timeout: float, dial: Dial) -> None:
        self._threads = threads
        parts = urlsplit(url)
        self._address = parts.path + (f"?{parts.query}" if parts.query else "")
        self._timeout = timeout
        self.seconds = min(timeout, _CONNECT_SECONDS)
        """What is waited for now may take so long."""
        # One for each request: idle ones would have to be looked after.
        self._connection = dial(parts.scheme, parts.netloc, self.seconds)
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._working: Future[Any] | None = None
        self._has_ended = False

    def __enter__(self) -> Self:
        self._threads.count(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._has_ended = True
        # A thread that still waits for the socket finds it shut down.
        if (used := self._socket or self._connection.sock) is not None:
            with contextlib.suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)
        if self._working is None:
            self._close()
        else:
            self._working.add_done_callback(self._close)

    def _close(self, _: object = None) -> None:
        """Close, once the thread is back: only then another request may have its place."""
        try:
            if self._response is not None:
                self._response.close()
            self._connection.close()
        finally:
            self._threads.count(-1)

    async def begin(self, method: str, headers: Mapping[str, str], body: bytes | None) -> http.client.HTTPResponse:
        """Send the request and give the answer's head.

        Raises:
            OSError: It could not be sent, or was not answered in time.
            http.client.HTTPException: The answer is none.
        """
        connection = self._connection

        def work() -> http.client.HTTPResponse:
            connection.connect()
            self._socket = connection.sock  # which the connection forgets where the answer is its last
            if self._has_ended:
                message = "the request has ended before it was sent"
                raise ConnectionAbortedError(message)
            self.seconds = self._timeout
            connection.sock.settimeout(self._timeout)
            connection.request(method, self._address, body=body, headers=dict(headers))
            self._response = connection.getresponse()
            return self._response

        return await self._run(work)

    async def read(self) -> bytes:
        """What has come of the body, at least one byte; empty at its end."""
        response = self._response
        if response is None:
            return b""
        return await self._run(lambda: response.read1(_CHUNK_BYTES))

    async def _run(self, work: Callable[[], _Given]) -> _Given:
        working = self._working = self._threads.start(work)
        return await asyncio.wrap_future(working)
