"""Models and dataclasses of pydantic, and whatever checks as a `TypeAdapter` does."""

from __future__ import annotations

from typing import Any

from ._mismatch import FORBIDDEN, Mismatch, below, joined, kind_of, missing, not_of
from ._types import Validator

_NAMES_A_FIELD = ("missing", "extra_forbidden")
"""Errors whose place ends with a field that is not in the value, or not in the type."""


class PydanticChecker:
    """Checks values for one type, by that type's own configuration."""

    def __init__(self, validator: Validator[Any], own: type | None) -> None:
        """`own`: the class that inputs must be instances of; None: whatever the validator takes."""
        self._validate = validator.validate_python
        self._own = own

    def result(self, value: Any) -> Any:
        """The result as one of the type. Raises `Mismatch`."""
        try:
            return self._validate(value)
        except ValueError as error:
            raise _mismatch(error, value) from error

    def input(self, value: Any) -> Any:
        """The input as one of the type. Raises `Mismatch`."""
        if self._own is not None and not isinstance(value, self._own):
            raise not_of(self._own, value)
        return self.result(value)


def checker_of(kind: Any, own: type) -> PydanticChecker:
    """The checker of a model or dataclass of pydantic's.

    Raises:
        Exception: Whatever pydantic raises for a type that it cannot make a schema of.
    """
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return PydanticChecker(adapter, own)


def _mismatch(error: ValueError, value: Any) -> Mismatch:
    """The first of the errors that pydantic found, and how many more there are."""
    errors = getattr(error, "errors", None)
    details: Any = errors() if callable(errors) else None
    if not details:
        return Mismatch(str(error))
    first = details[0]
    path, container = _place(first, value)
    why = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "missing":
        why = missing(container)
    elif first["type"] == "extra_forbidden":
        why = FORBIDDEN
    else:
        why = f"{why}, got {kind_of(first['input'])}"
    more = len(details) - 1
    return Mismatch(f"{why} (and {more} more)" if more else why, path)


def _place(detail: Any, value: Any) -> tuple[str, Any]:
    """The path of an error, and what it leads to; the names of a union's types are no part of it."""
    parts: list[str | int] = []
    for part in detail["loc"]:
        found, inner = below(value, part)
        if found:
            parts.append(part)
            value = inner
    if detail["type"] in _NAMES_A_FIELD and parts[-1:] != [detail["loc"][-1]]:
        parts.append(detail["loc"][-1])
    return joined(parts), value
