"""`fal-realtime run`: inputs in, results out, media saved, and what is left when it is stopped."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from command_line import at_terminal, ran, read_all, read_until, started
from support import until_sync

from fal_realtime import cli
from fal_realtime.testing import LocalServer

JPEG = b"\xff\xd8\xff\xe0 a picture"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt sound"

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals are POSIX")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def numbers(count: int) -> str:
    return "".join(f'{{"n": {n}}}\n' for n in range(count))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    with LocalServer() as running:
        monkeypatch.setenv("FAL_KEY", running.key)
        yield running


@pytest.fixture
def given(tmp_path: Path):
    """Writes lines to a file."""

    def write(text: str) -> str:
        path = tmp_path / "inputs.jsonl"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


class Stalling:
    """Serves `me/app`, which counts how often it was asked for each number, and stalls after some."""

    def __init__(self, server: LocalServer) -> None:
        self.asked: Counter[int] = Counter()
        self.most = 10**9
        self.goes_on = threading.Event()

        @server.app("me/app")
        def handler(message):
            self.asked[message["n"]] += 1
            if len(self.asked) > self.most:
                self.goes_on.wait(30)
            if message["n"] == 3:
                raise ValueError(message)
            return {**message, "twice": 2 * message["n"]}


# --- inputs and results ---


def test_each_line_of_stdin_has_a_result_in_its_order_and_nothing_else_is_written():
    done = ran("run", "local/echo", "--connections", "3", given=numbers(30) + "\n  \n")
    assert done.returncode == 0
    seen = lines(done.stdout)
    assert [line["index"] for line in seen] == list(range(30))
    assert [line["result"]["n"] for line in seen] == list(range(30))
    assert done.stderr == ""


def test_an_input_that_fails_is_a_line_with_the_reason_and_the_others_have_results(server, given, capsys):
    Stalling(server)
    status = cli.main(["run", "me/app", given(numbers(6)), "--base-url", server.base_url])
    out, err = capsys.readouterr()
    seen = lines(out)
    assert status == 1
    assert [line["index"] for line in seen if "error" in line] == [3]
    assert [line["result"]["twice"] for line in seen if "result" in line] == [0, 2, 4, 8, 10]
    assert seen[3]["error"]["type"] == "RealtimeError"
    assert "INTERNAL_ERROR" in seen[3]["error"]["message"]
    assert "look at the input" in seen[3]["error"]["advice"]
    assert "5 results, 1 failed" in err
    assert "the first that failed is input 3: RealtimeError: INTERNAL_ERROR" in err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"n":', "line 3 of .* is no JSON: .*: '{\"n\":'"),
        ("[7]", "element 1 of line 3 of .* is no JSON object: '7'"),
        ("[" * 100_000, r"line 3 of .* is no JSON: it is nested too deep: '\[{60}\.\.\.'"),
        ('{"n": ' * 100_000, r"line 3 of .* is no JSON: it is nested too deep: '{\"n\": "),
        ("7", "no JSON object"),
    ],
)
def test_a_line_that_is_no_input_is_named_after_the_results_of_those_before(line, text, given, capsys):
    assert cli.main(["run", "local/echo", given(numbers(2) + line + "\n" + numbers(1))]) == 2
    out, err = capsys.readouterr()
    assert [each["result"]["n"] for each in lines(out)] == [0, 1]
    assert re.search(text, err)
    assert "what to do: write each input as" in err


def test_fields_of_the_command_line_are_those_of_each_input_that_has_no_own(given, capsys):
    inputs = given('{"n": 1}\n{"n": 2, "style": "own"}\n')
    assert cli.main(["run", "local/echo", inputs, "--input", '{"style": "all", "n": 0}']) == 0
    seen = [line["result"] for line in lines(capsys.readouterr().out)]
    assert [(result["n"], result["style"]) for result in seen] == [(1, "all"), (2, "own")]


def test_a_json_file_is_one_input_or_a_list_of_them(tmp_path, capsys):
    (tmp_path / "one.json").write_text('{\n  "n": 1\n}\n', encoding="utf-8")
    (tmp_path / "more.json").write_text('[{"n": 2},\n {"n": 3}]', encoding="utf-8")
    assert cli.main(["run", "local/echo", str(tmp_path / "one.json"), str(tmp_path / "more.json")]) == 0
    assert [line["result"]["n"] for line in lines(capsys.readouterr().out)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b'[{"n": 1},\n {"n": 2},\n 7]', ("element 3 of .*a.json is no JSON object: '7'", "as an object")),
        ("a.json", b'[{"n": 1},\n {"n": 2},\n x]', ("a.json is no JSON: .* line 3 column 2", "or all in a list")),
        ("a.json", b'\n"\xc3\xa4"', ("[^ ]*a.json is no JSON object: ", "as an object")),
        ("a.json", b'{"n": "\xff"}', ("[^ ]*a.json is no JSON: 'utf-8' codec", "in UTF-8")),
        ("a.jsonl", '{"n": 1}\n'.encode("utf-16"), ("line 1 of .* looks like UTF-16", "in UTF-8")),
        ("a.jsonl", '{"n": 1}\n'.encode("utf-16-le"), ("line 1 of .* looks like UTF-16", "in UTF-8")),
        ("a.jsonl", '{"n": 1}\n'.encode("utf-16-be"), ("line 1 of .* looks like UTF-16", "in UTF-8")),
    ],
)
def test_a_file_that_holds_no_inputs_is_told_with_the_place(tmp_path, capsys, name, content, told):
    (tmp_path / name).write_bytes(content)
    assert cli.main(["run", "local/echo", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert re.search(told[0], err)
    assert re.search(f"what to do: write .*{told[1]}", err)


def test_images_and_audio_go_in_as_data_uris_or_as_bytes(tmp_path, server, capsys):
    (tmp_path / "cat.jpg").write_bytes(JPEG)
    (tmp_path / "hello.wav").write_bytes(WAV)
    seen = []

    @server.app("me/seen")
    def handler(message):
        seen.append(message)
        return {"request_id": message["request_id"]}

    files = [str(tmp_path / "cat.jpg"), str(tmp_path / "hello.wav")]
    assert cli.main(["run", "me/seen", *files, "--base-url", server.base_url]) == 0
    assert cli.main(["run", "me/seen", files[1], "--field", "pcm", "--bytes", "--base-url", server.base_url]) == 0
    image, audio, sound = seen
    assert image["image_url"] == f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    assert audio["audio_url"].endswith(f";base64,{base64.b64encode(WAV).decode()}")
    assert sound["pcm"] == WAV
    assert len(lines(capsys.readouterr().out)) == 3


def test_a_stream_is_written_result_by_result(capsys, given):
    inputs = given('{"count": 3}\n{"count": 2}\n')
    assert cli.main(["run", "local/stream", inputs, "--stream"]) == 0
    seen = lines(capsys.readouterr().out)
    assert [(line["index"], line["result"]["index"]) for line in seen] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_an_app_of_fals_can_be_tried_on_the_local_server(capsys):
    assert cli.main(["run", "fal-ai/some-app", "--local", "--input", '{"prompt": "a cat"}']) == 0
    assert lines(capsys.readouterr().out)[0]["result"]["prompt"] == "a cat"


@pytest.mark.parametrize("command", ["run", "probe", "bench"])
@pytest.mark.parametrize("app", ["nope", "owner/../app"])
def test_what_is_no_app_id_is_said(server, capsys, command, app):
    arguments = [command, app, "--base-url", server.base_url]
    assert cli.main([*arguments, *(["--input", "{}"] if command == "run" else [])]) == 2
    told = capsys.readouterr().err
    assert f'invalid app id "{app}"' in told
    assert "what to do: give an app id such as fal-ai/fast-lcm-diffusion" in told


# --- media ---


def serve_media(server: LocalServer) -> dict:
    result = {
        "images": [{"content": JPEG, "url": "https://fal.media/cat.png"}],
        "audio": f"data:audio/wav;base64,{base64.b64encode(WAV).decode()}",
        "../../up": b"unknown",
        "text": "data: no media",
        "broken": "data:audio/wav;base64,QQ==QUJDREVG",
    }

    @server.app("me/media")
    def handler(message):
        return {**result, "request_id": message["request_id"]}

    return result


def test_media_are_saved_and_results_name_the_files(server, tmp_path, capsys):
    serve_media(server)
    folder = tmp_path / "new" / "media"
    arguments = ["run", "me/media", "--input", '{"n": 1}', "--save", str(folder), "--base-url", server.base_url]
    assert cli.main(arguments) == 0
    result = lines(capsys.readouterr().out)[0]["result"]
    assert Path(result["images"][0]["content"]).read_bytes() == JPEG
    assert Path(result["audio"]).read_bytes() == WAV
    assert Path(result["../../up"]).read_bytes() == b"unknown"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000000-audio.wav", "000000-images-0-content.jpg", "000000-up.bin"]
    assert result["images"][0]["url"] == "https://fal.media/cat.png"
    assert result["text"] == "data: no media"
    assert result["broken"] == "data:audio/wav;base64,QQ==QUJDREVG"
    # What is there is not mixed with, or replaced by, what another run saves.
    assert cli.main(arguments) == 2
    assert "holds files already" in capsys.readouterr().err


def test_without_a_folder_bytes_are_data_uris(server, capsys):
    serve_media(server)
    assert cli.main(["run", "me/media", "--input", '{"n": 1}', "--base-url", server.base_url]) == 0
    result = lines(capsys.readouterr().out)[0]["result"]
    assert result["images"][0]["content"] == f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"
    assert result["../../up"] == "data:application/octet-stream;base64,dW5rbm93bg=="


# --- being stopped ---


@needs_signals
def test_what_ctrl_c_stops_goes_on_where_it_was(server, tmp_path, given):
    app = Stalling(server)
    app.most = 12
    journal = str(tmp_path / "numbers.journal")
    arguments = ["run", "me/app", given(numbers(20)), "--resume", journal, "--base-url", server.base_url]
    with started(*arguments) as process:
        until_sync(lambda: len(app.asked) > app.most, "the app has stalled", 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert f"{journal} keeps what is done: run the same again" in err
    assert "Traceback" not in err
    app.most = 10**9
    app.goes_on.set()
    done = ran(*arguments)
    assert done.returncode == 1  # number 3
    seen = lines(done.stdout)
    assert [line.get("result", {}).get("n") for line in seen] == [n if n != 3 else None for n in range(20)]
    assert seen[3]["error"]["type"] == "RealtimeError"
    assert all(app.asked[n] == 1 for n in range(12))


@needs_signals
def test_ctrl_c_ends_it_while_it_waits_for_inputs():
    with started("run", "local/echo") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"n": 1}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["n"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert re.fullmatch(r"fal-realtime: interrupted: 1 results, .*\n", process.stderr.read())


@needs_signals
def test_a_reader_that_goes_away_ends_it_without_a_word():
    with subprocess.Popen(["yes", '{"n": 1}'], stdout=subprocess.PIPE) as endless:
        with started("run", "local/echo", stdin=endless.stdout) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(30) == 141
            assert process.stderr.read() == ""
        endless.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_disk_that_is_full_is_said_once():
    with (
        Path("/dev/full").open("w") as full,
        started("run", "local/echo", "--input", '{"n": 1}', stdout=full) as process,
    ):
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "fal-realtime: [Errno 28] No space left on device"
    assert "Traceback" not in err


# --- at a terminal ---


@needs_signals
def test_at_a_terminal_progress_is_shown_and_results_go_where_stdout_goes(tmp_path, given):
    with (
        (tmp_path / "results").open("wb") as results,
        at_terminal("run", "local/echo", given(numbers(50)), stdout=results) as (process, terminal),
    ):
        shown = read_all(terminal)
        assert process.wait(30) == 0
    assert len(lines((tmp_path / "results").read_text())) == 50
    assert "50 results" in shown
    assert "fal-realtime: 50 results, 0 failed" in shown
    assert '"index"' not in shown


@needs_signals
def test_inputs_can_be_typed_and_ctrl_c_ends_them():
    with at_terminal("run", "local/echo") as (process, terminal):
        read_until(terminal, "one JSON object a line; Ctrl-D ends them")
        os.write(terminal, b'{"n": 7}\n')
        read_until(terminal, '"result": {')
        os.write(terminal, b"\x03")
        shown = read_all(terminal)
        assert process.wait(30) == 130
    assert "interrupted: 1 results" in shown
    assert "Traceback" not in shown


@needs_signals
def test_ctrl_d_ends_the_inputs_and_all_is_well():
    with at_terminal("run", "local/echo") as (process, terminal):
        read_until(terminal, "Ctrl-D ends them")
        os.write(terminal, b'{"n": 7}\n\x04')
        shown = read_all(terminal)
        assert process.wait(30) == 0
    assert "1 results, 0 failed" in shown
