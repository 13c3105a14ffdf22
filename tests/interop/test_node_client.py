"""The real `@fal-ai/client`, on Node, against the local server: what fal's own client understands is the protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fal_realtime.testing import LocalServer

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[1] / "node" / "session.mjs"
PATIENCE = 60.0
"""Seconds; longer than the script's own, so that a session that hangs says what it saw."""


@pytest.fixture(autouse=True, scope="module")
def _node_and_its_packages() -> None:
    packages = SCRIPT.parent / "node_modules"
    missing = [name for name in ("@fal-ai/client", "ws") if not (packages / name).is_dir()]
    if NODE is None or missing:
        what = (
            "node is not on the PATH" if NODE is None else f"{', '.join(missing)} missing (npm ci --prefix tests/node)"
        )
        pytest.skip(f"NOT TESTED against the real @fal-ai/client: {what}")


def run_session(server: LocalServer | SimpleNamespace, app: str, inputs: list[Any], **plan: Any) -> dict[str, Any]:
    """What the client saw; the plan is described in `session.mjs`."""
    whole = {
        "rest": server.rest_url,
        "realtime": server.base_url,
        "credentials": server.key,
        "app": app,
        "options": {},
        "inputs": inputs,
        "results": len(inputs),
        "errors": 0,
        **plan,
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, str(SCRIPT), json.dumps(whole, default=_bytes_as_text)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"the session did not come to its end; it saw {done.stdout}\n{done.stderr}"
    seen: dict[str, Any] = json.loads(done.stdout, object_hook=_text_as_bytes)
    return seen


def _bytes_as_text(value: bytes) -> dict[str, str]:
    return {"$bytes": base64.b64encode(value).decode()}


def _text_as_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if value.keys() == {"$bytes"} else value


# --- authentication ---


@pytest.mark.parametrize("token_form", ["string", "detail"])
def test_it_gets_a_token_at_our_endpoint_and_its_messages_come_back(token_form: Any) -> None:
    inputs = [
        {"n": 0, "prompt": "ein Käfer", "seed": 2**40, "strength": 0.5, "safe": False, "mask": None},
        {"n": 1, "image_bytes": bytes(range(256)) * 200},
        {"n": 2, "nested": {"list": [1, [2, {"three": 3}]]}},
    ]
    with LocalServer(token_form=token_form) as server:
        seen = run_session(server, "local/echo", inputs)
        [mint] = server.mints
        [handshake] = server.requests
        assert server.messages_received == len(inputs)
    assert seen["results"] == inputs
    assert seen["dialled"] == ["wss://fal.run/local/echo/realtime"]
    assert (mint.path, mint.status) == ("/tokens/", 200)
    assert mint.body == {"allowed_apps": ["echo"], "token_expiration": 120}
    assert (handshake.path, handshake.credential, handshake.status) == ("/local/echo/realtime", "token", 101)


def test_the_path_and_max_buffering_that_it_dials_are_understood() -> None:
    with LocalServer() as server:
        server.serve_builtin("local/studio/custom/path", "echo")
        options = {"path": "/custom/path", "maxBuffering": 3}
        seen = run_session(server, "local/studio", [{"n": 0}], options=options)
        [handshake] = server.requests
    assert seen["results"] == [{"n": 0}]
    assert (handshake.path, handshake.query) == ("/local/studio/custom/path", {"max_buffering": "3"})


def test_a_token_that_was_not_issued_here_is_refused_at_the_handshake() -> None:
    with LocalServer() as server:
        seen = run_session(server, "local/echo", [{"n": 0}], token="made.up.token", results=0, errors=2)
        assert [handshake.status for handshake in server.requests] == [401]
        assert server.mint_requests == 0
    # A failed handshake has no details in the browser's API, nor here: an error event, then an abnormal close.
    assert [error["status"] for error in seen["errors"][:2]] == [500, 1006]


def test_a_refusal_in_band_is_no_result_and_ends_with_a_policy_violation() -> None:
    with LocalServer(refuse_in_band=True) as server:
        seen = run_session(server, "local/echo", [{"n": 0}], token="made.up.token", results=0, errors=1)
    assert seen["results"] == []
    assert [error["status"] for error in seen["errors"]] == [1008]


# --- results and control messages ---


def test_an_image_comes_as_the_bytes_of_a_jpeg() -> None:
    with LocalServer() as server:
        seen = run_session(server, "local/image", [{"prompt": "a cat", "width": 256, "height": 128, "size": 60_000}])
    [image] = seen["results"][0]["images"]
    assert (image["content_type"], image["width"], image["height"]) == ("image/jpeg", 256, 128)
    assert len(image["content"]) == 60_000
    assert image["content"][:3] == b"\xff\xd8\xff"


def test_timings_are_told_apart_from_results() -> None:
    inputs = [{"n": n} for n in range(5)]
    with LocalServer(emit_timings=True) as server:
        seen = run_session(server, "local/echo", inputs)
        assert server.messages_sent >= 2 * len(inputs) - 1  # the last timing may find the socket closed
    assert seen["results"] == inputs


def test_a_stream_gives_all_its_results_and_its_end_is_no_error() -> None:
    with LocalServer() as server:
        seen = run_session(server, "local/stream", [{"count": 4}], results=4, until_closed=True)
    assert [result["index"] for result in seen["results"]] == [0, 1, 2, 3]
    assert (seen["closeCode"], seen["errors"]) == (1000, [])


def test_an_idle_session_ends_without_an_error() -> None:
    with LocalServer(session_timeout=0.3) as server:
        seen = run_session(server, "local/echo", [{"n": 0}], until_closed=True)
    assert seen["results"] == [{"n": 0}]
    assert (seen["closeCode"], seen["errors"]) == (1000, [])


def test_an_app_that_raises_reaches_its_error_callback_with_the_reason() -> None:
    with LocalServer() as server:

        @server.app("local/broken")
        async def broken(message: dict[str, Any]) -> dict[str, Any]:
            raise ValueError(message["why"])

        seen = run_session(server, "local/broken", [{"why": "out of memory"}], results=0, errors=1)
    error = seen["errors"][0]
    assert (error["message"], error["status"]) == ("INTERNAL_ERROR: out of memory", 400)
    assert error["body"] == {"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "out of memory"}


# --- a server in a process of its own ---


@pytest.mark.parametrize("latency", ["0", "20"])
def test_it_talks_to_the_server_that_the_command_line_starts(latency: str) -> None:
    arguments = ["serve", "--port", "0", "--json", "--app", "fal-ai/some-app=echo", "--latency", latency]
    with subprocess.Popen([sys.executable, "-m", "fal_realtime", *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            inputs = [{"n": 0, "image_bytes": bytes(range(256))}, {"n": 1}]
            server = SimpleNamespace(rest_url=where["rest_url"], base_url=where["base_url"], key=where["key"])
            seen = run_session(server, "fal-ai/some-app", inputs)
        finally:
            process.terminate()
    assert seen["results"] == inputs
    assert process.returncode == 0


def test_it_meets_the_faults_that_the_command_line_sets_off() -> None:
    arguments = ["serve", "--port", "0", "--json", "--control", "--cold-start", "0.2"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-m", "fal_realtime", *arguments], **pipes) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            process.stdin.write("close-after 2 1011 broken app=local/stream\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"ok": True}
            server = SimpleNamespace(rest_url=where["rest_url"], base_url=where["base_url"], key=where["key"])
            seen = run_session(server, "local/stream", [{"count": 5}], results=2, errors=1, until_closed=True)
        finally:
            process.terminate()
    assert [result["index"] for result in seen["results"]] == [0, 1]
    assert (seen["closeCode"], [error["status"] for error in seen["errors"]]) == (1011, [1011])


# --- faults ---


def test_it_sees_what_came_before_the_close_that_a_test_wants_and_its_code() -> None:
    with LocalServer() as server:
        server.close_after(2, 1011, "broken")
        seen = run_session(server, "local/stream", [{"count": 5}], results=2, errors=1, until_closed=True)
    assert [result["index"] for result in seen["results"]] == [0, 1]
    assert (seen["closeCode"], [error["status"] for error in seen["errors"]]) == (1011, [1011])


def test_it_waits_for_an_app_that_is_cold() -> None:
    with LocalServer() as server:
        server.cold_start(0.5)
        seen = run_session(server, "local/echo", [{"n": 0}, {"n": 1}])
        assert server.connections_total == 1
    assert seen["results"] == [{"n": 0}, {"n": 1}]


def test_it_is_refused_with_the_status_that_a_test_wants() -> None:
    with LocalServer() as server:
        server.refuse(429, retry_after=1, count=1, app="local/echo")
        seen = run_session(server, "local/echo", [{"n": 0}], results=0, errors=2)
        assert [handshake.status for handshake in server.requests] == [429]
    assert [error["status"] for error in seen["errors"][:2]] == [500, 1006]
