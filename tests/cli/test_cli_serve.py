"""`fal-realtime serve`: a server for clients in other processes, its faults on demand, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import at_terminal, ran, read_all, read_until, started
from support import LIMIT, until_sync

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    SyncRealtimeClient,
    cli,
)
from fal_realtime.testing import LocalServer

QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


class Served:
    """A server process, and a client of it."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.where = json.loads(process.stdout.readline())

    def client(self, key: str = "test-key", **options: Any) -> SyncRealtimeClient:
        options |= {} if self.where["ca_file"] is None else {"ssl": self.where["ca_file"]}
        return SyncRealtimeClient(
            key, base_url=self.where["base_url"], rest_url=self.where["rest_url"], trust_env=False, **options
        )

    def connect(self, app: str = "local/echo", **options: Any) -> Any:
        return self.client().connect(app, **{"reconnect": QUICK, **options})

    def tell(self, command: str) -> dict[str, Any]:
        """Its answer."""
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def serve():
    """Starts a server with options."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **more: Any) -> Served:
            process = stack.enter_context(started("serve", "--port", "0", "--json", *arguments, **more))
            return Served(process)

        yield start


@pytest.mark.parametrize(("number", "latency"), [(signal.SIGINT, "0"), (signal.SIGTERM, "0"), (signal.SIGTERM, "5")])
def test_a_signal_ends_it_in_good_order(number: signal.Signals, latency: str):
    with started("serve", "--port", "0", "--json", "--latency", latency) as process:
        served = Served(process)
        with served.connect(reconnect=None) as connection:
            assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
            process.send_signal(number)
            with pytest.raises(ConnectionClosedError) as closed:
                connection.recv(timeout=LIMIT)
            assert closed.value.code == 1001
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")


def test_at_a_terminal_it_says_what_a_client_has_to_be_told():
    with at_terminal("serve", "--port", "0") as (process, terminal):
        shown = read_until(terminal, "Ctrl-C ends it")
        os.write(terminal, b"\x03")
        shown += read_all(terminal)
        assert process.wait(30) == 0
    assert 'RealtimeClient("test-key", base_url="ws://127.0.0.1:' in shown
    assert "local/image" in shown
    assert "stopped after 0 connections" in shown


_SIGNALLED_AT_ANY_MOMENT = """
import os, random, signal, time
from fal_realtime.cli._ending import Ending
reads, writes = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    os.close(writes)
    while os.read(reads, 1):
        until = time.perf_counter() + random.random() * 1e-4
        while time.perf_counter() < until:
            pass
        os.kill(parent, signal.SIGTERM)
    os._exit(0)
for _ in range(10_000):
    with Ending() as end:
        os.write(writes, b"x")
        end.wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_signal_ends_its_wait_whenever_it_comes():
    """With a `threading.Event` that the handler sets, two of five such programs hang within 2,000 signals."""
    subprocess.run([sys.executable, "-c", _SIGNALLED_AT_ANY_MOMENT], timeout=120, check=True)


@pytest.mark.parametrize("given", ["option", "variable"])
def test_a_key_of_ones_own_is_required_and_not_shown(given):
    environment = os.environ | {"FAL_REALTIME_SERVE_KEY": "my:own-secret" if given == "variable" else "another:key"}
    option = ("--key", "my:own-secret") if given == "option" else ()
    with started("serve", "--port", "0", *option, env=environment) as process:
        shown = [process.stdout.readline() for _ in range(6)]
        address = shown[0].split()[-1]
        client = SyncRealtimeClient("test-key", base_url=address, rest_url=address.replace("ws", "http"))
        with pytest.raises(AuthenticationError):
            client.connect("local/echo", reconnect=None).open()
        client = SyncRealtimeClient("my:own-secret", base_url=address, rest_url=address.replace("ws", "http"))
        with client.connect("local/echo") as connection:
            assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
        process.terminate()
        out, err = process.communicate(timeout=30)
        assert "own-secret" not in "".join(shown) + out + err


def test_a_port_that_is_taken_is_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for latency in ("0", "5"):
            assert cli.main(["serve", "--port", port, "--latency", latency]) == 1
            error = capsys.readouterr().err
            assert f"cannot listen on 127.0.0.1, port {port}" in error
            assert "what to do: give another --port" in error


def test_it_serves_python_functions_and_its_apps_under_other_names(serve, tmp_path):
    (tmp_path / "my_apps.py").write_text(
        "async def upper(input):\n    return {**input, 'text': input['text'].upper()}\n"
    )
    served = serve("--app", "me/upper=my_apps:upper", "--app", "fal-ai/some-app=echo", cwd=tmp_path)
    assert {"me/upper", "fal-ai/some-app", "local/image"} <= set(served.where["apps"])
    with served.connect("me/upper") as connection:
        assert connection.request({"text": "hi"}, timeout=LIMIT)["text"] == "HI"
    with served.connect("fal-ai/some-app") as connection:
        assert connection.request({"text": "hi"}, timeout=LIMIT)["text"] == "hi"


def test_with_tls_the_command_line_can_be_its_client(serve):
    served = serve("--tls")
    assert served.where["base_url"].startswith("wss://")
    where = ["--base-url", served.where["base_url"], "--ca", served.where["ca_file"]]
    done = ran("run", "local/echo", "--input", '{"n": 5}', *where, key="test-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"]["n"] == 5


# --- faults ---


def test_it_can_refuse_from_the_start_and_stop_to(serve):
    served = serve("--refuse", "503", "--control")
    with pytest.raises(HandshakeError) as refused:
        served.connect(reconnect=None).open()
    assert refused.value.status == 503
    assert served.tell("refuse off") == {"ok": True}
    with served.connect() as connection:
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1


def test_tokens_fail_as_often_as_it_is_told(serve):
    served = serve("--token-failures", "2", "--control")
    with served.connect() as connection:
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
    counts = served.tell("counts")
    assert (counts["mint_requests"], counts["tokens_minted"]) == (3, 1)


def test_connections_are_dropped_again_and_again(serve):
    served = serve("--drop-every", "0.1")
    with served.connect() as connection:
        connection.send({"n": 1})
        until_sync(lambda: connection.stats()["reconnects"] >= 2, "two drops")


@pytest.mark.parametrize("latency", ["0", "1"], ids=["direct", "delayed"])
def test_commands_on_stdin_set_off_faults(serve, latency: str):
    served = serve("--control", "--latency", latency)
    with served.connect() as connection:
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
        assert served.tell("drop") == {"ok": True}
        until_sync(lambda: connection.stats()["reconnects"] == 1, "the drop")
        assert connection.close_code == 1006
        assert connection.request({"n": 2}, timeout=LIMIT)["n"] == 2
        assert served.tell("close 1012 service restart") == {"ok": True}
        until_sync(lambda: connection.stats()["reconnects"] == 2, "the close")
        assert (connection.close_code, connection.close_reason) == (1012, "service restart")
        assert served.tell("pause") == {"ok": True}
        assert served.tell("resume") == {"ok": True}
        assert connection.request({"n": 3}, timeout=LIMIT)["n"] == 3
    assert served.tell("counts")["connections_total"] == 3


def test_a_command_that_is_none_is_answered_with_those_there_are(serve):
    served = serve("--control")
    for command, text in [
        ("explode", "there is no command 'explode', but drop [end]; close CODE [REASON]; "),
        ("close", "close: 0 words follow it; it takes CODE [REASON]"),
        ("drop now", "drop: it is drop or drop end, not 'now'"),
        ("pause now", "pause: 1 words follow it; it takes none"),
        ("mute app=no/app", "mute: app must be the name of an app that is served"),
        ("send-msgpack {", "send-msgpack: "),
        ("session 99 drop", "session: there is no open session 99"),
        ("refuse soon", "refuse: invalid literal"),
        ("refuse 99", "refuse: "),
        ("token-delay -1", "token-delay: "),
    ]:
        answer = served.tell(command)
        assert not answer["ok"]
        assert answer["error"].startswith(text)
    assert "drop" in served.tell("help")["commands"]


def test_it_refuses_as_often_as_it_is_told_and_says_when_to_come_again(serve):
    served = serve("--refuse", "429", "--retry-after", "2", "--refuse-count", "1", "--control")
    with pytest.raises(HandshakeError) as refused:
        served.connect(reconnect=None).open()
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    with served.connect(reconnect=None) as connection:
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
    assert served.tell("refuse 503 count=1 retry-after=7 app=local/image") == {"ok": True}
    with served.connect("local/echo", reconnect=None) as connection:
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
    with pytest.raises(HandshakeError) as refused:
        served.connect("local/image", reconnect=None).open()
    assert (refused.value.status, refused.value.retry_after) == (503, 7)


@pytest.mark.parametrize(
    ("command", "results", "code", "reason"),
    [
        (None, 2, 4001, ""),
        ("close-after 1 1011 out of  memory", 1, 1011, "out of memory"),
        ("close-after 1 none counted=received app=local/echo", 0, 1006, "the server ended the connection"),
    ],
    ids=["options", "code and reason", "none, received"],
)
def test_it_closes_each_session_after_so_many_messages(serve, command, results: int, code: int, reason: str):
    served = serve("--close-after", "2", "--close-code", "4001", "--control")
    if command is not None:
        assert served.tell(command) == {"ok": True}
    connection = served.connect(reconnect=None)
    for n in range(max(results, 1)):
        connection.send({"n": n})
    assert [connection.recv(timeout=LIMIT)["n"] for _ in range(results)] == list(range(results))
    with pytest.raises(ConnectionClosedError):
        connection.recv(timeout=LIMIT)
    assert connection.close_code == code
    assert connection.close_reason.startswith(reason)
    assert served.tell("close-after off") == {"ok": True}
    if command is None or "app=" not in command:
        with served.connect(reconnect=None) as connection:
            assert [connection.request({"n": n}, timeout=LIMIT)["n"] for n in range(3)] == [0, 1, 2]


def test_apps_stay_silent_or_are_cold(serve):
    served = serve("--mute", "--cold-start", "0.2", "--control")
    with served.connect() as connection:
        connection.send({"n": 1})
        connection.drain()
        until_sync(lambda: served.tell("counts")["messages_received"] == 1, "the input")
        assert served.tell("counts")["messages_sent"] == 0
        assert served.tell("unmute") == {"ok": True}
        assert connection.recv(timeout=LIMIT)["n"] == 1
    assert served.tell("cold-start 0.3 once app=local/image") == {"ok": True}
    began = time.monotonic()
    with served.connect("local/image") as connection:
        connection.request({"prompt": "a cat", "size": 10}, timeout=LIMIT)
    assert time.monotonic() - began >= 0.3


def test_one_session_alone_is_told_something_muted_and_closed(serve):
    served = serve("--control")
    with served.connect() as one, served.connect() as other:
        one.open()
        other.open()
        first, second = served.tell("sessions app=local/echo")["sessions"]
        assert (first["app"], first["messages_received"]) == ("local/echo", 0)
        assert served.tell(f'session {first["id"]} send-msgpack {{"for": "one",  "n": [1.5, null]}}') == {"ok": True}
        assert one.recv(timeout=LIMIT) == {"for": "one", "n": [1.5, None]}
        assert served.tell('send-msgpack {"for": "all"}') == {"ok": True}
        assert [each.recv(timeout=LIMIT) for each in (one, other)] == [{"for": "all"}] * 2
        for command in ("pause", "resume", "mute", "unmute", "close-after off"):
            assert served.tell(f"session {second['id']} {command}") == {"ok": True}
        assert other.request({"n": 2}, timeout=LIMIT)["n"] == 2
        assert served.tell(f"session {second['id']} close 4002 go away") == {"ok": True}
        until_sync(lambda: other.stats()["reconnects"] == 1, "the close")
        assert (other.close_code, other.close_reason) == (4002, "go away")
        answer = served.tell(f"session {first['id']} explode")
        assert answer["error"].startswith("session: a session has no command 'explode', but drop [end]; ")
        assert served.tell(f"session {first['id']} drop end") == {"ok": True}
        until_sync(lambda: one.stats()["reconnects"] == 1, "the drop")


def test_the_end_of_the_commands_ends_it():
    with started("serve", "--port", "0", "--control") as process:
        out, err = process.communicate("pause\nexplode\n", timeout=30)
    assert process.returncode == 0
    assert out.splitlines()[-2] == "ok"
    assert out.splitlines()[-1].startswith("error: there is no command 'explode', but drop")
    assert err == ""


def test_latency_is_added_in_both_directions(serve):
    with serve("--latency", "60").connect() as connection:
        connection.open()
        began = time.monotonic()
        assert connection.request({"n": 1}, timeout=LIMIT)["n"] == 1
        assert time.monotonic() - began >= 0.12
        # In their order, and none is lost.
        for n in range(100):
            connection.send({"n": n, "data": bytes(10_000)})
        assert [connection.recv(timeout=LIMIT)["n"] for _ in range(100)] == list(range(100))


def test_it_replays_what_was_recorded(serve: Any, tmp_path: Path):
    path = tmp_path / "session.mcap"
    server = LocalServer()

    @server.app("me/upper")
    def upper(given: Any) -> Any:
        return {"text": given["text"].upper(), "request_id": given["request_id"]}

    with server, server.sync_client().connect("me/upper") as connection, connection.record(path):
        connection.request({"text": "hi"}, timeout=LIMIT)
    served = serve("--replay", str(path), "--timing", "immediate", "--strict")
    assert "me/upper" in served.where["apps"]
    with served.connect("me/upper") as connection:
        assert connection.request({"text": "hi"}, timeout=LIMIT)["text"] == "HI"
        with pytest.raises(RealtimeError, match="REPLAY_MISMATCH"):
            connection.request({"text": "hi"}, timeout=LIMIT)


def test_a_recording_that_cannot_be_replayed_is_told(tmp_path: Path):
    (tmp_path / "other").write_bytes(b"no recording")
    for name, what in [("other", "does not begin as an MCAP file does"), ("nowhere", "cannot be read: No such file")]:
        result = ran("serve", "--port", "0", "--replay", str(tmp_path / name))
        assert (result.returncode, result.stdout) == (2, "")
        assert what in result.stderr
