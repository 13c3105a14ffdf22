"""The border to the native core: how its methods look to Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from . import _core

_Function = TypeVar("_Function", bound=Callable[..., object])

_ATTRIBUTES = (
    "__annotations__",
    "__code__",
    "__defaults__",
    "__doc__",
    "__globals__",
    "__kwdefaults__",
    "__module__",
    "__name__",
    "__qualname__",
)
"""What introspection asks a function for."""


def native(owner: type) -> Callable[[_Function], _Function]:
    """Put the native method of `owner` in the place of the decorated function, which describes it and is never run.

    It is called without a Python frame between, and is to introspection what the function is: a coroutine function,
    with this signature and docstring.
    """

    def replace(described: _Function) -> _Function:
        method: _Function = _core.method(getattr(owner, described.__name__))
        for name in _ATTRIBUTES:
            setattr(method, name, getattr(described, name))
        return method

    return replace
