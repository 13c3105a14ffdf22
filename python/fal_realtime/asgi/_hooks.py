"""Calls of the application's hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fal_realtime import _checks as check

from ._http import Refusal
from ._types import AuthorizeHook, Scope


def checked_hook(name: str, hook: object) -> None:
    """Something that can be called."""
    if not callable(hook):
        raise check.wrong_type(name, "a function that takes the ASGI scope", hook)


async def call(hook: Callable[[Scope], Any], scope: Scope) -> Any:
    """What a hook gives, sync or async."""
    given = hook(scope)
    return await given if inspect.isawaitable(given) else given


async def authorize(hook: AuthorizeHook, scope: Scope) -> None:
    """Let pass what the hook lets pass.

    Raises:
        Refusal: It does not.
        TypeError: It gave neither True nor False: a hook that forgets to answer allows nobody.
    """
    allowed = await call(hook, scope)
    check.boolean("what authorize gives", allowed)
    if not allowed:
        raise Refusal(401, "Unauthorized")
