"""The server that a command talks to: fal, one at a given address, or one embedded in this process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._status import CommandError, UsageError

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient
    from fal_realtime.testing import LocalServer

LOCAL = "local/"
"""What the ids of the apps begin with that an embedded server brings."""

_APP_ADVICE = "give an app id such as fal-ai/fast-lcm-diffusion"
_KEY_ADVICE = "set FAL_KEY to a key from https://fal.ai/dashboard/keys, or try it with --local, which needs none"


def is_local(options: argparse.Namespace) -> bool:
    """Whether it is the embedded server: because that is said, or because its app cannot be on fal."""
    if options.local and (options.base_url or options.rest_url):
        message = "--local is a server of this process: it has no --base-url or --rest-url"
        raise UsageError(message, "give either of them")
    return bool(options.local or (options.app.startswith(LOCAL) and not options.base_url))


def place(options: argparse.Namespace) -> str:
    """Where that is, in words."""
    if is_local(options):
        return "a server embedded in this process"
    return options.base_url or os.environ.get("FAL_RUN_HOST") or "fal"


@contextmanager
def client_for(options: argparse.Namespace) -> Iterator[RealtimeClient]:
    """A client of that server.

    Raises:
        UsageError: There is no key, or an address or the app id is none.
    """
    if is_local(options):
        from fal_realtime.testing import LocalServer

        server = LocalServer()
        try:
            server.start()
        except RuntimeError as error:
            raise CommandError(str(error), "install a wheel from PyPI, which has it") from error
        with server:
            serve_under(server, options.app)
            yield server.client()
        return
    from fal_realtime._client import RealtimeClient

    require_key(options)
    try:
        client = RealtimeClient(**addresses(options))
        client._native_client()  # noqa: SLF001 - which checks the rest
    except ValueError as error:
        message = str(error).replace("allow_cleartext=True", "--allow-cleartext")
        raise UsageError(message, "see fal-realtime probe --help for addresses and certificates") from error
    try:
        client.connect(options.app, path=getattr(options, "path", None)).close()  # which opens nothing
    except ValueError as error:
        raise UsageError(str(error), _APP_ADVICE) from error
    yield client


def addresses(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the client that say where it goes, and whom it trusts."""
    given: dict[str, Any] = {}
    if options.base_url:
        given["base_url"] = options.base_url
        # A server of one's own has its tokens there as well; fal's must not be asked for them.
        given["rest_url"] = (
            options.base_url.replace("ws", "http", 1) if options.base_url[:2] == "ws" else options.base_url
        )
    if options.rest_url:
        given["rest_url"] = options.rest_url
    if options.allow_cleartext:
        given["allow_cleartext"] = True
    if options.ca:
        given["ssl"] = options.ca
    return given


def serve_under(server: LocalServer, app: str) -> None:
    """Have an app of fal's answer as an echo, so that a script can be tried without fal."""
    if not app.startswith(LOCAL):
        try:
            server.serve_builtin(app, "echo")
        except ValueError as error:
            raise UsageError(str(error), _APP_ADVICE) from error


def require_key(options: argparse.Namespace) -> None:
    """Refuse to begin without a key.

    Raises:
        UsageError: There is none, or it cannot be one.
    """
    from fal_realtime._credentials import found

    try:
        credentials = found()
    except ValueError as error:
        raise UsageError(str(error), "correct the variable: the key alone, without quotes or a scheme") from error
    if credentials.secret is None:
        why = f" ({credentials.why})" if credentials.why else ""
        message = f"{options.app} on {place(options)} needs a key, and there is none{why}"
        raise UsageError(message, _KEY_ADVICE)
