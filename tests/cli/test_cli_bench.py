"""`fal-realtime bench`: a load on some connections, and the figures of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from command_line import at_terminal, read_all, started

from fal_realtime import cli
from fal_realtime.testing import LocalServer


def test_the_load_is_measured_against_a_server_in_a_process_of_its_own(capsys):
    assert cli.main(["bench", "--connections", "3", "--size", "100", "--seconds", "0.3", "--json"]) == 0
    out, err = capsys.readouterr()
    seen = json.loads(out)
    assert err == ""
    assert (seen["app"], seen["connections"], seen["failed"], seen["errors"]) == ("local/echo", 3, 0, {})
    assert seen["requests"] >= 3
    assert seen["rate"] == pytest.approx(seen["requests"] / seen["seconds"], rel=0.05)
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]
    assert seen["cpu_us_per_request"] > 0


def test_the_load_is_what_it_says(capsys, monkeypatch):
    with LocalServer() as server:
        monkeypatch.setenv("FAL_KEY", server.key)
        seen = []

        @server.app("me/app")
        def handler(message):
            seen.append(message)
            return {"request_id": message["request_id"]}

        where = ["me/app", "--base-url", server.base_url, "--seconds", "0.2"]
        assert cli.main(["bench", *where, "--connections", "2", "--size", "77"]) == 0
        assert {len(message["data"]) for message in seen} == {77}
        assert server.connections_total == 2
        seen.clear()
        assert cli.main(["bench", *where, "--input", '{"prompt": "a cat"}']) == 0
        assert {tuple(sorted(message)) for message in seen} == {("prompt", "request_id")}
    out = capsys.readouterr().out
    assert re.search(r"^requests +\d[\d,]* in 0\.\d s \([\d,.]+ a second\)$", out, re.MULTILINE)
    assert re.search(r"^latency +p50 [\d.]+ ms   p99 [\d.]+ ms$", out, re.MULTILINE)
    assert re.search(r"^CPU +[\d.]+ us a request \(\d+ % of one core\), this process$", out, re.MULTILINE)


def test_requests_that_fail_are_counted_with_their_reasons(capsys, monkeypatch):
    with LocalServer() as server:
        monkeypatch.setenv("FAL_KEY", server.key)
        count = 0

        @server.app("me/app")
        def handler(message):
            nonlocal count
            count += 1
            if count == 3:
                message = "no"
                raise ValueError(message)
            return {"request_id": message["request_id"]}

        assert cli.main(["bench", "me/app", "--base-url", server.base_url, "--seconds", "0.5", "--json"]) == 1
    seen = json.loads(capsys.readouterr().out)
    assert (seen["failed"], seen["errors"]) == (1, {"RealtimeError: INTERNAL_ERROR: no": 1})


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_ends_it_and_its_server():
    with at_terminal("bench", "--seconds", "1000", stdout=subprocess.DEVNULL) as (process, terminal):
        shown = b""
        while b"a second" not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        rest = read_all(terminal)  # which ends when its server, that has the terminal too, has ended
        assert process.wait(30) == 130
    assert "Traceback" not in rest


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_its_server_ends_with_it_even_if_it_is_killed():
    with started("bench", "--seconds", "1000", "--connections", "1") as process:
        process.send_signal(signal.SIGTERM)
        # Its stderr is that of the server, too: it ends when both have ended.
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGTERM
