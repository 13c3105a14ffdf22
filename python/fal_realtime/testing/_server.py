"""`LocalServer`: its life, its addresses and its clients."""

from __future__ import annotations

import asyncio
import atexit
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

# The native core imports the last of these by itself: a frozen application holds what it sees imported here.
from fal_realtime import _checks as check, _core, _local_values  # noqa: F401
from fal_realtime._client import RealtimeClient
from fal_realtime._secrets import Hidden
from fal_realtime._sync_client import SyncRealtimeClient

from ._apps import Apps, check_app_options
from ._faults import Faults
from ._records import Records
from ._sessions import Sessions

if TYPE_CHECKING:
    from typing_extensions import Self


class LocalServer(Apps, Faults, Sessions, Records):
    """A fal realtime server on loopback. Use it with `with` or `async with`, or call `start()` and `stop()`.

    These apps are there from the start; more come with `app` and `serve_builtin`:

    - `local/echo`: answers each input with itself.
    - `local/image`: answers with a JPEG of `width` x `height` (512 x 512 unless given), of `size` bytes if given, in
      the shape of fal's image apps.
    - `local/stream`: answers one input with `count` results (3 unless given), each with `size` bytes of `data` if
      given, then ends the session.
    - `local/collect`: takes inputs until one has `final: True`, answers once with their `count` and `size`.
    - `local/bidi`: answers each input with `index` and `input`, until one has `end: True`.

    Inputs are maps. A `delay` in them, in seconds, is honoured by `echo`, `image` and (between results) `stream`; a
    `request_id` is copied.

    The controls act at once on what comes after them; what they do to open connections they set off without waiting
    for the clients. All of them may be called from any thread.

    Args:
        key: The key that clients must show. It appears in no repr.
        tls: Serve `https` and `wss`, with a certificate made for this server alone; clients trust `ca_file`.
        host: The IP address to listen on.
        port: The port; 0 lets the system choose a free one.
        session_timeout: End a session of a built-in app when no input came for so many seconds; None never does.
        buffering: How many unary inputs of a built-in app wait at most while one is processed, the oldest dropped
            silently; None drops none. A client's `max_buffering` does not change it, as in fal.
        emit_timings: Send the time that a built-in app took after each result.
        token_form: The form of the token endpoint's answer: a bare JSON string, `{"detail": …}` or `{"token": …}`.
        refuse_in_band: Refuse bad credentials inside an accepted WebSocket (`{"status": "error", "error":
            "Unauthorized"}`, then close code 1008) instead of with HTTP 401.
        max_message_size: The largest message that is taken, in bytes, 16 MiB as for fal's apps; a larger one is
            answered with close code 1009.

    Raises:
        ValueError: An option has a value that is not accepted.
        TypeError: An option is of the wrong type.
    """

    def __init__(
        self,
        *,
        key: str = "test-key",
        tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        session_timeout: float | None = None,
        buffering: int | None = None,
        emit_timings: bool = False,
        token_form: Literal["string", "detail", "token"] = "string",  # noqa: S107 - no password
        refuse_in_band: bool = False,
        max_message_size: int = 16 * 1024 * 1024,
    ) -> None:
        super().__init__()
        check.secret("key", key, "a str of printable ASCII, such as 'test-key'")
        check.boolean("tls", tls)
        check.text("host", host)
        check.integer("port", port, at_least=0, at_most=65535)
        check.boolean("refuse_in_band", refuse_in_band)
        check.integer("max_message_size", max_message_size, at_least=1, at_most=sys.maxsize)
        check_app_options(session_timeout, buffering, emit_timings)
        self._key = Hidden(key)
        self._tls = tls
        self._host = host
        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            "tls": tls,
            "session_timeout": session_timeout,
            "buffering": buffering,
            "emit_timings": emit_timings,
            "token_form": token_form,
            "refuse_in_band": refuse_in_band,
            "max_message_size": max_message_size,
        }

    def start(self) -> Self:
        """Start to listen; does nothing when it runs.

        Raises:
            OSError: The address cannot be bound.
            RuntimeError: This build of the package has no server: it was made without the cargo feature `local-server`.
            ValueError: An option is not acceptable.
        """
        if self._running:
            return self
        if not hasattr(_core, "LocalServer"):
            message = "this build of fal-realtime has no local server (it lacks the cargo feature local-server)"
            raise RuntimeError(message)
        self._native = _core.LocalServer(key=self._key.reveal(), **self._options)
        self._running = True
        # A thread that waits in native code must not find the interpreter gone.
        atexit.register(self.stop)
        self._serve_all()
        return self

    def stop(self) -> None:
        """Stop: clients get close code 1001. Takes at most a few seconds; counters and records stay readable."""
        if not self._running or self._native is None:
            return
        self._running = False
        atexit.unregister(self.stop)
        self._native.stop()
        self._stop_handlers()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        # Not on the loop's thread, so that clients on this loop can answer the close.
        await asyncio.get_running_loop().run_in_executor(None, self.stop)

    def __repr__(self) -> str:
        """The address, and no secret."""
        state = self.base_url if self._running else "not running"
        return f"<{type(self).__name__} {state}>"

    # Addresses and clients.

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def base_url(self) -> str:
        """Where apps are: `ws://127.0.0.1:PORT`, or `wss://…`."""
        return f"{'wss' if self._tls else 'ws'}://{self._authority}"

    @property
    def rest_url(self) -> str:
        """Where tokens are: `http://127.0.0.1:PORT`, or `https://…`."""
        return f"{'https' if self._tls else 'http'}://{self._authority}"

    @property
    def key(self) -> str:
        """The key that clients must show."""
        return self._key.reveal()

    @property
    def ca_file(self) -> str | None:
        """The file, in PEM, with the authority that clients must trust; None without `tls`. Removed at the stop."""
        return self._server.ca_file

    def client(self, **options: Any) -> RealtimeClient:
        """A `RealtimeClient` of this server; `options` are added to its own."""
        return RealtimeClient(**self._client_options(options))

    def sync_client(self, **options: Any) -> SyncRealtimeClient:
        """A `SyncRealtimeClient` of this server; `options` are added to its own."""
        return SyncRealtimeClient(**self._client_options(options))

    @property
    def _authority(self) -> str:
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    def _client_options(self, options: dict[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {"credentials": self._key.reveal(), "base_url": self.base_url, "rest_url": self.rest_url}
        # A proxy of the environment is not meant for a server inside of the process.
        own["trust_env"] = False
        # Whatever address of this machine it listens on.
        own["allow_cleartext"] = True
        if self._tls:
            own["ssl"] = self.ca_file
        return own | options
