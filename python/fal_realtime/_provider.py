"""Runs a synchronous token provider where it blocks neither an event loop nor the network thread."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol


class Completer(Protocol):
    """The native end that waits for the token."""

    def set_result(self, token: str, /) -> None:
        """Hand over the token."""

    def set_error(self, error: BaseException, /) -> None:
        """Report that there is none."""


def call_in_thread(provider: Callable[[str], Any], argument: str, context: Context, completer: Completer) -> None:
    """Call `provider(argument)` in a daemon thread, within `context`, and hand its outcome to `completer`.

    A thread of its own, and not an executor's: providers are rare, may block for long, and must not hold up the exit.
    """

    def run() -> None:
        try:
            token = _checked(context.run(provider, argument))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting connection must hear of it
            completer.set_error(error)
        else:
            completer.set_result(token)

    threading.Thread(target=run, name="fal-realtime-token-provider", daemon=True).start()


def _checked(token: object) -> str:
    if isinstance(token, str):
        return token
    if inspect.iscoroutine(token):
        token.close()
        message = "token_provider returned a coroutine; declare it with `async def`, so that it is awaited on your loop"
        raise TypeError(message)
    message = f"token_provider must return a str, not {type(token).__name__}"
    raise TypeError(message)
