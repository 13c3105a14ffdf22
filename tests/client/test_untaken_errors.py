"""Errors that wait between the results and that nobody takes: they are reported when the connection is dropped."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from functools import partial
from typing import Any

import pytest
from support import Peer, Records, Session, result_of, until, until_sync

from fal_realtime import (
    ConnectionLostError,
    DecodeError,
    FalRealtimeError,
    RealtimeError,
    ReconnectPolicy,
)
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"
AT_ONCE = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)
OPTIONS: dict[str, Any] = {"throttle_interval": 0, "reconnect": AT_ONCE}


def loses(session: Session) -> None:
    session.recv()
    session.fence()
    session.close(1011, "out of memory")


def gives_up(session: Session) -> None:
    session.recv()
    session.send_json(type="x-fal-error", error="INTERNAL_ERROR", reason="bad prompt")
    session.close(1000)


def complains(session: Session) -> None:
    session.recv()
    session.send_json(type="x-fal-error", error="TEAPOT", reason="short and stout")
    session.send({"after": True})
    session.echo()


def garbles(session: Session) -> None:
    session.recv()
    session.send_raw(b"\xc1")
    session.send({"after": True})
    session.echo()


ERRORS = {
    "a loss": (loses, ConnectionLostError, "out of memory"),
    "INTERNAL_ERROR": (gives_up, RealtimeError, "INTERNAL_ERROR: bad prompt"),
    "another error": (complains, RealtimeError, "TEAPOT: short and stout"),
    "a message that cannot be decoded": (garbles, DecodeError, "could not be decoded"),
}
each_error = pytest.mark.parametrize(("script", "kind", "words"), ERRORS.values(), ids=ERRORS)


def has_failed(connection: Any) -> bool:
    """Whether an error is there to be taken: its session is over, or the result behind it has come."""
    return connection.last_error is not None or connection.stats()["received"] > 0


async def until_told(connection: Any) -> None:
    await until(lambda: has_failed(connection), "the error")


def heard_by_the_loop() -> list[dict[str, Any]]:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


@each_error
@pytest.mark.parametrize("leaves", ["with", "aclose", "finish", "dropped"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_loop_hears_once_of_an_error_that_nobody_takes(script, kind, words, leaves):
    heard = heard_by_the_loop()
    with Peer(script, Session.echo) as peer:
        connection = peer.client().connect(APP, **OPTIONS)
        if leaves == "with":
            async with connection:
                await connection.send({"number": 0})
                await until_told(connection)
        else:
            await connection.send({"number": 0})
            await until_told(connection)
        if leaves == "aclose":
            await connection.aclose()
        elif leaves == "finish":
            await connection.finish()
        assert heard == [], "it may be taken still"
        del connection
        gc.collect()
    [context] = heard
    assert isinstance(context["exception"], kind)
    assert words in str(context["exception"])
    assert context["message"].startswith(f"{APP}/realtime: ")
    assert context["message"].endswith("(there is no on_error, and no call took it)")


@each_error
async def test_an_error_that_is_taken_after_the_end_is_not_reported(script, kind, words):
    heard = heard_by_the_loop()
    with Peer(script, Session.echo) as peer:
        async with peer.client().connect(APP, **OPTIONS) as connection:
            await connection.send({"number": 0})
            await until_told(connection)
        with pytest.raises(kind, match=words):
            await result_of(connection.recv())
        del connection
        gc.collect()
    assert heard == []


async def send_and_receive(peer: Peer) -> Any:
    async with peer.client().connect(APP, **OPTIONS) as connection:
        await connection.send({"number": 0})
        return await result_of(connection.recv())


async def test_an_error_that_leaves_the_with_block_is_not_reported():
    heard = heard_by_the_loop()
    with Peer(complains) as peer:
        with pytest.raises(RealtimeError, match="TEAPOT"):
            await send_and_receive(peer)
        gc.collect()
    assert heard == []


async def test_of_many_errors_the_oldest_is_reported_with_how_many_more_there_are():
    def complain_often(session: Session) -> None:
        session.recv()
        for number in range(5):
            session.send_json(type="x-fal-error", error=f"E{number}")
        session.send({"after": True})
        session.echo()

    heard = heard_by_the_loop()
    with Peer(complain_often) as peer:
        async with peer.client().connect(APP, **OPTIONS) as connection:
            await connection.send({"number": 0})
            await until_told(connection)
        del connection
        gc.collect()
    [context] = heard
    assert str(context["exception"]) == "E0"
    assert context["message"].endswith("no call took it, nor the 4 errors behind it)")


async def test_what_the_server_ended_the_session_with_is_logged_and_is_the_last_error():
    logger, records = logging.getLogger("fal_realtime"), Records()
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    reasons: list[FalRealtimeError | None] = []
    try:
        with Peer(gives_up) as peer:
            connection = peer.client().connect(
                APP, on_error=lambda _: None, on_state_change=lambda _, reason: reasons.append(reason), **OPTIONS
            )
            await connection.send({"number": 0})
            await until(lambda: connection.state == "idle" and any(reasons), "the end of the session")
            assert str(connection.last_error) == "INTERNAL_ERROR: bad prompt"
            assert [str(reason) for reason in reasons if reason] == ["INTERNAL_ERROR: bad prompt"]
            said = f"{APP}/realtime: the server ended the session: INTERNAL_ERROR: bad prompt"
            await records.log.until(lambda lines: said in lines)
            await connection.aclose()
    finally:
        logger.removeHandler(records)
        logger.setLevel(logging.NOTSET)


@each_error
@pytest.mark.parametrize("leaves", ["close", "dropped"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_threads_hook_hears_of_what_nobody_takes_of_a_blocking_connection(script, kind, words, leaves, monkeypatch):
    heard: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_value))
    with Peer(script, Session.echo) as peer:
        connection = peer.sync_client().connect(APP, **OPTIONS)
        connection.send({"number": 0})
        until_sync(partial(has_failed, connection), "the error")
        if leaves == "close":
            connection.close()
        del connection
        gc.collect()
        until_sync(lambda: heard, "the report")
    [error] = heard
    assert isinstance(error, kind)
    assert words in str(error)
    assert f"({APP}/realtime: there is no on_error, and no call took it)" in str(error)


PROGRAM = """
import sys
from fal_realtime import SyncRealtimeClient
base_url, rest_url, key = sys.argv[1:]
client = SyncRealtimeClient(key, base_url=base_url, rest_url=rest_url, allow_cleartext=True, trust_env=False)
with client.connect("local/broken") as connection:
    connection.send({"number": 0})
    while connection.last_error is None:
        pass
"""


def test_a_connection_of_a_module_is_reported_when_the_process_leaves():
    with LocalServer() as server:

        @server.app("local/broken")
        def broken(inputs: dict[str, Any]) -> None:
            raise KeyError(str(inputs))

        arguments = [sys.executable, "-c", PROGRAM, server.base_url, server.rest_url, server.key]
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "INTERNAL_ERROR" in ran.stderr
    assert "no call took it" in ran.stderr
