"""The types of ASGI 3, and of the hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
"""What the server says of a connection: <https://asgi.readthedocs.io/en/latest/specs/www.html>."""

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Gives the next event."""

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
"""Takes an event."""

AuthorizeHook: TypeAlias = Callable[[Scope], "bool | Awaitable[bool]"]
"""Takes the scope of a request and gives True if it may pass; sync or async. May raise `Refusal`."""

AppEntry: TypeAlias = "str | tuple[str, str]"
"""An app id, served at `/realtime`, or an app id and the path after it."""
