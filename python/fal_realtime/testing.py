"""A fal realtime server inside the process, to test services against that use fal's realtime endpoints.

```python
from fal_realtime.testing import LocalServer

async def test_my_service():
    with LocalServer() as server:
        async with server.client().connect("local/echo", throttle_interval=0) as connection:
            assert await connection.request({"prompt": "a cat"}, timeout=5)
            server.drop_connections()  # what does my service do now?
```

It speaks the protocol as fal's own server does, runs on a thread of its own that neither a blocked event loop nor the
GIL can block, and goes wrong on demand. pytest finds the fixture `fal_local_server`, which is a started one.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

# The native core imports the last of these by itself: a frozen application holds what it sees imported here.
from . import _checks as check, _core, _local_values  # noqa: F401
from ._client import RealtimeClient
from ._local_handlers import HandlerThread
from ._local_routes import read_annotations
from ._local_session import App, AppKind
from ._secrets import Hidden
from ._sync_client import SyncRealtimeClient

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AppKind", "BuiltinApp", "Handshake", "LocalServer", "MintRequest"]

BuiltinApp = Literal["echo", "image", "stream", "collect", "bidi"]
"""The apps that a `LocalServer` brings, served as `local/<name>`; see `LocalServer`."""

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handshake:
    """A WebSocket handshake that a `LocalServer` saw."""

    path: str
    """The path, such as `/local/echo/realtime`."""
    query: dict[str, str]
    """The query's parameters, without the token."""
    headers: dict[str, str]
    """The headers, names in lower case, without those that hold secrets."""
    credential: Literal["token", "key", "none"]
    """What the client showed, valid or not."""
    status: int
    """The status that was answered; 101 also for a refusal in band."""


@dataclass(frozen=True)
class MintRequest:
    """A token request that a `LocalServer` saw."""

    path: str
    """The path, such as `/tokens/`."""
    body: Any
    """The body: decoded, or as text if it is not JSON."""
    target_url: str | None
    """The header `x-fal-target-url`, which a client sends that uses the server as its proxy."""
    status: int
    """The status that was answered; 0 when the connection was closed unanswered."""


class LocalServer:
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
        check.secret("key", key, "a str of printable ASCII, such as 'test-key'")
        check.boolean("tls", tls)
        check.text("host", host)
        check.integer("port", port, at_least=0, at_most=65535)
        check.boolean("refuse_in_band", refuse_in_band)
        check.integer("max_message_size", max_message_size, at_least=1, at_most=sys.maxsize)
        _check_app_options(session_timeout, buffering, emit_timings)
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
        self._apps: dict[str, App] = {}
        self._builtins: dict[str, tuple[str, dict[str, Any]]] = {}
        self._native: _core.LocalServer | None = None
        self._handlers: HandlerThread | None = None
        self._running = False

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
        for name, (builtin, options) in self._builtins.items():
            self._native.add_builtin(name, builtin, **options)
        for name, app in self._apps.items():
            self._serve(name, app)
        return self

    def stop(self) -> None:
        """Stop: clients get close code 1001. Takes at most a few seconds; counters and records stay readable."""
        if not self._running or self._native is None:
            return
        self._running = False
        atexit.unregister(self.stop)
        self._native.stop()
        if self._handlers is not None:
            self._handlers.stop()
            self._handlers = None

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

    # Apps.

    def app(
        self,
        name: str,
        *,
        kind: AppKind | None = None,
        session_timeout: float | None = None,
        buffering: int | None = None,
        max_batch_size: int = 1,
        emit_timings: bool = False,
        decode_message: Callable[[bytes], Any] | None = None,
        encode_message: Callable[[Any], bytes] | None = None,
    ) -> Callable[[_Handler], _Handler]:
        """Serve the decorated function as an app, like fal's `@fal.realtime`.

        ```python
        class Input(BaseModel):
            text: str
            request_id: str | None = None

        @server.app("local/upper")
        async def upper(input: Input) -> dict:
            return {"text": input.text.upper(), "request_id": input.request_id}
        ```

        What holds for fal's apps holds here, the words of errors included:

        - The annotations say what the handler is. An `AsyncIterator` of inputs, or an (async) iterator of results,
          means a stream; a generator that is not annotated as one fails. Inputs become what the parameter is annotated
          with, called with their entries as keywords; with `Any`, or without annotation, they stay what `msgpack` makes
          of them. `*messages` takes a batch, of inputs as they are.
        - Results are dicts of what `msgpack` packs, or pydantic models, whose field names go out, not their aliases.
        - `None` as an input is the end of the inputs.
        - What the handler raises ends the session with `INTERNAL_ERROR`, and is logged.

        It runs on an event loop of the server, a sync one on a thread. To have an answer find its request, copy the
        `request_id`.

        Args:
            name: The app id, `owner/alias`; more segments serve that path only.
            kind: How inputs and results relate, where the annotations do not say it.
            session_timeout: End the session when no input came for so many seconds; None never does.
            buffering: How many unary inputs wait at most while one is processed, the oldest dropped silently; also,
                twice of it is how many results wait at most to be sent before others overtake them. None: any number of
                inputs, two results.
            max_batch_size: How many waiting inputs the handler is called with at once; it takes `*messages`.
            emit_timings: Send the time that the app took after each result (unary) or stream (server streaming).
            decode_message: What makes an input of a message, in place of msgpack.
            encode_message: What makes a message of a result, in place of msgpack.

        Raises:
            ValueError: The name or an option has a value that is not accepted.
            TypeError: The name or an option is of the wrong type.
            NameError: An annotation names what is not there.
        """
        _check_name(name)
        _check_app_options(session_timeout, buffering, emit_timings)
        check.integer("max_batch_size", max_batch_size, at_least=1, at_most=sys.maxsize)
        if kind is not None and kind not in (accepted := get_args(AppKind)):
            message = f"kind must be one of {', '.join(accepted)}, not {kind!r}"
            raise ValueError(message)

        def register(handler: _Handler) -> _Handler:
            # Where the decorator is used, annotations may be of local names.
            annotated_kind, input_type = read_annotations(handler, sys._getframe(1).f_locals)  # noqa: SLF001
            app = App(
                handler=handler,
                kind=kind or annotated_kind,
                input_type=input_type,
                session_timeout=session_timeout,
                buffering=buffering,
                max_batch_size=max_batch_size,
                emit_timings=emit_timings,
                decode=decode_message or _core.decode_as_packer,
                encode=encode_message or _core.encode_as_packer,
            )
            if self._running:
                self._serve(name, app)
            self._apps[name] = app
            return handler

        return register

    def serve_builtin(
        self,
        name: str,
        builtin: BuiltinApp,
        *,
        session_timeout: float | None = None,
        buffering: int | None = None,
        emit_timings: bool = False,
    ) -> None:
        """Serve a built-in app under another name, with options of its own (see `app`)."""
        _check_name(name)
        _check_app_options(session_timeout, buffering, emit_timings)
        if builtin not in (accepted := get_args(BuiltinApp)):
            message = f"builtin must be one of {', '.join(accepted)}, not {builtin!r}"
            raise ValueError(message)
        options: dict[str, Any] = {
            "session_timeout": session_timeout,
            "buffering": buffering,
            "emit_timings": emit_timings,
        }
        if self._running:
            self._server.add_builtin(name, builtin, **options)
        self._builtins[name] = (builtin, options)

    # Faults.

    def drop_connections(self, *, abrupt: bool = True) -> None:
        """Close every connection without a close frame: reset it (TCP RST) if `abrupt`, else just end it."""
        self._server.drop_connections(abrupt)

    def close_all(self, code: int = 1000, reason: str = "") -> None:
        """Send every connection a close frame."""
        self._server.close_all(code, reason)

    def send(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send every connection a message as it is: bytes as a binary one, a str as a text one."""
        check.instance("data", data, (bytes, bytearray, memoryview, str), "bytes or a str")
        if isinstance(data, str):
            self._server.send_text(data)
        else:
            self._server.send_binary(bytes(data))

    def refuse(self, status: int | None) -> None:
        """Refuse handshakes with this HTTP status (300 to 599) from now on; None refuses no more."""
        self._server.refuse(status)

    def pause(self) -> None:
        """Stall: nothing is read, so that inputs, pings, handshakes and token requests go unanswered."""
        self._server.set_paused(True)

    def resume(self) -> None:
        """End the stall. What clients sent meanwhile is processed."""
        self._server.set_paused(False)

    def expire_tokens(self) -> None:
        """Make every token given out so far invalid, for handshakes to come."""
        self._server.expire_tokens()

    def mint_failures(self, count: int, status: int | None = 503) -> None:
        """Fail the next `count` token requests with this HTTP status; None closes their connections unanswered."""
        check.integer("count", count, at_least=0, at_most=sys.maxsize)
        self._server.mint_failures(count, status)

    def mint_delay(self, seconds: float) -> None:
        """Answer token requests so much later; 0 ends the delay."""
        self._server.mint_delay(seconds)

    def handshake_delay(self, seconds: float) -> None:
        """Answer handshakes so much later, as at a cold start; 0 ends the delay."""
        self._server.handshake_delay(seconds)

    def stop_listening(self) -> None:
        """Close the listening socket: the system refuses new connections. Open ones stay."""
        self._server.stop_listening()

    def start_listening(self) -> None:
        """Listen again on the same port.

        Raises:
            OSError: Someone else has taken the port.
        """
        self._server.start_listening()

    # What it saw.

    @property
    def connections(self) -> int:
        """How many WebSocket connections are open."""
        return self._server.connections

    @property
    def connections_total(self) -> int:
        """How many WebSocket connections were opened so far."""
        return self._server.connections_total

    @property
    def tokens_minted(self) -> int:
        """How many tokens were given out."""
        return self._server.tokens_minted

    @property
    def mint_requests(self) -> int:
        """How many token requests came, answered or not."""
        return self._server.mint_requests

    @property
    def messages_received(self) -> int:
        """How many messages came, without pings and other control frames."""
        return self._server.messages_received

    @property
    def messages_sent(self) -> int:
        """How many messages were sent, without pongs and other control frames."""
        return self._server.messages_sent

    @property
    def pings_received(self) -> int:
        """How many pings came."""
        return self._server.pings_received

    @property
    def requests(self) -> list[Handshake]:
        """The handshakes in the order in which they were answered; the newest 10,000."""
        return [
            Handshake(path, dict(query), dict(headers), credential, status)
            for path, query, headers, credential, status in self._server.handshakes()
        ]

    @property
    def mints(self) -> list[MintRequest]:
        """The token requests in the order in which they were answered; the newest 10,000."""
        return [
            MintRequest(path, _json_or_text(body), target_url, status)
            for path, body, target_url, status in self._server.mints()
        ]

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> None:
        """Block until exactly `count` WebSocket connections are open. In a coroutine use `connections_reach`.

        Raises:
            TimeoutError: That was not so within `timeout` seconds.
        """
        if not self._server.wait_for_connections(count, timeout):
            message = f"{self.connections} connections are open after {timeout} s, not {count}"
            raise TimeoutError(message)

    async def connections_reach(self, count: int, timeout: float = 5.0) -> None:
        """Wait until exactly `count` WebSocket connections are open, without blocking the loop.

        Raises:
            TimeoutError: That was not so within `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self.wait_for_connections, count, timeout)

    # The inside.

    @property
    def _server(self) -> _core.LocalServer:
        if self._native is None:
            message = "the server was not started: use it with `with`, or call start()"
            raise RuntimeError(message)
        return self._native

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

    def _serve(self, name: str, app: App) -> None:
        if self._handlers is None:
            self._handlers = HandlerThread(self._server)
        self._handlers.add(name, app)


def _check_name(name: object) -> None:
    if "/" not in check.text("name", name, "an app id such as 'owner/alias'"):
        message = f"name must be an app id such as 'owner/alias', not {name!r}"
        raise ValueError(message)


def _check_app_options(session_timeout: float | None, buffering: int | None, emit_timings: bool) -> None:
    if session_timeout is not None:
        check.not_negative("session_timeout", session_timeout, "a number of seconds or None")
    if buffering is not None:
        check.integer("buffering", buffering, at_least=1, at_most=sys.maxsize)
    check.boolean("emit_timings", emit_timings)


def _json_or_text(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
