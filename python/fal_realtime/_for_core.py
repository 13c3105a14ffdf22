"""What the native core imports by name: it knows no other module of this package.

Each name is imported when it is first asked for, so that a program loads only what it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Never run: a frozen application holds the modules that it sees imported, wherever that is.
    from . import (  # noqa: F401
        _attempt,
        _calls,
        _checks,
        _delivery,
        _exceptions,
        _functions,
        _local_values,
        _opening,
        _provider,
        _retrying,
        _threads,
    )

NAMES = {
    "_attempt": ("Attempt", "Hook"),
    "_calls": ("CallOnLoop", "call_in_thread", "calls_hang"),
    "_checks": ("callable_or_none", "timeout"),
    "_delivery": ("Running", "decode_then", "tell_decoded"),
    "_exceptions": (
        "ApiError",
        "AuthenticationError",
        "BufferFullError",
        "ConnectionClosedError",
        "ConnectionLostError",
        "DecodeError",
        "EncodeError",
        "ForkedProcessError",
        "HandshakeError",
        "MessageTooLargeError",
        "RealtimeError",
        "RequestTimeoutError",
        "StreamEndedError",
        "UnreadResultsError",
        "ValidationError",
    ),
    "_functions": ("is_async", "takes_reason"),
    "_local_values": ("from_extension",),
    "_opening": ("CURRENT", "done", "in_thread", "on_loop"),
    "_provider": ("checked",),
    "_retrying": ("request", "request_blocking"),
    "_threads": ("no_thread", "tell_nobody"),
}
"""The names, by the module that has them."""

_MODULES = {name: module for module, names in NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what the core asks for; the next time it is here."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(import_module(f"{__package__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
