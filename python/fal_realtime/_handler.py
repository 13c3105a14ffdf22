"""Takes options by the TypeScript client's names as well as by their own, as a mapping or a dataclass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

_NO_COUNTERPART = {
    "fetch": "requests are made by the native core",
    "request_middleware": "requests are made by the native core; see proxy, proxy_url and user_agent",
    "response_handler": "see decode_message and on_error",
    "retry": "token requests are retried by themselves; see reconnect for connections",
    "suppress_local_credentials_warning": "no key is exposed outside a browser",
}
"""Options of the TypeScript client that have no counterpart, and why."""


def snake_case(name: str) -> str:
    """`throttleInterval` -> `throttle_interval`."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda letter: f"_{letter.group()}", name).lower()


def options_from(source: object, known: Iterable[str], what: str) -> dict[str, Any]:
    """The options in `source`, by their snake_case names; an unknown one is a `TypeError` with a suggestion."""
    known = tuple(known)
    options: dict[str, Any] = {}
    for key, value in _items(source, what):
        if not isinstance(key, str):
            message = f"{what} has a key that is not a str but {type(key).__name__}"
            raise TypeError(message)
        name = snake_case(key)
        if name not in known:
            raise TypeError(_unknown(key, name, known, what))
        if name in options:
            message = f"{what} gives {name} twice, once in camelCase and once in snake_case"
            raise TypeError(message)
        options[name] = value
    return options


def _items(source: object, what: str) -> Iterable[tuple[Any, Any]]:
    if isinstance(source, Mapping):
        return cast("Mapping[object, Any]", source).items()
    import dataclasses

    if dataclasses.is_dataclass(source) and not isinstance(source, type):
        return [(entry.name, getattr(source, entry.name)) for entry in dataclasses.fields(source)]
    message = f"{what} must be a mapping or a dataclass, not {type(source).__name__}"
    raise TypeError(message)


def _unknown(key: str, name: str, known: tuple[str, ...], what: str) -> str:
    if reason := _NO_COUNTERPART.get(name):
        return f"{what} has an option {key!r} that has no counterpart here: {reason}"
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(sorted(known))}"
    return f"{what} has an unknown option {key!r}; {hint}"
