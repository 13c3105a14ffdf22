"""HTTP requests to fal by the standard library: each in a thread of a bounded pool.

The native core speaks HTTP for token requests alone, and no third-party client shall be needed for the few other
requests that a page makes through a proxy; a thread each is what those cost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from fal_realtime._client import RealtimeClient
from fal_realtime._client_options import ClientOptions
from fal_realtime._secrets import Hidden

if TYPE_CHECKING:
    from typing_extensions import Self

_CHUNK_BYTES = 64 * 1024

_Given = TypeVar("_Given")


class Threads:
    """The threads of all requests of a proxy, made when they are needed."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.busy = 0
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], _Given]) -> _Given:
        """Do something that blocks."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.most, "fal-realtime-proxy")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class Dial:
    """How connections are made: through which proxy, and whom they trust."""

    def __init__(self, client: RealtimeClient, trust: ssl.SSLContext) -> None:
        self._options: ClientOptions = client._options  # noqa: SLF001 - our own package
        self._trust = trust
        proxy = self._options.proxy
        if proxy is not None and not _revealed(proxy).startswith("http://"):
            message = "the client's proxy must be one of http:// for this endpoint: the standard library knows no other"
            raise ValueError(message)

    def __call__(self, scheme: str, host: str, timeout: float) -> http.client.HTTPConnection:
        """A connection that opens with its first request."""
        if scheme != "https":
            return http.client.HTTPConnection(host, timeout=timeout)
        proxy = urlsplit(self._proxy(host))
        if not proxy.netloc:
            return http.client.HTTPSConnection(host, timeout=timeout, context=self._trust)
        through = proxy.netloc.rpartition("@")[2]
        connection = http.client.HTTPSConnection(through, timeout=timeout, context=self._trust)
        user = unquote(f"{proxy.username or ''}:{proxy.password or ''}")
        headers = {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user != ":" else {}
        connection.set_tunnel(host, headers=headers)
        return connection

    def _proxy(self, host: str) -> str:
        if self._options.proxy is not None:
            return _revealed(self._options.proxy)
        if not self._options.trust_env or proxy_bypass(host):
            return ""
        return getproxies().get("https", "")


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
        # One for each request: idle ones would have to be looked after.
        self._connection = dial(parts.scheme, parts.netloc, timeout)
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Self:
        self._threads.busy += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.busy -= 1
        # A thread that still waits for the socket finds it shut down.
        if (socket := self._connection.sock) is not None:
            with contextlib.suppress(OSError):
                socket.shutdown(2)  # both ways
        if self._response is not None:
            self._response.close()
        self._connection.close()

    async def begin(self, method: str, headers: Mapping[str, str], body: bytes | None) -> http.client.HTTPResponse:
        """Send the request and give the answer's head.

        Raises:
            OSError: It could not be sent, or was not answered in time.
            http.client.HTTPException: The answer is none.
        """

        def work() -> http.client.HTTPResponse:
            self._connection.request(method, self._address, body=body, headers=dict(headers))
            return self._connection.getresponse()

        self._response = await self._threads.run(work)
        return self._response

    async def read(self) -> bytes:
        """What has come of the body, at least one byte; empty at its end."""
        response = self._response
        if response is None:
            return b""
        return await self._threads.run(lambda: response.read1(_CHUNK_BYTES))
