"""A local server in a process of its own, which ends with this one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._status import CommandError
from ._target import LOCAL

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient

_PATIENCE = 10
"""Seconds for its end."""


@contextmanager
def local_server(app: str) -> Iterator[RealtimeClient]:
    """A client of it; an app that it does not bring is an echo there.

    Raises:
        CommandError: It does not start.
    """
    from fal_realtime._client import RealtimeClient

    command = [sys.executable, "-m", "fal_realtime", "serve", "--port", "0", "--json", "--control"]
    command += [] if app.startswith(LOCAL) else ["--app", f"{app}=echo"]
    # It ends when nobody holds its standard input any more, however this process ends. Ctrl-C reaches both of them:
    # in a session of its own it outlives the connections to it.
    with subprocess.Popen(  # noqa: S603 - this program itself
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdin is not None  # noqa: S101 - as it was asked for
        assert server.stdout is not None  # noqa: S101 - likewise
        try:
            if not (said := server.stdout.readline()):
                message = "the local server did not start"
                raise CommandError(message, "see what it says above")
            where = json.loads(said)
            yield RealtimeClient("test-key", base_url=where["base_url"], rest_url=where["rest_url"], trust_env=False)
        finally:
            server.stdin.close()
            try:
                server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
