"""`fal-realtime record`: a session with an app, in a file that is whole however it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command_line import at_terminal, ran, read_all, read_until, started
from support import until_sync

from fal_realtime import cli
from fal_realtime.testing import LocalServer
from fal_realtime.testing._recording import RecordedSession, read_recording

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals are POSIX")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def sessions(path: Path) -> list[RecordedSession]:
    """Those of a file that was ended: a file without its end is not whole."""
    assert path.read_bytes().endswith(b"\x89MCAP0\r\n")
    return read_recording(path).sessions


def passed(session: RecordedSession) -> list[str]:
    return [step.what for step in session.steps]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.mcap"


def test_inputs_have_their_results_and_all_of_it_is_in_the_file(path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["record", "local/echo", str(path), "--input", '{"n": 1}']) == 0
    [line] = lines(capsys.readouterr().out)
    assert (line["index"], line["result"]["n"]) == (0, 1)
    [session] = sessions(path)
    assert passed(session) == ["input", "answer", "close"]
    assert (session.steps[-1].by, session.steps[-1].code) == ("client", 1000)


def test_without_a_terminal_only_results_are_written(path: Path):
    done = ran("record", "local/echo", str(path), given='{"n": 1}\n{"n": 2}\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert [line["result"]["n"] for line in lines(done.stdout)] == [1, 2]
    assert passed(sessions(path)[0]) == ["input", "answer", "input", "answer", "close"]


def test_programs_are_told_what_the_file_holds(path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["record", "local/echo", str(path), "--input", '{"n": 1}', "--json"]) == 0
    told = json.loads(capsys.readouterr().err)
    assert told == {"ok": 1, "failed": 0, "recording": str(path), "messages": 2, "dropped": 0}


def test_each_stream_is_a_session_of_the_one_recording(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "inputs.jsonl").write_text('{"count": 3}\n{"count": 2}\n')
    assert cli.main(["record", "local/stream", str(path), str(tmp_path / "inputs.jsonl"), "--stream"]) == 0
    seen = lines(capsys.readouterr().out)
    assert [(line["index"], line["result"]["index"]) for line in seen] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    first, second = sessions(path)
    # The last of the answers says that the session is over.
    assert passed(first) == ["input", "answer", "answer", "answer", "answer", "close"]
    assert passed(second) == ["input", "answer", "answer", "answer", "close"]
    assert first.steps[-1].by == "server"


def test_an_input_that_fails_is_a_line_and_the_others_follow(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "inputs.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    with LocalServer() as server:
        monkeypatch.setenv("FAL_KEY", server.key)

        @server.app("me/app")
        def handler(message: Any) -> Any:
            if message["n"] == 2:
                raise ValueError(message)
            return message

        arguments = ["record", "me/app", str(path), str(tmp_path / "inputs.jsonl"), "--base-url", server.base_url]
        assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert [line.get("error", {}).get("type") for line in lines(out)] == [None, "RealtimeError", None]
    assert "2 results, 1 failed" in err
    assert "6 messages recorded in" in err
    assert len(sessions(path)) == 2, "the app has ended the first one"


def test_what_is_there_is_replaced_only_if_that_is_said(path: Path, capsys: pytest.CaptureFixture[str]):
    path.write_text("of value")
    arguments = ["record", "local/echo", str(path), "--input", '{"n": 1}']
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, path.read_text()) == ("", "of value")
    assert "session.mcap is there already" in err
    assert "what to do: give another name, or replace it with --force" in err
    assert cli.main([*arguments, "--force"]) == 0
    assert len(sessions(path)) == 1


def test_a_file_that_cannot_be_made_is_told_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["record", "local/echo", str(tmp_path / "no" / "file"), "--input", '{"n": 1}']) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot be written: No such file or directory" in err
    assert cli.main(["record", "local/echo", str(tmp_path), "--input", '{"n": 1}']) == 2
    assert tmp_path.is_dir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_ends_it_with_what_it_is():
    endless = '{"n": 1}\n' * 20_000
    done = ran("record", "local/echo", "/dev/full", given=endless)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert 0 < len(done.stdout.splitlines()) < 20_000


@needs_signals
def test_the_duration_ends_a_stream_that_does_not(path: Path):
    given = '{"count": 1000000, "delay": 0.01}'
    done = ran("record", "local/stream", str(path), "--stream", "--duration", "0.5", "--input", given)
    assert (done.returncode, done.stderr) == (0, "")
    seen = lines(done.stdout)
    assert [line["result"]["index"] for line in seen] == list(range(len(seen)))
    [session] = sessions(path)
    assert passed(session)[: len(seen) + 1] == ["input", *["answer"] * len(seen)]
    assert session.steps[-1].by == "client"


@needs_signals
def test_ctrl_c_leaves_a_whole_file(path: Path):
    with started("record", "local/echo", str(path)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"n": 1}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["n"] == 1
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: 1 results, 0 failed" in err
    assert "2 messages recorded in" in err
    assert "Traceback" not in err
    assert passed(sessions(path)[0]) == ["input", "answer", "close"]


@needs_signals
def test_ctrl_c_while_an_answer_is_awaited_leaves_a_whole_file_too(path: Path, monkeypatch: pytest.MonkeyPatch):
    asked, goes_on = threading.Event(), threading.Event()
    with LocalServer() as server:

        @server.app("me/app")
        def handler(message: Any) -> Any:
            asked.set()
            goes_on.wait(30)
            return message

        monkeypatch.setenv("FAL_KEY", server.key)
        arguments = ["record", "me/app", str(path), "--input", '{"n": 1}', "--base-url", server.base_url]
        with started(*arguments) as process:
            until_sync(asked.is_set, "the app is asked", 30)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        goes_on.set()
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert passed(sessions(path)[0]) == ["input", "close"]


@needs_signals
def test_at_a_terminal_inputs_are_typed_and_it_says_what_was_recorded(path: Path):
    with at_terminal("record", "local/echo", str(path)) as (process, terminal):
        read_until(terminal, "one JSON object a line; Ctrl-D ends them")
        os.write(terminal, b'{"n": 7}\n')
        read_until(terminal, '"result": {')
        os.write(terminal, b"\x04")
        shown = read_all(terminal)
        assert process.wait(30) == 0
    assert "1 results, 0 failed" in shown
    assert f"2 messages recorded in {path}" in shown
    assert passed(sessions(path)[0]) == ["input", "answer", "close"]


@needs_signals
def test_at_a_terminal_ctrl_c_leaves_a_whole_file(path: Path):
    with at_terminal("record", "local/echo", str(path)) as (process, terminal):
        read_until(terminal, "Ctrl-D ends them")
        os.write(terminal, b'{"n": 7}\n')
        read_until(terminal, '"result": {')
        os.write(terminal, b"\x03")
        shown = read_all(terminal)
        assert process.wait(30) == 130
    assert "interrupted: 1 results" in shown
    assert "Traceback" not in shown
    assert passed(sessions(path)[0]) == ["input", "answer", "close"]
