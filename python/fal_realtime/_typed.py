"""Types of the caller's for results and inputs (`result_type`, `input_type`).

What flows through: each decoded result, before it is given out, becomes an object of `result_type`, and each input,
before it is encoded, is checked to be one of `input_type`. A connection owns its two functions, which keep nothing of
what they check; the native core calls them where it would call `decode_message` and `encode_message`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, get_origin, is_typeddict

from ._exceptions import DecodeError, EncodeError
from ._mismatch import Mismatch, shown

if TYPE_CHECKING:
    from ._types import Validator

_EXPECTED = (
    "a pydantic model, a msgspec.Struct, a dataclass or a TypedDict, or a pydantic.TypeAdapter of any other type"
)


class _Checker(Protocol):
    def result(self, value: Any) -> Any: ...

    def input(self, value: Any) -> Any: ...


def result_converter(kind: type[Any] | Validator[Any]) -> Callable[[Any], Any]:
    """What makes a result an object of the type, or raises `DecodeError`.

    Raises:
        TypeError: It is no type that can be checked, or what checks it is not installed.
    """
    check, name = _checker("result_type", kind).result, _name(kind)

    def convert(result: Any) -> Any:
        try:
            return check(result)
        except Mismatch as mismatch:
            raise _decode_error(name, mismatch.path, mismatch.why, result) from mismatch.__cause__
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise _decode_error(name, "", why, result) from error

    return convert


def input_checker(kind: type[Any] | Validator[Any]) -> Callable[[Any], Any]:
    """What gives an input as one of the type, or raises `EncodeError`.

    Raises:
        TypeError: As `result_converter`.
    """
    check = _checker("input_type", kind).input

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except Mismatch as mismatch:
            place = _below("input", mismatch.path)
            message = f"{place}: {mismatch.why}"
            raise EncodeError(message) from mismatch.__cause__
        except Exception as error:
            message = f"input: {type(error).__name__}: {error}"
            raise EncodeError(message) from error

    return checked


def _decode_error(name: str, path: str, why: str, result: Any) -> DecodeError:
    place = f"{path}: " if path else ""
    message = f"the result does not fit {name}: {place}{why}"
    # An app's own error is a result like others, and seldom of the type.
    said: Any = cast("Mapping[str, Any]", result).get("error") if isinstance(result, Mapping) else None
    if isinstance(said, str) and not path.startswith("error"):
        message = f"{message}; its error is {shown(said)}"
    error = DecodeError(message)
    error.path, error.result = path, result
    return error


def _below(name: str, path: str) -> str:
    return f"{name}{path}" if path.startswith("[") or not path else f"{name}.{path}"


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else repr(kind)


def _checker(option: str, kind: Any) -> _Checker:
    """Whoever's the type is checks it; msgspec checks those that are nobody's."""
    own: Any = get_origin(kind) or kind
    if not isinstance(own, type):
        if callable(getattr(kind, "validate_python", None)):
            from ._typed_pydantic import PydanticChecker

            return PydanticChecker(kind, None)
    elif hasattr(own, "__pydantic_validator__"):
        from ._typed_pydantic import checker_of

        return _made(option, lambda: checker_of(kind, own))
    elif hasattr(own, "__struct_fields__") or is_dataclass(own) or _is_typed_dict(cast("type[Any]", own)):
        from ._typed_msgspec import MsgspecChecker

        return _made(option, lambda: MsgspecChecker(kind))
    what = f"the type {own.__name__}" if isinstance(own, type) else f"{kind!r:.100}"
    message = f"{option} must be {_EXPECTED}, not {what}"
    raise TypeError(message)


def _is_typed_dict(kind: type[Any]) -> bool:
    """Of `typing`, or of `typing_extensions`, which has its own for older versions of Python."""
    return is_typeddict(kind) or (hasattr(kind, "__total__") and issubclass(kind, dict))


def _made(option: str, make: Callable[[], _Checker]) -> _Checker:
    try:
        return make()
    except ImportError as error:
        message = (
            f"{option}: dataclasses and TypedDicts are checked by msgspec, which is not installed "
            "(pip install msgspec); a dataclass of pydantic.dataclasses is checked by pydantic"
        )
        raise TypeError(message) from error
    except Exception as error:
        message = f"{option} cannot be checked: {type(error).__name__}: {error}"
        raise TypeError(message) from error
