"""One function under a signature for people and another one for type checkers."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])


def implemented_by(function: Callable[..., Any], *, gives: object) -> Callable[[_Function], _Function]:
    """Put `function` in the place of the decorated one, which is never run: it carries the overloads.

    What introspection and errors say of it is its own signature, which names every option, under the decorated
    function's name, with `gives` as what it returns; type checkers see the overloads.
    """
    source = cast("FunctionType", function)

    def replace(overloaded: _Function) -> _Function:
        name = overloaded.__name__
        copy = FunctionType(source.__code__, source.__globals__, name, source.__defaults__, source.__closure__)
        copy.__kwdefaults__ = source.__kwdefaults__
        copy.__annotations__ = {**source.__annotations__, "return": gives}
        copy.__doc__ = source.__doc__
        copy.__module__ = overloaded.__module__
        copy.__qualname__ = overloaded.__qualname__
        return cast("_Function", copy)

    return replace
