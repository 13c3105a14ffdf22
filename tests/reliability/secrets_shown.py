"""The canaries of secrets_program.py, and printing all that a user could see of an exception or an object."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import traceback
from typing import Any

KEY_ID, SECRET = "canaryid0123", "canarysecret4567"
KEY = f"{KEY_ID}:{SECRET}"
TOKEN = "canarytoken8901+/=x"
PASSWORD = "canarypassword2345"

classes: dict[str, str] = {}
told = {"key": 0, "token": 0, "password": 0}
"""How often a server was told each secret: without that the absence of the canary would prove nothing."""


def every_character_encoded(secret: str) -> str:
    """As no client writes it in an address, and as a server may."""
    return "".join(f"%{ord(character):02x}" for character in secret)


def folded(secret: str) -> str:
    """In lines of a few characters, as an encoder of text may write it."""
    return "\r\n".join(secret[at : at + 5] for at in range(0, len(secret), 5))


def show(label: str, thing: object) -> None:
    print(f"[{label}] {thing!r} {thing!s}")


def show_error(label: str, error: BaseException) -> None:
    """Everything that hangs on an exception."""
    classes[label] = type(error).__name__
    print(f"[{label}] {''.join(traceback.format_exception(error))}")
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop()
        show(label, current)
        show(label, current.args)
        for name in dir(current):
            if not name.startswith("__") or name in ("__notes__", "__dict__"):
                with contextlib.suppress(Exception):
                    show(f"{label}.{name}", getattr(current, name))
        with contextlib.suppress(Exception):
            show(f"{label} pickled", pickle.dumps(current))
        # The frames of a traceback are the caller's own; the message, cause and context are ours.
        todo += [linked for linked in (current.__cause__, current.__context__) if linked is not None]


def show_object(label: str, thing: Any) -> None:
    """Every attribute of an object, and what pickling and copying it gives."""
    show(label, thing)
    print(format(thing))
    for name in dir(thing):
        with contextlib.suppress(Exception):
            show(f"{label}.{name}", getattr(thing, name))
    for work in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        try:
            show(f"{label} {work.__name__}", work(thing))
        except Exception as error:  # noqa: BLE001, PERF203 - whatever it is, it is shown
            show(f"{label} {work.__name__}", error)
