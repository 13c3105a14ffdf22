"""What a connection is generic over, and what stands where that is not said: any input, any result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Input = TypeVar("Input", contravariant=True, default=Any)  # noqa: PLC0105 - what documentation shows
    Output = TypeVar("Output", covariant=True, default=Any)  # noqa: PLC0105 - likewise

    # Those of a call of `connect`.
    In = TypeVar("In", default=Any)
    Out = TypeVar("Out")
else:
    from typing import TypeVar

    # Defaults of type variables are Python 3.13's; type checkers have them from `typing_extensions`.
    _default = {"default": Any} if sys.version_info >= (3, 13) else {}
    Input = TypeVar("Input", contravariant=True, **_default)  # noqa: PLC0105 - likewise
    Output = TypeVar("Output", covariant=True, **_default)  # noqa: PLC0105 - likewise
    In = TypeVar("In", **_default)
    Out = TypeVar("Out")


class OfInputAndOutput(Generic[Input, Output]):
    """A class that is generic over both; `Class[Input]` is one of any result, before Python 3.13 too."""

    __slots__ = ()

    if not TYPE_CHECKING and sys.version_info < (3, 13):

        def __class_getitem__(cls, types: Any) -> Any:
            """Add the default that is left out."""
            return super().__class_getitem__(types if isinstance(types, tuple) else (types, Any))
