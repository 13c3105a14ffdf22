"""The first steps to a server, one by one: its name, TCP, TLS."""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 - which looking up the first name would load, and count
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

from . import _background
from ._diagnosis import Stage
from ._proxy import proxy_for

_TIMEOUT = 10.0
"""Seconds for each."""

_PORTS = {"ws": 80, "wss": 443}


async def network_stages(url: str, ca: str | None, *, trust_env: bool) -> AsyncIterator[Stage]:
    """Go step by step to the server at an address; to its proxy, where there is one, which does the rest."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    through = ""
    if (proxy := proxy_for(parts, port) if trust_env else None) is not None:
        through = "the proxy "
        host, port = proxy
    began = time.perf_counter()
    try:
        found = await asyncio.wait_for(
            _background.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)), _TIMEOUT
        )
    except (OSError, UnicodeError, asyncio.TimeoutError) as error:
        yield Stage("name lookup", time.perf_counter() - began, through + host, _told(error, host))
        return
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    yield Stage("name lookup", time.perf_counter() - began, f"{through}{host}: {found[0][4][0]}{more}")
    began = time.perf_counter()
    connected: socket.socket | None = None
    why: Exception | None = None
    for family, kind, protocol, _, address in found:
        connected = socket.socket(family, kind, protocol)
        connected.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connected, address), _TIMEOUT)
            break
        except (OSError, asyncio.TimeoutError) as raised:
            why = _told(raised, host)
            connected.close()
            connected = None
    if connected is None:
        yield Stage("TCP", time.perf_counter() - began, f"{through}{host}:{port}", why)
        return
    with connected:
        yield Stage("TCP", time.perf_counter() - began, f"{through}{connected.getpeername()[0]}:{port}")
        if proxy is None and parts.scheme == "wss":
            yield await _tls(connected, host, ca)


async def _tls(connected: socket.socket, host: str, ca: str | None) -> Stage:
    context = ssl.create_default_context(cafile=ca)
    began = time.perf_counter()
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(sock=connected, ssl=context, server_hostname=host), _TIMEOUT
        )
    except (OSError, asyncio.TimeoutError) as error:
        return Stage("TLS", time.perf_counter() - began, host, _told(error, host))
    seconds = time.perf_counter() - began
    agreed: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    with suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1)
    return Stage("TLS", seconds, agreed.version() or "")


def _told(error: Exception, host: str) -> Exception:
    """The error with the name that it is about, which those of the system do not say."""
    if isinstance(error, asyncio.TimeoutError):
        return TimeoutError(f"{host} did not answer within {_TIMEOUT:g} s")
    if isinstance(error, socket.gaierror):
        return OSError(f"{host}: {error.strerror}")
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return OSError(error.errno, os.strerror(error.errno))
    return error
