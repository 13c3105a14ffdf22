"""Asynchronous callbacks and decoders: what they return is awaited in a task, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from ._exceptions import DecodeError


async def run(awaitable: Awaitable[object]) -> None:
    """Await whatever a callback returned."""
    await awaitable


async def decode_then(
    decoding: Awaitable[Any],
    on_result: Callable[[Any], object],
    on_error: Callable[[Any], object] | None,
) -> None:
    """Finish the decoding, then call back; a decoder that raises goes to `on_error`."""
    try:
        result = await decoding
    except Exception as cause:
        error = DecodeError(f"decode_message failed: {type(cause).__name__}: {cause}")
        error.__cause__ = cause
        if on_error is None:
            raise error from cause
        returned = on_error(error)
    else:
        returned = on_result(result)
    if isawaitable(returned):
        await returned
