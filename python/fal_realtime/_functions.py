"""What can be told of a function of the user's without calling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial


def is_async(function: object) -> bool:
    """Whether calling `function` gives a coroutine, as far as can be told without calling it."""
    if function is None:
        return False
    from inspect import iscoroutinefunction

    if iscoroutinefunction(function):
        return True
    target = function.func if isinstance(function, partial) else function
    return callable(target) and (iscoroutinefunction(target) or iscoroutinefunction(target.__call__))


def is_generator(function: object) -> bool:
    """Whether calling `function` runs nothing of it: it gives a generator, asynchronous or not."""
    from inspect import isasyncgenfunction, isgeneratorfunction

    target = function.func if isinstance(function, partial) else function
    return any(isgeneratorfunction(each) or isasyncgenfunction(each) for each in (target, type(target).__call__))


def takes_reason(on_state_change: Callable[..., object] | None) -> bool:
    """Whether it is called with the reason, too: its second positional parameter has no default, or is `reason`.

    One with another name and a default is not meant for it, as in `lambda state, name=name: …`.
    """
    if on_state_change is None:
        return False
    from inspect import Parameter, signature

    try:
        parameters = signature(on_state_change).parameters.values()
    except (TypeError, ValueError):  # it has none that Python knows
        return False
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    positional = [entry for entry in parameters if entry.kind in kinds]
    return len(positional) > 1 and (positional[1].default is Parameter.empty or positional[1].name == "reason")


def check_plain(functions: Mapping[str, Callable[..., object] | None]) -> None:
    """Refuse coroutine functions, by their names, where nobody can await them."""
    for name, function in functions.items():
        if is_async(function):
            message = f"{name} is a coroutine function, which SyncRealtimeClient cannot await: use RealtimeClient"
            raise TypeError(message)
