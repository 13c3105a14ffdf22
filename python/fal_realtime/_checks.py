"""Checks of single values, whose errors name the option, what is accepted and what was given."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from ._functions import is_generator

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__tracebackhide__ = True
"""Has pytest leave these functions out of its tracebacks, where it shows arguments: some of them are secret."""

_LARGEST_SHOWN = 10**30

_SHOWN_SCHEMES = ("http", "https", "ws", "wss")
"""Schemes that an error may repeat; what stands in the place of another one may be part of a key."""


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    """The error for a value of the wrong type; it shows the type alone, since the value may be a secret."""
    return TypeError(f"{name} must be {expected}, not {type(value).__name__}")


def instance(name: str, value: object, types: type | tuple[type, ...], expected: str) -> None:
    """An instance of one of the types."""
    if not isinstance(value, types):
        raise wrong_type(name, expected, value)


def boolean(name: str, value: object) -> None:
    """True or False, and nothing that merely counts as such."""
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)


def number(name: str, value: object, expected: str = "a number") -> float:
    """A finite int or float; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, expected, value)
    try:
        converted = float(value)
    except OverflowError:
        message = f"{name} must be {expected} of at most {sys.float_info.max}"
        raise ValueError(message) from None
    if not math.isfinite(converted):
        message = f"{name} must be finite, not {value!r}"
        raise ValueError(message)
    return converted


def timeout(value: object) -> float | None:
    """The `timeout` of a call: a finite number of seconds from 0 on, or None for no limit."""
    if value is None:
        return None
    name, expected = "timeout", "a number of seconds of at least 0, or None"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, expected, value)
    try:
        seconds = float(value)
    except OverflowError:
        message = f"{name} must be {expected}, and at most {sys.float_info.max}"
        raise ValueError(message) from None
    if not math.isfinite(seconds) or seconds < 0:
        message = f"{name} must be {expected}, not {value!r}"
        raise ValueError(message)
    return seconds


def positive(name: str, value: object, *, or_none: bool = False) -> float:
    """A number above 0."""
    expected = "a number of seconds or None" if or_none else "a number of seconds"
    checked = number(name, value, expected)
    if checked <= 0:
        message = f"{name} must be greater than 0, not {value!r}"
        raise ValueError(message + (" (None switches it off)" if or_none else ""))
    return checked


def not_negative(name: str, value: object, expected: str = "a number of seconds") -> float:
    """A number from 0 on."""
    checked = number(name, value, expected)
    if checked < 0:
        message = f"{name} must not be negative, not {value!r}"
        raise ValueError(message)
    return checked


def integer(name: str, value: object, *, at_least: int, at_most: int | None = None) -> None:
    """An int within its bounds; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an int", value)
    if value < at_least or (at_most is not None and value > at_most):
        bounds = f"at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        message = f"{name} must be {bounds}, not {shown(value)}"
        raise ValueError(message)


def shown(value: int) -> str:
    """An int in words: Python writes none of more than some thousand digits."""
    return str(value) if abs(value) < _LARGEST_SHOWN else f"an int of {value.bit_length()} bits"


def text(name: str, value: object, expected: str = "a str", *, may_be_empty: bool = False) -> str:
    """A str, and one that can be written as UTF-8."""
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if any("\ud800" <= character <= "\udfff" for character in value):
        message = f"{name} must not hold a lone surrogate"
        raise ValueError(message)
    if not value and not may_be_empty:
        message = f"{name} must not be empty"
        raise ValueError(message)
    return value


def text_or_none(name: str, value: object, *, may_be_empty: bool = False) -> None:
    """A str or None."""
    if value is not None:
        text(name, value, may_be_empty=may_be_empty)


def key(name: str, value: object) -> str:
    """A fal key, without the white space around it; no error message may repeat it."""
    if not isinstance(value, str):
        raise wrong_type(name, "a str such as 'key_id:key_secret'", value)
    stripped = value.strip()
    why = (_more_than_a_key(stripped) or _malformed(stripped)) if stripped else "it is empty"
    if why is not None:
        message = f"{name} must be a key such as 'key_id:key_secret': {why}"
        raise ValueError(message)
    return stripped


def _more_than_a_key(text: str) -> str | None:
    """What was copied with a key, or in place of one."""
    scheme = "".join(text.split(" ")[:-1]).title()
    for marks, name in (("'\"`", "quotation marks"), ("<>", "angle brackets")):
        if text[0] in marks or text[-1] in marks:
            return f"it stands in {name}, which are no part of it"
    if scheme in ("Key", "Bearer"):
        return f"it begins with {scheme!r}, which is no part of it"
    if text.startswith("FAL_KEY"):
        return "it begins with the name of a variable, which is no part of it"
    if text.startswith(("${", "$(", "$FAL_", "%FAL_")) or (text[0] == "{" and text[-1] == "}"):
        return "it is a placeholder, which nothing has replaced by the key"
    if text[-1] in ",;":
        return f"it ends with {text[-1]!r}, which is no part of it"
    return None


def _malformed(text: str) -> str | None:
    """What no key holds, or lacks."""
    if any(character.isspace() for character in text):
        return "it holds white space"
    if not (text.isascii() and text.isprintable()):
        return "it holds characters that are not printable ASCII"
    if text.startswith(":") or text.endswith(":"):
        return "one of its two halves is missing"
    return None


def is_this_machine(address: str) -> bool:
    """Whether a URL names the machine that this runs on."""
    host = _scheme_and_host(address)[1]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def environment_integer(name: str, *, at_least: int, at_most: int) -> None:
    """A variable of the environment that is unset, empty or an int within its bounds."""
    value = os.environ.get(name, "")
    if value and not (value.isascii() and value.isdigit() and at_least <= int(value) <= at_most):
        message = f"{name} must be an int from {at_least} to {at_most}, not {value!r}"
        raise ValueError(message)


def pairs(name: str, value: object, reserved: Callable[[str], str | None]) -> None:
    """None, or a mapping of str to str whose names are not reserved; no error message may repeat a value."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a mapping of str to str, or None", value)
    for key, each in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str) or not isinstance(each, str):
            given = f"{type(key).__name__} to {type(each).__name__}"
            message = f"{name} must be a mapping of str to str, not of {given}"
            raise TypeError(message)
        text(f"{name}: a name", key)
        if (why := reserved(key)) is not None:
            message = f"{name} must not hold {key!r}: {why}"
            raise ValueError(message)
        if not (each.isascii() and each.isprintable()):
            message = f"{name}[{key!r}] must consist of printable ASCII characters"
            raise ValueError(message)


def secret(name: str, value: object, expected: str, *, contains: str = "") -> None:
    """A str that no error message may repeat, and that can stand in an HTTP header."""
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if not value.strip() or contains not in value or not (value.isascii() and value.isprintable()):
        message = f"{name} must be {expected}"
        raise ValueError(message)


def secret_url(name: str, value: object, *schemes: str) -> None:
    """An absolute URL that no error message may repeat."""
    accepted = " or ".join(f"{scheme}://" for scheme in schemes)
    secret(name, value, f"an absolute URL that starts with {accepted}", contains="://")
    scheme, host = _scheme_and_host(str(value))
    if scheme not in schemes or not host:
        message = f"{name} must be an absolute URL that starts with {accepted} and names a host"
        raise ValueError(message)


def proxy(name: str, value: str) -> SplitResult:
    """The address of a proxy, `http://` where it has no scheme; no error message may repeat it."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        # Reading the port checks it. A login with a "/" in it is cut there: the rest is in the path.
        if parts.hostname and parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment:
            return parts
    except ValueError:  # its message would repeat the address
        pass
    message = (
        f"{name} must be the address of a proxy, scheme://[user:password@]host[:port], with / ? and # in the login "
        "percent-encoded (%2F %3F %23)"
    )
    raise ValueError(message)


def callable_or_none(name: str, value: object) -> None:
    """A callable or None. What has a `yield` is none: to call it runs nothing of it."""
    if value is None:
        return
    if not callable(value):
        raise wrong_type(name, "callable or None", value)
    if is_generator(value):
        message = f"{name} is a generator function, of which a call runs nothing: it must return, and not yield"
        raise TypeError(message)


def url(name: str, value: object, *schemes: str, query: bool = False) -> None:
    """An absolute URL without credentials and fragment, and without a query unless that is allowed."""
    address = text(name, value)
    accepted = " or ".join(f"{scheme}://" for scheme in schemes)
    scheme, host = _scheme_and_host(address)
    if scheme not in schemes or not host:
        given = f", not {scheme}://" if scheme in _SHOWN_SCHEMES and scheme not in schemes else ""
        message = f"{name} must be an address that starts with {accepted} and names a host{given}"
        raise ValueError(message)
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if parts.username or parts.password or parts.fragment or (parts.query and not query):
        message = f"{name} must hold neither credentials nor a {'fragment' if query else 'query'}"
        raise ValueError(message)


def _scheme_and_host(address: str) -> tuple[str, str]:
    """Those of a URL; empty where it has none, or is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
    except ValueError:  # its message would repeat the address
        return "", ""
    return parts.scheme, parts.hostname or ""


def header_value(name: str, value: object) -> None:
    """A str that can be the value of an HTTP header, or None."""
    if value is None:
        return
    if not (checked := text(name, value)).isascii() or not checked.isprintable():
        message = f"{name} must consist of printable ASCII characters"
        raise ValueError(message)
