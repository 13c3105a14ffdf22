"""Recordings of connections: everything that passed is in the file, no secret is, and nothing waits for the disk."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from recorded import data, events, read_what_is_there, read_whole
from support.waiting import until

from fal_realtime import ConnectionClosedError
from fal_realtime.testing import LocalServer

pytestmark = pytest.mark.timeout(60)


async def test_every_message_is_recorded_as_it_was_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    before = time.time_ns()
    timed = asyncio.Event()
    with LocalServer() as server:
        opening = server.client().connect("local/echo", on_timings=lambda _: timed.set())
        async with opening as connection, connection.record(path) as recording:
            large = b"\xff" * 300_000
            first = await connection.request({"n": 1, "request_id": "a"}, timeout=30)
            second = await connection.request({"n": 2, "request_id": "b", "data": large}, timeout=30)
            server.send('{"type": "x-fal-message", "action": "timings", "timing": 0.5}')
            await asyncio.wait_for(timed.wait(), 30)
            third = await connection.request({"n": 3, "request_id": "c"}, timeout=30)
            assert recording.is_open
        assert not recording.is_open
        assert (recording.messages, recording.dropped, recording.error) == (7, 0, None)
    messages = read_whole(path)
    passed = [msgpack.packb(each) for each in (first, second, third)]
    timings = ("received", "text", b'{"type": "x-fal-message", "action": "timings", "timing": 0.5}')
    assert data(messages) == [
        ("sent", "binary", passed[0]),
        ("received", "binary", passed[0]),
        ("sent", "binary", passed[1]),
        ("received", "binary", passed[1]),
        timings,
        ("sent", "binary", passed[2]),
        ("received", "binary", passed[2]),
    ]
    times = [each.time for each in messages]
    assert times == sorted(times)
    # The system may set its clock meanwhile; another unit or epoch would be off by far more.
    leeway = 60 * 10**9
    assert before - leeway <= times[0] <= times[-1] <= time.time_ns() + leeway
    assert {each.app for each in messages} == {"local/echo/realtime"}


def test_openings_and_closings_are_recorded_and_the_end_of_the_connection_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    with LocalServer() as server, server.sync_client() as client:
        connection = client.connect("local/echo")
        recording = connection.record(path)
        with connection:
            connection.request({"n": 1}, timeout=30)
            server.close_all(1012, "restart")
            # The loss may be told to this one.
            connection.request({"n": 2}, timeout=30, retries=9, idempotent=True)
        assert not recording.is_open, "the connection is closed"
        recording.close()
        with pytest.raises(ConnectionClosedError):
            connection.record(tmp_path / "late.mcap")
    found = events(read_whole(path))
    assert found[0] == {"event": "start", "state": "idle"}
    assert {"event": "open", "session": 1, "subprotocol": None} in found
    assert {"event": "close", "session": 1, "by": "server", "code": 1012, "reason": "restart"} in found
    assert found[-1] | {"session": 0} == {"event": "close", "session": 0, "by": "client", "code": 1000, "reason": ""}


@pytest.mark.parametrize(
    ("end", "by", "code", "reason"),
    [
        (lambda _, connection: connection.close(3001, "done"), "client", 3001, "done"),
        (lambda server, _: server.close_all(1000, "enough"), "server", 1000, "enough"),
        (lambda server, _: server.close_all(4001, "enough"), "server", 4001, "enough"),
        (lambda server, _: server.drop_connections(), "server", 1006, "the server reset the connection"),
        (lambda server, _: server.pause(), "client", 1006, "the server did not answer a ping in time"),
    ],
    ids=["client", "server, 1000", "server, 4001", "reset", "silent"],
)
def test_who_ended_a_session_is_recorded_and_how(tmp_path: Path, end: Any, by: str, code: int, reason: str) -> None:
    quick: dict[str, Any] = {"ping_interval": 0.2, "ping_timeout": 0.4}
    with LocalServer() as server, server.sync_client() as client:
        connection = client.connect("local/echo", raw=True, path="/realtime", reconnect=None, **quick)
        connection.record(tmp_path / "session.mcap")
        connection.open()
        end(server, connection)
        with pytest.raises(ConnectionClosedError):
            connection.recv(timeout=30)
        connection.close()
    [close] = [event for event in events(read_whole(tmp_path / "session.mcap")) if event["event"] == "close"]
    assert close == {"event": "close", "session": 1, "by": by, "code": code, "reason": reason}


async def test_the_file_is_whole_when_the_connection_is_closed(tmp_path: Path) -> None:
    with LocalServer() as server:
        client = server.client()
        for number in range(20):
            path = tmp_path / f"{number}.mcap"
            async with client.connect("local/echo") as connection:
                recording = connection.record(path)
                await connection.request({"n": number}, timeout=30)
            assert len(data(read_whole(path))) == 2
            assert not recording.is_open


def test_text_and_binary_of_a_raw_connection_are_told_apart(tmp_path: Path) -> None:
    with LocalServer() as server, server.sync_client() as client:
        connection = client.connect("local/echo", raw=True, path="/realtime")
        with connection, connection.record(tmp_path / "raw.mcap"):
            connection.send(msgpack.packb({"n": 1}))
            answer = connection.recv(timeout=30)
            server.send("text")
            assert connection.recv(timeout=30) == "text"
    assert data(read_whole(tmp_path / "raw.mcap")) == [
        ("sent", "binary", msgpack.packb({"n": 1})),
        ("received", "binary", answer),
        ("received", "text", b"text"),
    ]


def test_no_key_or_token_is_in_the_file_even_if_the_server_repeats_it(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    with LocalServer(key="canaryid5678:canarysecret1234") as server, server.sync_client() as client:
        token = client.mint_token("local/echo").value
        with client.connect("local/echo", token_provider=lambda _: token) as connection, connection.record(path):
            connection.request({"n": 1}, timeout=30)
            server.send(msgpack.packb({"said": token, "n": 1}))
            assert connection.recv(timeout=30)["said"] == token
        with client.connect("local/echo", use_jwt=False) as connection, connection.record(tmp_path / "key.mcap"):
            server.send(msgpack.packb({"said": "Key canaryid5678:canarysecret1234"}))
            connection.recv(timeout=30)
    for file in (path, tmp_path / "key.mcap"):
        content = file.read_bytes()
        for secret in (token, "canarysecret1234", "canaryid5678"):
            assert secret.encode() not in content
    said = msgpack.unpackb(data(read_whole(path))[-1][2])
    assert said == {"said": "*" * len(token), "n": 1}


def test_one_recording_at_a_time_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    with LocalServer() as server, server.sync_client() as client, client.connect("local/echo") as connection:
        recording = connection.record(path)
        with pytest.raises(RuntimeError, match=r"recorded already, into .*session\.mcap"):
            connection.record(tmp_path / "other.mcap")
        connection.request({"n": 1}, timeout=30)
        recording.close()
        recording.close()
        connection.request({"n": 2}, timeout=30)  # in no recording
        with connection.record(path):
            answer = connection.request({"n": 3}, timeout=30)
    assert data(read_whole(path)) == [
        ("sent", "binary", msgpack.packb(answer)),
        ("received", "binary", msgpack.packb(answer)),
    ]
    with pytest.raises(TypeError):
        connection.record(7)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    with LocalServer() as server, server.sync_client() as client, client.connect("local/echo") as connection:
        with pytest.raises(FileNotFoundError) as raised:
            connection.record(path := tmp_path / "nowhere" / "session.mcap")
        assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(path))
        with pytest.raises(ValueError, match="path must be that of a file"):
            connection.record("a\0b")
        assert connection.request({"n": 1}, timeout=30)["n"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
async def test_a_full_disk_is_told_and_the_connection_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fal_realtime"), LocalServer() as server:
        async with server.client().connect("local/echo") as connection:
            recording = connection.record("/dev/full")
            await connection.request({"n": 1}, timeout=30)
            await until(lambda: not recording.is_open, "the recording has ended")
            assert await connection.request({"n": 2, "request_id": "b"}, timeout=30) == {"n": 2, "request_id": "b"}
            assert recording.error is not None
            assert recording.error.errno == errno.ENOSPC
            with pytest.raises(OSError, match="/dev/full"):
                recording.close()
            await until(lambda: "the recording /dev/full ends early" in caplog.text, "it is logged")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_disk_that_is_too_slow_blocks_nothing_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    path, copy = tmp_path / "pipe", tmp_path / "copy.mcap"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # takes no more than the pipe holds
    with LocalServer() as server, server.sync_client() as client, client.connect("local/echo") as connection:
        recording = connection.record(path)
        large = msgpack.packb({"data": bytes(12 << 20)})
        for _ in range(10):
            server.send(large)
            connection.recv(timeout=30)
        assert recording.dropped > 0
        dropped, taken = recording.dropped, recording.messages
        os.set_blocking(reader, True)
        with copy.open("wb") as out:
            pump = subprocess.Popen(["cat"], stdin=reader, stdout=out)
            os.close(reader)
            recording.close()
            assert pump.wait(30) == 0
    messages = read_what_is_there(copy)
    assert len(data(messages)) == taken
    told = [event for event in events(messages) if event["event"] == "dropped"]
    assert sum(event["messages"] for event in told) == dropped


PROGRAM = """
import sys
from fal_realtime.testing import LocalServer
with LocalServer() as server, server.sync_client() as client, client.connect("local/echo") as connection:
    connection.record(sys.argv[1])
    n = 0
    while True:
        connection.request({"n": n}, timeout=30)
        print(n, flush=True)
        n += 1
"""


def test_what_was_recorded_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:
            # The file says itself how far it has come: no need to guess how long that takes.
            if int(line) >= 20 and int(line) % 20 == 0 and len(data(read_what_is_there(path))) >= 40:
                break
        program.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        program.stdout.read()
    messages = data(read_what_is_there(path))
    assert len(messages) >= 40
    numbers = [msgpack.unpackb(message)["n"] for direction, _, message in messages if direction == "sent"]
    assert numbers == list(range(len(numbers))), "all of the beginning is there, in order"


def test_a_program_that_just_ends_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "left.mcap"
    program = """
import sys
from fal_realtime.testing import LocalServer
server = LocalServer().start()
connection = server.sync_client().connect("local/echo")
connection.record(sys.argv[1])
connection.request({"n": 1}, timeout=30)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=50)
    assert len(data(read_whole(path))) == 2
