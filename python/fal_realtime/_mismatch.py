"""How a value does not fit a type, in words: where, what was expected, and what is there instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, cast

_MAX_SHOWN = 60
"""Characters of a value that a message shows."""

_MAX_NAMES_SHOWN = 12
"""Names of fields that a message shows."""


FORBIDDEN = "the type forbids fields that it does not have"


class Mismatch(Exception):  # noqa: N818 - it becomes a DecodeError or an EncodeError
    """A value does not fit: at `path`, as in `images[0].url`, empty for the value itself, and `why`."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(why, path)
        self.path = path
        self.why = why


def joined(parts: Iterable[str | int]) -> str:
    """`images[0].url`."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def below(value: Any, part: Any) -> tuple[bool, Any]:
    """Whether `part`, a key, an index or a field, leads somewhere in `value`, and where."""
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, Any]", value)
        return part in fields, fields.get(part)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        items = cast("Sequence[object]", value)
        inside = isinstance(part, int) and 0 <= part < len(items)
        return inside, items[part] if inside else None
    found = isinstance(part, str) and hasattr(value, part)
    return found, getattr(value, part) if found else None


def shown(value: Any) -> str | None:
    """A plain value as a message shows it; None for one that is not plain, or long."""
    if not isinstance(value, (bool, int, float, str)) or (isinstance(value, int) and value.bit_length() > _MAX_SHOWN):
        return None
    if isinstance(value, str) and len(value) > _MAX_SHOWN:
        return f"{value[:_MAX_SHOWN]!r}…"
    return repr(value)


def kind_of(value: Any) -> str:
    """The type of a value with what tells it from others of its type: `int (7)`, `list of 3`."""
    if value is None:
        return "None"
    kind = type(value).__name__
    if (text := shown(value)) is not None:
        return f"{kind} ({text})"
    if isinstance(value, Mapping):
        return f"{kind} with {names(cast('Mapping[object, Any]', value))}"
    return f"{kind} of {len(cast('Sized', value))}" if isinstance(value, (list, tuple, bytes)) else kind


def names(value: Mapping[object, Any]) -> str:
    """The names of its fields."""
    if not value:
        return "nothing"
    some = [str(name)[:_MAX_SHOWN] for name in list(value)[:_MAX_NAMES_SHOWN]]
    return ", ".join(some) + (", …" if len(value) > len(some) else "")


def missing(container: Any) -> str:
    """Why a field does not fit that is not there."""
    if not isinstance(container, Mapping):
        return "it is missing"
    return f"it is missing; there is {names(cast('Mapping[object, Any]', container))}"


def not_of(kind: type, value: Any) -> Mismatch:
    """Why an input does not fit that is of another type altogether."""
    return Mismatch(f"it must be of type {kind.__name__}, not {kind_of(value)}")
