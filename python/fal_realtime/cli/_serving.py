"""The life of a server process: from its options to the signal that ends it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import threading
from typing import Any, get_args

from fal_realtime._threads import start
from fal_realtime.testing import BuiltinApp, LocalServer

from ._control import Control
from ._ending import Ending
from ._latency import DelayedPort
from ._output import Lines, rows
from ._progress import note
from ._status import CommandError, UsageError

_PUBLIC_KEY = "test-key"
"""That of every local server that is given none: no secret."""


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal, or the end of the commands.

    Raises:
        UsageError: An option has a value that is not accepted.
        CommandError: The address cannot be bound.
    """
    if options.control and sys.stdin is None:  # by `<&-` in a shell
        message = "standard input, which --control takes commands from, is closed"
        raise UsageError(message, "give it something to read there, or leave --control out")
    server, replayed = _made(options)
    with contextlib.ExitStack() as stack:
        # From here on a signal ends it in good order.
        end = stack.enter_context(Ending())
        port = options.port
        try:
            stack.enter_context(server)
            if options.latency:
                delayed = DelayedPort(options.host, options.port, server.port, options.latency / 1000)
                port = stack.enter_context(delayed).port
                # Before what is in front of it ends, so that clients hear of its end.
                stack.callback(server.stop)
        except RuntimeError as error:
            raise CommandError(str(error), "install a wheel from PyPI, which has it") from error
        except OSError as error:
            message = f"cannot listen on {options.host}, port {port}: {error.strerror or error}"
            raise CommandError(message, "give another --port (0: a free one), or end what listens there") from error
        port = port or server.port
        stopped = threading.Event()
        stack.callback(stopped.set)
        _set_faults(server, options, stopped)
        _introduce(server, options, port, replayed)
        if options.control:
            Control(server, as_json=options.json).start(at_end=end.come)
        end.wait()
    note(f"fal-realtime: stopped after {server.connections_total} connections, {server.messages_received} messages")


def _made(options: argparse.Namespace) -> tuple[LocalServer, list[str]]:
    """The server, and the names of the apps that it replays."""
    try:
        server = LocalServer(
            key=_PUBLIC_KEY if options.key is None else options.key,
            tls=options.tls,
            host=options.host,
            # What adds latency listens where clients are told to come.
            port=0 if options.latency else options.port,
            session_timeout=options.session_timeout,
            buffering=options.buffering,
            emit_timings=options.timings,
            token_form=options.token_form,
            refuse_in_band=options.refuse_in_band,
            max_message_size=options.max_message_size,
        )
        for given in options.apps:
            _add(server, given)
        replayed = [server.replay(path, timing=options.timing, strict=options.strict) for path in options.recordings]
    except ValueError as error:
        raise UsageError(str(error), "see fal-realtime serve --help") from error
    except OSError as error:
        message = f"the recording {error.filename} cannot be read: {error.strerror}"
        raise UsageError(message, "give a file that connection.record(path) wrote") from error
    return server, replayed


def _add(server: LocalServer, given: str) -> None:
    name, _, what = given.partition("=")
    if what in get_args(BuiltinApp):
        server.serve_builtin(name, what)  # type: ignore[arg-type]  # one of them
        return
    module, _, function = what.partition(":")
    if not (module and function):
        message = (
            f"--app {given}: it must be NAME=WHAT, where WHAT is {', '.join(get_args(BuiltinApp))} or MODULE:FUNCTION"
        )
        raise UsageError(message, "for example --app me/upper=my_apps:upper")
    # As `python -m` has it.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a str
    try:
        handler: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        message = f"--app {given}: {error}"
        raise UsageError(message, "give a module that can be imported from here, and a function of it") from error
    if not callable(handler):
        message = f"--app {given}: {function} of {module} is no function, but {type(handler).__name__}"
        raise UsageError(message, "give a module that can be imported from here, and a function of it")
    server.app(name)(handler)


def _set_faults(server: LocalServer, options: argparse.Namespace, stopped: threading.Event) -> None:
    server.handshake_delay(options.handshake_delay)
    server.mint_delay(options.token_delay)
    server.mint_failures(options.token_failures, retry_after=options.retry_after)
    server.cold_start(options.cold_start)
    if options.refuse is not None:
        server.refuse(options.refuse, retry_after=options.retry_after, count=options.refuse_count)
    if options.mute:
        server.mute()
    if options.close_after is not None:
        try:
            server.close_after(options.close_after, options.close_code)
        except ValueError as error:
            raise UsageError(str(error), "see fal-realtime serve --help") from error
    if options.drop_every is not None:

        def drop() -> None:
            while not stopped.wait(options.drop_every):
                server.drop_connections()

        start(threading.Thread(target=drop, name="fal-realtime-drops", daemon=True))


def _introduce(server: LocalServer, options: argparse.Namespace, port: int, replayed: list[str]) -> None:
    authority = f"[{options.host}]:{port}" if ":" in options.host else f"{options.host}:{port}"
    secure = "s" if options.tls else ""
    base_url, rest_url = f"ws{secure}://{authority}", f"http{secure}://{authority}"
    # A key that somebody chose may be one of value.
    key = _PUBLIC_KEY if options.key is None else None
    apps = [f"local/{name}" for name in get_args(BuiltinApp)] + [given.partition("=")[0] for given in options.apps]
    apps += replayed
    if options.json:
        seen = {"base_url": base_url, "rest_url": rest_url, "port": port, "key": key, "ca_file": server.ca_file}
        Lines().write({**seen, "apps": apps, "pid": os.getpid()})
        return
    shown_key = f'"{key}"' if key else "KEY"
    ca = f', ssl="{server.ca_file}"' if server.ca_file else ""
    named = [("listening at", base_url), ("tokens", f"{rest_url}/tokens/"), ("key", key or "the one that was given")]
    named += [("CA file", server.ca_file)] if server.ca_file else []
    named += [
        ("apps", " ".join(apps)),
        ("Python", f'RealtimeClient({shown_key}, base_url="{base_url}", rest_url="{rest_url}"{ca})'),
        (
            "command line",
            f"FAL_KEY={key or 'KEY'} fal-realtime run local/echo --base-url {base_url}{_ca_option(server)}",
        ),
        ("JavaScript", "@fal-ai/client goes to wss://fal.run and https://rest.fal.ai alone: redirect both"),
    ]
    print(rows(named), flush=True)
    note("Ctrl-C ends it")


def _ca_option(server: LocalServer) -> str:
    return f" --ca {server.ca_file}" if server.ca_file else ""
