"""`fal-realtime replay`: recorded inputs again, and how what comes differs."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import at_terminal, ran, read_all, started
from support import until_sync

from fal_realtime import cli
from fal_realtime.testing import LocalServer

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals are POSIX")

INPUTS: list[dict[str, Any]] = [{"n": 1}, {"n": 2}, {"n": 3}]


class App:
    """`me/app`, which gives twice the number and what it is made to."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.seen: list[Any] = []
        self.change: Callable[[dict[str, Any]], Any] = lambda result: result

        @server.app("me/app")
        def handler(message: Any) -> Any:
            self.seen.append(message)
            return self.change({"twice": 2 * message["n"], "data": b"1234", "request_id": message["request_id"]})


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    with LocalServer() as server:
        monkeypatch.setenv("FAL_KEY", server.key)
        yield App(server)


@pytest.fixture
def recording(app: App, tmp_path: Path) -> Path:
    """Three requests to `me/app`, which the client ends."""
    path = tmp_path / "session.mcap"
    with app.server.sync_client() as client:
        connection = client.connect("me/app")
        connection.record(path)
        with connection:
            for given in INPUTS:
                connection.request(given, timeout=30)
    app.seen.clear()
    return path


@pytest.fixture
def replay(app: App, recording: Path, capsys: pytest.CaptureFixture[str]):
    """Runs the command; its status, what it wrote, and the last line as an object where that is JSON."""

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        where = ["--base-url", app.server.base_url, "--json"]
        status = cli.main(["replay", str(recording), *where, *arguments])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.mark.parametrize("how", [[], ["--speed", "100"], ["--no-timing"]], ids=" ".join)
def test_the_app_gets_the_same_inputs_and_equal_results_are_counted(app: App, replay: Any, how: list[str]):
    status, [totals] = replay("--strict", *how)
    assert status == 0
    assert [message["n"] for message in app.seen] == [1, 2, 3]
    assert totals["app"] == "me/app"
    seen = {name: totals[name] for name in ("sessions", "inputs", "results", "recorded")}
    assert seen == {"sessions": 1, "inputs": 3, "results": 3, "recorded": 3}
    assert [totals[name] for name in ("equal", "different", "missing", "extra")] == [3, 0, 0, 0]
    assert 0 < totals["p50_ms"] <= totals["p99_ms"]
    assert 0 < totals["recorded_p50_ms"] <= totals["recorded_p99_ms"]


def test_what_is_different_is_named_and_fails_only_if_that_is_said(app: App, replay: Any):
    app.change = lambda result: {**result, "data": b"12345"} if result["twice"] == 4 else result
    status, [difference, totals] = replay("--no-timing")
    assert status == 0
    assert difference == {"session": 1, "result": 2, "difference": "data: 5 bytes, recorded: 4 bytes"}
    assert (totals["equal"], totals["different"]) == (2, 1)
    assert replay("--no-timing", "--strict")[0] == 1
    assert replay("--no-timing", "--strict", "--ignore", "data")[0] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"twice": 7}, "twice: 7, recorded: 2"),
        ({"new": 1}, "new: is new"),
        ({"data": [1, {"in": None}]}, "data: a list of 2, recorded: 4 bytes"),
    ],
    ids=str,
)
def test_a_difference_says_where_and_what(app: App, replay: Any, change: dict[str, Any], text: str):
    app.change = lambda result: {**result, **change} if result["twice"] == 2 else result
    assert replay("--no-timing")[1][0]["difference"] == text


def test_results_that_come_in_another_order_are_compared_by_their_request(app: App, tmp_path: Path, capsys: Any):
    path, order = tmp_path / "two.mcap", 1

    @app.server.app("me/pairs")
    async def pairs(inputs: AsyncIterator[Any]) -> AsyncIterator[Any]:
        both = [await anext(inputs), await anext(inputs)]
        for each in both[::order]:
            yield each
        await anext(inputs)

    with app.server.sync_client() as client:
        connection = client.connect("me/pairs")
        connection.record(path)
        with connection:
            for request_id in ("a", "b"):
                connection.send({"request_id": request_id, "data": request_id})
            assert [connection.recv(timeout=30)["data"] for _ in range(2)] == ["a", "b"]
    order = -1
    arguments = ["replay", str(path), "--no-timing", "--strict", "--base-url", app.server.base_url, "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["equal"] == 2


def test_results_that_are_missing_or_a_session_that_ends_otherwise_fail(app: App, replay: Any):
    app.server.close_after(2, 1011, "broken", app="me/app")
    status, [ending, totals] = replay("--no-timing")
    assert status == 1
    assert ending == {"session": 1, "ending": "closed by the server with 1011, recorded: closed by the client"}
    assert (totals["results"], totals["missing"], totals["equal"]) == (2, 1, 2)


def test_a_result_that_does_not_come_is_given_up_after_the_timeout(app: App, replay: Any):
    app.server.mute("me/app")
    status, [totals] = replay("--no-timing", "--timeout", "1.5")
    assert status == 1
    assert (totals["inputs"], totals["results"], totals["missing"]) == (1, 0, 3)


def test_streams_are_replayed_session_by_session_with_their_ends(app: App, tmp_path: Path, capsys: Any):
    path = tmp_path / "streams.mcap"
    (tmp_path / "inputs.jsonl").write_text('{"count": 3}\n{"count": 2}\n')
    assert cli.main(["record", "local/stream", str(path), str(tmp_path / "inputs.jsonl"), "--stream"]) == 0
    capsys.readouterr()
    assert cli.main(["replay", str(path), "--no-timing", "--strict", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)
    assert [totals[name] for name in ("sessions", "inputs", "results", "equal")] == [2, 2, 5, 5]


def test_the_inputs_go_to_another_app_if_that_is_said(app: App, replay: Any):
    status, [*differences, totals] = replay("--app", "local/echo", "--no-timing")
    assert (status, totals["app"], totals["different"], len(differences)) == (0, "local/echo", 3, 3)
    assert app.seen == []


def test_without_a_server_it_can_be_tried_on_this_machine(recording: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["replay", str(recording), "--local", "--no-timing"]) == 0
    out, err = capsys.readouterr()
    assert "me/app on a server embedded in this process: 1 sessions, 3 inputs" in err
    assert "results        3 (recorded: 3)" in out
    assert "different      3" in out
    assert "session 1, result 1: twice: is not there" in out
    assert "latency        p50 " in out


def test_an_input_waits_for_as_long_as_recorded(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "slow.mcap"
    with app.server.sync_client() as client:
        connection = client.connect("local/echo")
        connection.record(path)
        with connection:
            for n in range(2):
                connection.request({"n": n, "delay": 0.25}, timeout=30)
    arguments = ["replay", str(path), "--base-url", app.server.base_url, "--json"]
    assert cli.main([*arguments, "--app", "me/app"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["seconds"] >= 0.5


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_a_recording_that_ends_early_is_replayed_and_that_is_said(app: App, recording: Path, capsys: Any, how: Any):
    arguments = ["replay", str(recording), "--base-url", app.server.base_url, "--no-timing", *how]
    for is_cut in (False, True):
        assert cli.main(arguments) == 0
        said = f"the recording {recording} ends early: what is there of it is replayed"
        told = [line for line in capsys.readouterr().err.splitlines() if "ends early" in line]
        assert told == ([json.dumps({"warning": said}) if how else f"fal-realtime: {said}"] if is_cut else [])
        content = recording.read_bytes()
        recording.write_bytes(content[: content.rfind(b"\x0f\x04" + bytes(7))])  # before the record that ends its data


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("other", b"no recording", "does not begin as an MCAP file does"),
        ("nowhere", None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_recording_is_told(tmp_path: Path, capsys: Any, name: str, content: bytes | None, text: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert cli.main(["replay", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "what to do: " in error


def test_a_recording_of_another_server_needs_an_app(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "raw.mcap"
    with app.server.sync_client() as client:
        token = client.mint_token("local/echo").value
        url = f"{app.server.base_url}/local/echo/realtime?fal_jwt_token={token}"
        connection = client.connect_raw(url)
        connection.record(path)
        with connection:
            connection.send(b"\x81\xa1n\x01")
            connection.recv(timeout=30)
    where = ["--base-url", app.server.base_url]
    assert cli.main(["replay", str(path), *where]) == 2
    error = capsys.readouterr().err
    assert "which is no app of fal's" in error
    assert token not in error
    assert cli.main(["replay", str(path), "--app", "local/echo", "--no-timing", "--strict", *where]) == 0


def test_speed_and_no_timing_do_not_go_together(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        cli.main(["replay", "x", "--speed", "2", "--no-timing"])
    assert left.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


@needs_signals
def test_ctrl_c_ends_it(app: App, recording: Path):
    goes_on = threading.Event()
    app.change = lambda result: (goes_on.wait(30), result)[1]
    with started("replay", str(recording), "--base-url", app.server.base_url) as process:
        until_sync(lambda: app.seen, "the app is asked", 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    goes_on.set()
    assert (process.returncode, out, "Traceback" in err) == (130, "", False)


@needs_signals
def test_at_a_terminal_it_says_how_it_went(app: App, recording: Path):
    with at_terminal("replay", str(recording), "--no-timing", "--base-url", app.server.base_url) as (process, terminal):
        shown = read_all(terminal)
        assert process.wait(30) == 0
    assert f"me/app on {app.server.base_url}: 1 sessions, 3 inputs" in shown
    assert "equal          3" in shown
    assert "Traceback" not in shown


@needs_signals
def test_at_a_terminal_ctrl_c_ends_it(app: App, recording: Path):
    goes_on = threading.Event()
    app.change = lambda result: (goes_on.wait(30), result)[1]
    with at_terminal("replay", str(recording), "--base-url", app.server.base_url) as (process, terminal):
        until_sync(lambda: app.seen, "the app is asked", 30)
        os.write(terminal, b"\x03")
        shown = read_all(terminal)
        assert process.wait(30) == 130
    goes_on.set()
    assert "Traceback" not in shown


def test_without_a_key_it_says_where_to_get_one(recording: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FAL_KEY", raising=False)
    done = ran("replay", str(recording))
    assert done.returncode == 2
    assert "me/app on fal needs a key" in done.stderr
