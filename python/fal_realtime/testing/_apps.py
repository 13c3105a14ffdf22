"""The apps that a `LocalServer` serves: built-in ones, and functions of the test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

from fal_realtime import _checks as check, _core

from ._base import ServerBase
from ._handler_app import App, AppKind
from ._handlers import HandlerThread
from ._recording import read_recording
from ._replay import Replay
from ._routes import read_annotations

BuiltinApp = Literal["echo", "image", "stream", "collect", "bidi"]
"""The apps that a `LocalServer` brings, served as `local/<name>`; see `LocalServer`."""

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class Apps(ServerBase):
    """The part of a `LocalServer` that serves apps."""

    def __init__(self) -> None:
        super().__init__()
        self._apps: dict[str, App | Replay] = {}
        self._builtins: dict[str, tuple[str, dict[str, Any]]] = {}
        self._handlers: HandlerThread | None = None

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
        check_app_options(session_timeout, buffering, emit_timings)
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
        check_app_options(session_timeout, buffering, emit_timings)
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

    def replay(
        self,
        path: str | os.PathLike[str],
        *,
        app: str | None = None,
        timing: Literal["recorded", "immediate"] | float = "recorded",
        strict: bool = False,
    ) -> str:
        """Serve an app that answers as a recording of `connection.record` says; give its id, for `connect`.

        The first connection gets what was recorded of the first session, the next one the next session, and when all
        were had, they begin anew. Each recorded input is waited for, whatever it says; the answers that followed it
        follow, byte for byte but for the `request_id`, which is that of the client's input. A session that the server
        closed is closed with the recorded code and reason, one that broke off breaks off; else it stays open until the
        client closes.

        Args:
            path: The recording; one that ends early is served as far as it goes.
            app: The app id to serve it as. Default: the recorded one.
            timing: When answers come: as long after what was before them as `"recorded"`, or so many times as long (0.5
                is twice as fast), or `"immediate"`.
            strict: An input that is not the recorded one (the `request_id` aside), or is one too many, is answered with
                the error `REPLAY_MISMATCH` and close code 1008. Without it that is logged as a warning, logger
                `fal_realtime.testing`, and an input too many stays unanswered.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no recording, or an argument has a value that is not accepted.
            TypeError: An argument is of the wrong type.
        """
        check.boolean("strict", strict)
        factor = _factor(timing)
        recording = read_recording(path)
        name = recording.app if app is None else app
        if "://" in name:
            message = f"{os.fspath(path)} is of a raw connection: say as which app it is to be served (app=…)"
            raise ValueError(message)
        _check_name(name)
        replay = Replay(recording, factor, strict=strict)
        if self._running:
            self._serve(name, replay)
        self._apps[name] = replay
        return name.removesuffix("/realtime")

    def _serve_all(self) -> None:
        """Serve what was registered before the start."""
        for name, (builtin, options) in self._builtins.items():
            self._server.add_builtin(name, builtin, **options)
        for name, app in self._apps.items():
            self._serve(name, app)

    def _serve(self, name: str, app: App | Replay) -> None:
        if self._handlers is None:
            self._handlers = HandlerThread(self._server)
        self._handlers.add(name, app)

    def _stop_handlers(self) -> None:
        if self._handlers is not None:
            self._handlers.stop()
            self._handlers = None


def _factor(timing: object) -> float:
    """How many times as long as recorded a replay takes."""
    if timing == "recorded":
        return 1.0
    if timing == "immediate":
        return 0.0
    if isinstance(timing, str):
        message = f"timing must be 'recorded', 'immediate' or a factor, not {timing!r}"
        raise ValueError(message)  # noqa: TRY004 - a str is one of the types
    return check.not_negative("timing", timing, "'recorded', 'immediate' or a factor")


def _check_name(given: object) -> None:
    name = check.text("name", given, "an app id such as 'owner/alias'")
    if "/" not in name:
        message = f"name must be an app id such as 'owner/alias', not {name!r}"
        raise ValueError(message)
    _core.LocalServer.check_name(name)


def check_app_options(session_timeout: float | None, buffering: int | None, emit_timings: bool) -> None:
    if session_timeout is not None:
        check.not_negative("session_timeout", session_timeout, "a number of seconds or None")
    if buffering is not None:
        check.integer("buffering", buffering, at_least=1, at_most=sys.maxsize)
    check.boolean("emit_timings", emit_timings)
