"""What fal reads from the annotations of a handler: how inputs and results relate, and what inputs become."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ._handler_app import AppKind

_ASYNC = (collections.abc.AsyncIterator, collections.abc.AsyncGenerator)
_SYNC = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)
"""The annotations that mean a stream."""


def read_annotations(handler: Callable[..., Any], names: Mapping[str, Any]) -> tuple[AppKind, Any]:
    """The kind of the handler, and the type that its inputs are made of by keywords; None for inputs as they are.

    `names` are those of the scope in which the handler was defined, where its module's do not suffice.

    Raises:
        NameError: An annotation names what is not there.
    """
    positional = [
        parameter.name
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    hints = _hints(handler, names)
    input_hint = hints.get(positional[0]) if positional else None
    output_hint = hints.get("return")
    items, streams_in = _items(input_hint, _ASYNC)
    streams_out = _items(output_hint, _ASYNC + _SYNC)[1]
    if streams_in:
        kind: AppKind = "bidi" if _items(output_hint, _ASYNC)[1] else "client_stream"
    else:
        kind = "server_stream" if streams_out else "unary"
    input_type = items if streams_in else input_hint
    return kind, None if input_type is Any else input_type


def _hints(handler: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    if not inspect.isfunction(handler) and not inspect.ismethod(handler):
        handler = type(handler).__call__
    try:
        return typing.get_type_hints(handler)
    except NameError:
        return typing.get_type_hints(handler, localns=dict(names))


def _items(hint: Any, streams: tuple[Any, ...]) -> tuple[Any, bool]:
    """The type of the items of a stream, and whether `hint` is one of `streams`."""
    if (typing.get_origin(hint) or hint) not in streams:
        return None, False
    arguments = typing.get_args(hint)
    return (arguments[0] if arguments else Any), True
