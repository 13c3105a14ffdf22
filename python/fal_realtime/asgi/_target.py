"""The address that a proxied request names, and whether it may go there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from ._apps import AllowedApps
from ._http import Refusal, header
from ._types import Scope

TARGET_URL = b"x-fal-target-url"

_MAX_URL_BYTES = 8192
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
# Of RFC 3986, section 3.4, without what it does not allow.
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")
_TOKEN_PATHS = ("/tokens", "/tokens/realtime")
_UPLOADS = ("/storage/upload/initiate", "/storage/upload/initiate-multipart", "/storage/upload/complete-multipart")

Host = Literal["rest", "run", "queue"]


@dataclass(frozen=True)
class Target:
    """Where a proxied request goes."""

    url: str
    """The address, at this server's own idea of fal's hosts."""
    is_token_request: bool = False
    """It asks for a realtime token."""
    path: str = ""
    """The path of a token request."""


class Targets:
    """What may be asked through a proxy."""

    def __init__(self, hosts: dict[Host, str], apps: AllowedApps, *, uploads: bool) -> None:
        self._hosts: dict[str, Host] = {"https://rest.fal.ai": "rest", "https://fal.run": "run"}
        self._hosts["https://queue.fal.run"] = "queue"
        # Who is told the real addresses of another fal names those.
        self._hosts |= {address.rstrip("/"): host for host, address in hosts.items()}
        self._addresses = {host: address.rstrip("/") for host, address in hosts.items()}
        self._apps = apps
        self._uploads = uploads

    def of(self, scope: Scope) -> Target:
        """Where this request goes.

        Raises:
            Refusal: It names no address, or one that is not allowed. With 400, as fal's own proxy has it.
        """
        named = header(scope, TARGET_URL)
        if not named:
            message = f"Invalid request: the header {TARGET_URL.decode()} is missing"
            raise Refusal(400, message)
        host, path, query = self._parts(named)
        if host == "rest" and scope["method"] == "POST" and not query and path.rstrip("/") in _TOKEN_PATHS:
            return Target(self._addresses[host] + path, is_token_request=True, path=path.rstrip("/"))
        if host == "rest":
            if not (self._uploads and scope["method"] == "POST" and path in _UPLOADS):
                raise _not_allowed(path)
        elif not self._apps.holds_path(path.strip("/")):
            raise _not_allowed(path)
        return Target(self._addresses[host] + path + (f"?{query}" if query else ""))

    def _parts(self, named: str) -> tuple[Host, str, str]:
        try:
            parts = urlsplit(named)
        except ValueError:
            parts = urlsplit("")
        path, query = parts.path or "/", parts.query
        segments = path.strip("/").split("/")
        # What is written otherwise than it would be read again is not sent: both sides must mean the same.
        is_plain = _PATH.fullmatch(path) and _QUERY.fullmatch(query) and not {".", ".."} & set(segments)
        host = self._hosts.get(f"{parts.scheme}://{parts.netloc}")
        if host is None or not is_plain or parts.fragment or len(named) > _MAX_URL_BYTES:
            message = f"Invalid request: {TARGET_URL.decode()} names no address that this proxy passes requests on to"
            raise Refusal(400, message)
        return host, path, query


def _not_allowed(path: str) -> Refusal:
    return Refusal(400, f"Invalid request: this proxy passes nothing on to {path[:80]}")
