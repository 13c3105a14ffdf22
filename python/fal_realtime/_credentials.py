"""The key or login that a client has when it is given none, found as `fal-client` finds it."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _checks as check
from ._secrets import Hidden

_LEEWAY_SECONDS = 60
"""Seconds before its end from which on the token of a login is not used."""


@dataclass(frozen=True)
class Credentials:
    """What goes into the header `Authorization`."""

    secret: Hidden | None
    """The key, or the access token of a login; None: there is none."""
    bearer: bool = False
    """It is the access token of a login."""
    why: str = ""
    """Why there is none, if more can be said than that."""

    def as_native(self) -> dict[str, Any]:
        """The arguments of a native client."""
        secret = None if self.secret is None else self.secret.reveal()
        return {"credentials": secret, "bearer": self.bearer, "why_no_credentials": self.why}


def from_key(key: str | None) -> Credentials:
    """The credentials that a key is."""
    return Credentials(None if key is None else Hidden(key))


def found() -> Credentials:
    """The environment's key, else that of a Colab notebook, else the login of `fal auth login`.

    With FAL_FORCE_AUTH_BY_USER=1 the login alone.

    Raises:
        ValueError: A variable holds no key.
    """
    if os.environ.get("FAL_FORCE_AUTH_BY_USER") != "1" and (key := _from_env() or _notebook.key()) is not None:
        return from_key(key)
    return _from_login()


def _from_env() -> str | None:
    """FAL_KEY, else FAL_KEY_ID and FAL_KEY_SECRET joined with a colon, else None."""
    if key := os.environ.get("FAL_KEY"):
        return check.key("FAL_KEY", key)
    key_id, secret = os.environ.get("FAL_KEY_ID"), os.environ.get("FAL_KEY_SECRET")
    if not (key_id and secret):
        return None
    return f"{check.key('FAL_KEY_ID', key_id)}:{check.key('FAL_KEY_SECRET', secret)}"


class _Notebook:
    """A Colab notebook's secret FAL_KEY. Its user is asked once, whatever the answer, and the page is once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: object = None
        self._key: str | None = None

    def key(self) -> str | None:
        """The secret, or None where there is no notebook, no such secret, or its user does not share it."""
        # A Colab kernel has imported it; nothing else does.
        if "google.colab" not in sys.modules:
            return None
        with self._lock:
            try:
                secrets = importlib.import_module("google.colab.userdata")
                if self._asked is not secrets:
                    self._asked, self._key = secrets, None
                    self._key = secrets.get("FAL_KEY")
            except Exception:  # noqa: BLE001 - as said
                return None
            key = self._key
        return check.key("the notebook's secret FAL_KEY", key) if key else None


_notebook = _Notebook()


def _from_login() -> Credentials:
    """The access token that `fal auth login` left; renewing it is the business of fal's own tools."""
    path = Path(os.environ.get("FAL_HOME_DIR") or "~/.fal").expanduser() / "auth0_token"
    try:
        lines = [line for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if line]
    except (OSError, UnicodeError):
        lines = []
    # The refresh token first, then the access token, if there was one already.
    match lines:
        case []:
            return Credentials(None)
        case [_, token, *_] if not _is_over(token):
            return Credentials(Hidden(token), bearer=True)
        case _:
            pass
    why = f"the login in {path} has expired: renew it with a command of fal's CLI, such as `fal auth whoami`"
    return Credentials(None, why=why)


def _is_over(token: str) -> bool:
    """Whether a JWT has expired, or is none."""
    # Few need them.
    import base64
    import json

    try:
        claims = token.split(".")[1]
        expires = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return not token.isascii() or bool(time.time() + _LEEWAY_SECONDS >= expires)
    except (IndexError, KeyError, TypeError, ValueError):
        return True
