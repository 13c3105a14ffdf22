"""What the parts of a `LocalServer` share: the native server."""

from __future__ import annotations

from fal_realtime import _core


class ServerBase:
    """A server that was started, or will be."""

    def __init__(self) -> None:
        self._native: _core.LocalServer | None = None
        self._running = False

    @property
    def _server(self) -> _core.LocalServer:
        if self._native is None:
            message = "the server was not started: use it with `with`, or call start()"
            raise RuntimeError(message)
        return self._native
