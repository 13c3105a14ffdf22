"""`python -m fal_realtime demo`: what it shows, how it ends, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from command_line import read_all

from fal_realtime import RealtimeClient, _client, cli
from fal_realtime.testing import LocalServer

DEMO = [sys.executable, "-m", "fal_realtime", "demo"]
SUMMARY = ["frames sent", "results", "coalesced", "dropped", "bytes", "latency"]


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=40, check=False)


def rows(summary: str) -> dict[str, str]:
    """The summary by the names of its lines."""
    return {line[:12].strip(): line[12:].strip() for line in summary.splitlines()}


@pytest.mark.usefixtures("no_key")
def test_the_demo_needs_no_account_and_shows_progress_and_a_summary():
    ran = demo("--frames", "120", "--fps", "80")
    assert ran.returncode == 0
    summary = rows(ran.stdout)
    assert list(summary) == SUMMARY
    assert summary["frames sent"].startswith("120 in ")
    assert summary["results"].startswith("120 (")
    assert summary["coalesced"].startswith("0 ")
    assert summary["dropped"] == "0 here, 0 not answered by the server"
    latency = re.fullmatch(r"p50 (\d+\.\d\d) ms   p99 (\d+\.\d\d) ms", summary["latency"])
    assert latency
    assert 0 < float(latency[1]) <= float(latency[2])
    progress = ran.stderr.splitlines()
    assert progress[0] == "120 frames at 80 a second to local/image on a server embedded in this process"
    # It took 1.5 s: once in a second, and at the end.
    assert len(progress) >= 3
    counts = [
        int(re.match(r"(\d+)/120 results  \d+ sent  0 coalesced  0 dropped  p50 ", line)[1]) for line in progress[1:]
    ]
    assert counts == sorted(counts)
    assert counts[-1] == 120


def test_what_the_throttle_replaces_is_counted_as_coalesced():
    summary = rows(demo("--frames", "60", "--fps", "200", "--throttle", "100", "--size", "0").stdout)
    results, coalesced = (int(summary[name].split()[0]) for name in ("results", "coalesced"))
    assert results + coalesced == 60
    assert coalesced > results > 1


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--app", "fal-ai/fast-lcm-diffusion"], 2, "what to do: set FAL_KEY to a key"),
        (["--frames", "0"], 2, "--frames: must be at least 1"),
        (["--fps", "nan"], 2, "--fps: must be greater than 0"),
        (["--size", "-1"], 2, "--size: must be at least 0"),
        (["--throttle", "fast"], 2, "--throttle: invalid number value: 'fast'"),
        (["--app", "local/nothing"], 1, "what to do: check the app id 'local/nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("no_key")
def test_what_cannot_be_done_is_said_in_one_line_without_a_traceback(arguments: list[str], status: int, text: str):
    ran = demo(*arguments)
    assert ran.returncode == status
    assert re.search(text, ran.stderr.splitlines()[-1])
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr


def test_with_a_key_and_an_app_it_goes_to_fal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FAL_KEY", "test-key")
    with LocalServer() as server:
        server.serve_builtin("fal-ai/fast-lcm-diffusion", "echo")
        monkeypatch.setattr(_client, "RealtimeClient", lambda **_: fal(server))
        assert cli.main(["demo", "--app", "fal-ai/fast-lcm-diffusion", "--frames", "5", "--fps", "1000"]) == 0
        assert [seen.path for seen in server.requests] == ["/fal-ai/fast-lcm-diffusion/realtime"]
        assert server.tokens_minted == 1
    shown = capsys.readouterr()
    assert "to fal-ai/fast-lcm-diffusion on fal" in shown.err
    assert rows(shown.out)["results"].startswith("5 (")


def fal(server: LocalServer) -> RealtimeClient:
    """A client that has its key from the environment, as one for fal."""
    return RealtimeClient(base_url=server.base_url, rest_url=server.rest_url)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_ends_it_with_status_130_and_no_traceback():
    process = subprocess.Popen([*DEMO, "--frames", "100000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()  # what it is about to do
    process.stderr.readline()  # the first progress: the session is under way
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in rest


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
@pytest.mark.parametrize("with_rich", [True, False], ids=["rich", "plain"])
def test_on_a_terminal_the_progress_is_redrawn_in_place(with_rich: bool):
    program = "import sys\n" + ("" if with_rich else "sys.modules['rich'] = None\n")
    program += "from fal_realtime.cli import main\nsys.exit(main(['demo', '--frames', '60', '--fps', '100']))"
    terminal, ours = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen([sys.executable, "-c", program], stderr=ours, stdout=subprocess.PIPE, env=environment) as ran:
        os.close(ours)
        shown = read_all(terminal)
        assert ran.stdout is not None
        summary = ran.stdout.read().decode()
    assert ran.returncode == 0
    assert rows(summary)["results"].startswith("60 (")
    redrawn = re.findall(r"(\d+)/60", shown)
    assert len(set(redrawn)) > 2
    assert redrawn[-1] == "60"
    # "Carriage return", or with rich "cursor up" or "erase the line" (ECMA-48).
    assert shown.count("\r") > shown.count("\n") or "\x1b[2K" in shown


@pytest.mark.usefixtures("no_key")
def test_programs_get_the_figures_as_json(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["demo", "--frames", "20", "--fps", "1000", "--size", "0", "--json"]) == 0
    shown = capsys.readouterr()
    seen = json.loads(shown.out)
    assert (seen["sent"], seen["results"], seen["dropped"]) == (20, 20, 0)
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]
    assert shown.err == ""
