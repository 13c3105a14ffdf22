"""Headers, query parameters and subprotocols of the caller's own in the opening handshake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from . import _checks as check

__tracebackhide__ = True
"""As in `_checks`."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The characters of a header's name (RFC 9110, section 5.6.2)."""

_OF_THE_HANDSHAKE = {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}

_OF_AN_OPTION = {
    "authorization": "the key goes there; see credentials, token_provider and use_jwt",
    "proxy-authorization": "a login for the proxy belongs into proxy",
    "user-agent": "see user_agent",
}

_QUERY_OF_AN_OPTION = {
    "fal_jwt_token": "the token goes there; see token_provider",
    "max_buffering": "see max_buffering",
}


def check_headers(headers: Mapping[str, str] | None, *, raw: bool) -> None:
    """Refuse names that belong to the handshake or to another option; in the raw mode no key goes out, so one may."""

    def reserved(name: str) -> str | None:
        _check_name(name)
        lower = name.lower()
        if lower == "sec-websocket-protocol":
            return "see subprotocols"
        if lower in _OF_THE_HANDSHAKE or lower.startswith("sec-websocket-"):
            return "it belongs to the handshake"
        if raw and lower == "authorization":
            return None
        return _OF_AN_OPTION.get(lower)

    check.pairs("headers", headers, reserved)


def _check_name(name: str) -> None:
    """The name of a header; if it is none, no error message may repeat it: the header's value may be in it."""
    for character in name:
        if not _TOKEN.fullmatch(character):
            message = (
                f"headers must not hold a name with the character {character!r}: a name consists of letters, digits "
                "and !#$%&'*+-.^_`|~"
            )
            raise ValueError(message)


def check_query(query: Mapping[str, str] | None, *, raw: bool) -> None:
    """Refuse parameters that belong to another option; the raw mode has none of these."""
    check.pairs("query", query, lambda name: None if raw else _QUERY_OF_AN_OPTION.get(name))


def checked_subprotocols(names: object) -> tuple[str, ...]:
    """Those offered, the best first, if each is a name and none is there twice; no error message may repeat one.

    (RFC 6455, section 4.1: "the elements that comprise this value MUST be non-empty strings … and MUST all be unique".)
    """
    if isinstance(names, str | bytes) or not isinstance(names, Sequence):
        message = f"subprotocols must be a sequence of str, not {type(names).__name__}"
        raise TypeError(message)
    checked: list[str] = []
    for name in cast("Sequence[object]", names):
        if not isinstance(name, str):
            message = f"subprotocols must be a sequence of str, not of {type(name).__name__}"
            raise TypeError(message)
        if not _TOKEN.fullmatch(name):
            message = "subprotocols: a name must consist of letters, digits and !#$%&'*+-.^_`|~, and not be empty"
            raise ValueError(message)
        checked.append(name)
    if len(set(checked)) < len(checked):
        message = "subprotocols must not hold a name twice"
        raise ValueError(message)
    return tuple(checked)
