"""Structs, dataclasses and TypedDicts, checked by msgspec, which says of a mismatch where it is in words of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast, get_origin

from ._mismatch import FORBIDDEN, Mismatch, below, kind_of, missing, not_of, shown

_NOT_TEXT = (bytes, bytearray, memoryview)
"""What msgpack holds as it is, and JSON would hold as Base64."""

_SAID = re.compile(r"(?P<why>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")

_KEPT_KEY = "\0kept"
"""The key of what stands for an object that msgspec does not know."""


class MsgspecChecker:
    """Checks values for one type."""

    def __init__(self, kind: Any) -> None:
        """Prepare the type; what cannot be checked raises here, and not with the first value.

        Raises:
            ImportError: msgspec is not installed.
            Exception: Whatever msgspec raises for a type that it does not support.
        """
        import msgspec

        msgspec.msgpack.Decoder(kind)
        self._kind = kind
        self._class: type[Any] = get_origin(kind) or kind
        # A TypedDict is a class that nothing is an instance of.
        self._instances: type[Any] = dict if hasattr(self._class, "__total__") else self._class
        self._convert = msgspec.convert
        self._to_builtins = msgspec.to_builtins
        self._error = msgspec.ValidationError

    def result(self, value: Any) -> Any:
        """The result as one of the type. Raises `Mismatch`."""
        try:
            return self._convert(value, self._kind, builtin_types=_NOT_TEXT)
        except self._error as error:
            raise _mismatch(str(error), value) from error

    def input(self, value: Any) -> Any:
        """The input itself, which must be one of the type and hold what the type says. Raises `Mismatch`."""
        if not isinstance(value, self._instances):
            raise not_of(self._class, value)
        keep, give = _kept_objects()
        # What is an instance already is not looked into: what it consists of is.
        parts = self._to_builtins(value, builtin_types=_NOT_TEXT, enc_hook=keep)
        try:
            self._convert(parts, self._kind, builtin_types=_NOT_TEXT, dec_hook=give)
        except self._error as error:
            raise _mismatch(str(error), parts) from error
        return value


def _kept_objects() -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """Two hooks: objects of types that msgspec does not know are only asked whether they are of the field's type."""
    kept: list[Any] = []

    def keep(value: Any) -> dict[str, int]:
        kept.append(value)
        return {_KEPT_KEY: len(kept) - 1}

    def give(kind: Any, given: Any) -> Any:
        value: object = given
        if isinstance(given, dict) and _KEPT_KEY in given:
            value = kept[cast("dict[str, int]", given)[_KEPT_KEY]]
        if not isinstance(value, get_origin(kind) or kind):
            message = f"Expected `{getattr(kind, '__name__', kind)}`, got `{type(value).__name__}`"
            raise TypeError(message)
        return value

    return keep, give


def _mismatch(said: str, value: Any) -> Mismatch:
    """What msgspec said, in the words of `Mismatch`."""
    match = _SAID.fullmatch(said)
    why, path = (match["why"], match["path"] or "") if match else (said, "")
    there, known = _walked(path, value)
    path = path.removeprefix(".")
    if (absent := _MISSING.fullmatch(why)) is not None:
        path = f"{path}.{absent['name']}".removeprefix(".")
        return Mismatch(missing(there) if known else "it is missing", path)
    if (unknown := _UNKNOWN.fullmatch(why)) is not None:
        return Mismatch(FORBIDDEN, f"{path}.{unknown['name']}".removeprefix("."))
    why = why[:1].lower() + why[1:]
    if match and match["key"]:
        return Mismatch(f"a key of it: {why}", path)
    if known and "got" not in why:
        why = f"{why}, got {kind_of(there)}"
    elif known and (text := shown(there)) is not None:
        why = f"{why} ({text})"
    return Mismatch(why, path)


def _walked(path: str, value: Any) -> tuple[Any, bool]:
    """What is at a path of msgspec's; the keys of a dict are not in it, so that this is not always known."""
    for step in _STEP.finditer(path):
        part = step["name"] if step["index"] is None else step["index"]
        found, value = below(value, int(part) if part.isdigit() and step["index"] is not None else part)
        if not found:
            return None, False
    return value, True
