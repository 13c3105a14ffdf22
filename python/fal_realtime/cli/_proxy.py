"""The proxy of the environment that stands before a WebSocket, found as the native half finds it."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult

from fal_realtime import _checks as check

from ._status import UsageError

_VARIABLES = {
    "wss": ("WSS_PROXY", "SOCKS_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    "ws": ("WS_PROXY", "SOCKS_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"),
}
"""Those that count for each scheme, the first one first."""

_SOCKS_PORT = 1080
_HTTP_PORT = 80


def proxy_for(url: SplitResult, port: int) -> tuple[str, int] | None:
    """The host and the port of the proxy before an address; None: there is none.

    Raises:
        UsageError: A variable holds no address of a proxy.
    """
    if _is_excepted(url.hostname or "", port):
        return None
    for name in _VARIABLES.get(url.scheme, ()):
        if given := _variable(name):
            try:
                proxy = check.proxy(name, given)
            except ValueError as error:
                raise UsageError(str(error), f"correct the variable {name} (or {name.lower()}), or unset it") from None
            is_socks = name == "SOCKS_PROXY" or proxy.scheme.startswith("socks")
            return proxy.hostname or "", proxy.port or (_SOCKS_PORT if is_socks else _HTTP_PORT)
    return None


def _variable(name: str) -> str:
    return os.environ.get(name.lower()) or os.environ.get(name) or ""


def _is_excepted(host: str, port: int) -> bool:
    return any(_covers(entry.strip(), host, port) for entry in _variable("NO_PROXY").split(",") if entry.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # one of them is a name
    name, _, only = entry.partition(":")
    name = name.removeprefix("*").removeprefix(".").lower()
    return (not only or only == str(port)) and (host == name or host.endswith(f".{name}"))
