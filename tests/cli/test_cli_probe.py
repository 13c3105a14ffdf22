"""`fal-realtime probe`: each step with its time, and what is wrong where one fails."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from fal_realtime import HandshakeError, cli
from fal_realtime.cli._diagnosis import Stage, verdict
from fal_realtime.cli._proxy import proxy_for
from fal_realtime.testing import LocalServer

STEPS = ["name lookup", "TCP", "token", "handshake", "first result", "second result", "ping"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    with LocalServer() as running:
        monkeypatch.setenv("FAL_KEY", running.key)
        yield running


def probed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict], dict]:
    """The exit status, the steps, and the verdict."""
    status = cli.main(["probe", *arguments, "--json"])
    *steps, found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return status, steps, found


def test_all_steps_to_an_app_are_shown_with_their_times(capsys):
    status, steps, found = probed(capsys)
    assert status == 0
    assert [step["stage"] for step in steps] == STEPS
    assert all(step["ok"] and step["seconds"] >= 0 for step in steps)
    assert found["ok"]
    assert found["verdict"].startswith("the app local/echo works")


def test_a_person_is_shown_the_same_in_lines(capsys):
    assert cli.main(["probe"]) == 0
    first, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("local/echo at ws://127.0.0.1:")
    assert [row[2:16].strip() for row in rows if row.startswith("  ")] == STEPS
    assert "works" in last or "works" in rows[-1]  # on a slow machine it may have been cold


def test_without_an_input_nothing_is_sent(server, capsys):
    status, steps, found = probed(capsys, "local/echo", "--no-input", "--base-url", server.base_url)
    assert status == 0
    assert [step["stage"] for step in steps] == [*STEPS[:4], "ping"]
    assert server.messages_received == 0
    assert "can be reached" in found["verdict"]


def test_an_app_that_had_to_start_first_is_told_from_one_that_is_warm(server, capsys):
    server.handshake_delay(1.5)
    status, _, found = probed(capsys, "local/echo", "--base-url", server.base_url)
    assert status == 0
    assert found["cold_start"] > 1
    assert "it was cold" in found["verdict"]
    assert "before the handshake was answered" in found["verdict"]


def test_what_the_first_result_takes_longer_than_the_second_is_a_cold_start_too():
    before = [Stage("TCP", 0.01), Stage("TLS", 0.02), Stage("token", 0.1), Stage("handshake", 0.2)]
    cold = verdict("me/app", [*before, Stage("first result", 8.0), Stage("second result", 0.5), Stage("ping", 0.01)])
    assert cold.cold_start == 7.5
    assert "before the first result" in cold.what
    assert "a warm result takes 500 ms" in cold.what
    slow = verdict("me/app", [*before, Stage("first result", 8.0), Stage("second result", 7.9), Stage("ping", 0.01)])
    assert slow.cold_start == 0


def test_tls_is_a_step_and_says_why_a_certificate_is_not_accepted(capsys, monkeypatch):
    with LocalServer(tls=True) as server:
        monkeypatch.setenv("FAL_KEY", server.key)
        where = ["local/echo", "--base-url", server.base_url]
        status, steps, _ = probed(capsys, *where, "--ca", str(server.ca_file))
        assert status == 0
        assert [step["stage"] for step in steps] == [*STEPS[:2], "TLS", *STEPS[2:]]
        assert steps[2]["detail"].startswith("TLSv1.")
        status, steps, found = probed(capsys, *where)
    assert status == 1
    assert (steps[-1]["stage"], steps[-1]["ok"]) == ("TLS", False)
    assert "certificate" in found["verdict"]
    assert "--ca" in found["advice"]


def test_a_name_that_nobody_knows_is_the_first_step_that_fails(capsys, monkeypatch):
    monkeypatch.setenv("FAL_KEY", "some:key")
    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    status, steps, found = probed(capsys, "me/app", "--base-url", "wss://nowhere.invalid")
    assert status == 1
    assert [(step["stage"], step["ok"]) for step in steps] == [("name lookup", False)]
    assert "nowhere.invalid" in found["verdict"]
    assert "name servers" in found["advice"]


def nobody_knows(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_token_endpoint_that_fails_is_the_step_that_fails(server, capsys):
    server.mint_failures(100)
    status, steps, found = probed(capsys, "local/echo", "--base-url", server.base_url)
    assert status == 1
    assert (steps[-1]["stage"], steps[-1]["ok"]) == ("token", False)
    assert "503" in found["verdict"]
    assert "try again" in found["advice"]


def test_a_refused_handshake_is_the_step_that_fails(server, capsys):
    server.refuse(503)
    status, steps, found = probed(capsys, "local/echo", "--base-url", server.base_url)
    assert status == 1
    assert (steps[-1]["stage"], steps[-1]["ok"]) == ("handshake", False)
    assert "the app does not take the connection" in found["verdict"]
    assert "503" in found["verdict"]


def test_an_app_that_answers_with_an_error_works_but_not_with_this_input(server, capsys):
    @server.app("me/app")
    def handler(message):
        raise ValueError(message)

    status, steps, found = probed(capsys, "me/app", "--base-url", server.base_url)
    assert status == 1
    assert (steps[-1]["stage"], steps[-1]["ok"]) == ("first result", False)
    assert "INTERNAL_ERROR" in found["verdict"]
    assert "look at the input" in found["advice"]


def test_an_app_that_does_not_answer_ends_in_time(server, capsys):
    @server.app("me/app")
    def handler(message):
        return {"answer": "to nobody's request"}

    status, steps, found = probed(capsys, "me/app", "--base-url", server.base_url, "--timeout", "0.5")
    assert status == 1
    assert steps[-1]["stage"] == "first result"
    assert "give it more time" in found["advice"]


def test_a_proxy_of_the_environment_is_what_the_first_steps_lead_to(capsys, monkeypatch, nobody):
    monkeypatch.setenv("FAL_KEY", "some:key")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{nobody}")
    status, steps, found = probed(capsys, "me/app", "--base-url", "wss://app.invalid")
    assert status == 1
    assert [(step["stage"], step["ok"]) for step in steps] == [("name lookup", True), ("TCP", False)]
    assert steps[1]["detail"] == f"the proxy 127.0.0.1:{nobody}"
    assert "password" not in str(steps) + str(found)


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://me:secret@proxy.example:3128"}, "wss://fal.run", ("proxy.example", 3128)),
        ({"HTTPS_PROXY": "a:1", "WSS_PROXY": "b:2", "ws_proxy": "c:3"}, "wss://fal.run", ("b", 2)),
        ({"HTTPS_PROXY": "a:1", "WSS_PROXY": "b:2", "ws_proxy": "c:3"}, "ws://fal.run", ("c", 3)),
        ({"HTTP_PROXY": "a:1"}, "wss://fal.run", None),
        ({"SOCKS_PROXY": "http://a"}, "wss://fal.run", ("a", 1080)),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "other, .run"}, "wss://fal.run", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "fal.run:80,*.al.run"}, "wss://fal.run", ("a", 1)),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "127.0.0.0/8"}, "ws://127.0.0.1:8765", None),
    ],
    ids=str,
)
def test_the_proxy_is_that_which_a_connection_takes(variables, url, proxy, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    parts = urlsplit(url)
    assert proxy_for(parts, parts.port or 443) == proxy


@pytest.mark.parametrize("name", ["WS_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize(
    "address",
    [
        "http://user:hidden/pw@127.0.0.1:3128",
        "http://user:4711/hidden@127.0.0.1:3128",
        "http://user:hid#den@127.0.0.1:3128",
        "http://127.0.0.1:3128:user:hidden",
        "http://user:hidden\u2100@127.0.0.1:3128",
        "http://user:hidden[@127.0.0.1:3128",
        "user:hidden",
        "http://",
    ],
)
def test_what_is_no_address_of_a_proxy_is_named_by_its_variable_and_not_shown(name, address, capsys, monkeypatch):
    monkeypatch.setenv("FAL_KEY", "some:key")
    monkeypatch.setenv(name, address)
    assert cli.main(["probe", "me/app", "--base-url", "ws://app.invalid", "--allow-cleartext"]) == 2
    shown = "".join(capsys.readouterr())
    assert f"{name} must be the address of a proxy, scheme://[user:password@]host[:port]" in shown
    assert f"what to do: correct the variable {name} (or {name.lower()}), or unset it" in shown
    assert not [part for part in ("hid", "4711", "pw") if part in shown]


def test_each_step_that_can_fail_has_its_sentence():
    for name in ("token", "handshake", "first result", "second result", "ping"):
        found = verdict("me/app", [Stage(name, 1.0, "", HandshakeError("no", 403))])
        assert not found.ok
        assert found.what.endswith("HandshakeError: no")
        assert found.advice
