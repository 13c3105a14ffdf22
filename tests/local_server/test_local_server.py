"""The embedded server, seen by independent clients: `websockets`, `urllib` and the real `fal_client`."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import fal_client
import fal_client.client
import msgpack
import pydantic
import pytest
from support import LIMIT
from support.native_threads import statuses
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from fal_realtime.testing import Handshake, LocalServer

pytest_plugins = ["pytester"]

TIMEOUT = {"type": "x-fal-error", "error": "TIMEOUT", "reason": "no inputs, reconnect when needed!"}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


def trust(server: LocalServer) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=server.ca_file) if server.ca_file else None


@asynccontextmanager
async def opened(
    server: LocalServer, app: str = "local/echo/realtime", *, token: str | None = None, query: str = "", **more: str
) -> AsyncIterator[ClientConnection]:
    """A connection of `websockets`, with the key unless a token is given."""
    headers = more if token is not None else {"Authorization": f"Key {server.key}", **more}
    query = f"?fal_jwt_token={token}" if token is not None else query
    async with connect(
        f"{server.base_url}/{app}{query}", additional_headers=headers, ssl=trust(server), max_size=None, proxy=None
    ) as socket:
        yield socket


async def talk(socket: ClientConnection, *inputs: object) -> list[Any]:
    """Sends the inputs, gives all that comes until the server closes, its close code last."""
    for item in inputs:
        await socket.send(item if isinstance(item, (str, bytes)) else msgpack.packb(item))
    answers: list[Any] = []
    try:
        while True:
            answers.append(await recv(socket))
    except ConnectionClosed as closed:
        answers.append(closed.rcvd.code if closed.rcvd else 1006)
    return answers


async def recv(socket: ClientConnection) -> Any:
    answer = await asyncio.wait_for(socket.recv(), 60)
    return json.loads(answer) if isinstance(answer, str) else msgpack.unpackb(answer)


async def ask(socket: ClientConnection, item: object) -> Any:
    await socket.send(msgpack.packb(item))
    return await recv(socket)


def internal_error(reason: str) -> dict[str, str]:
    return {"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": reason}


def post(server: LocalServer, path: str, body: object, **headers: str) -> Any:
    request = urllib.request.Request(
        server.rest_url + path,
        json.dumps(body).encode(),
        {name.replace("_", "-"): value for name, value in headers.items()},
    )
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust(server))
    )
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)


def mint(server: LocalServer, *apps: str, seconds: float = 60) -> Any:
    body = {"allowed_apps": apps or ["echo"], "token_expiration": seconds}
    return post(server, "/tokens/", body, Authorization=f"Key {server.key}")


def status_of(error: pytest.ExceptionInfo[InvalidStatus]) -> int:
    return error.value.response.status_code


class TestTokens:
    async def test_a_token_opens_its_app(self, server: LocalServer) -> None:
        async with opened(server, token=mint(server)) as socket:
            assert await ask(socket, {"a": 1}) == {"a": 1}
        assert server.tokens_minted == server.mint_requests == 1

    async def test_a_token_opens_no_other_app(self, server: LocalServer) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, "local/image", token=mint(server, "echo")):
                pass
        assert status_of(refused) == 401

    async def test_a_token_expires(self, server: LocalServer) -> None:
        token = mint(server, seconds=0.2)
        async with opened(server, token=token):
            pass
        await asyncio.sleep(0.25)
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, token=token):
                pass
        assert status_of(refused) == 401

    async def test_all_tokens_can_be_made_to_expire(self, server: LocalServer) -> None:
        token = mint(server)
        server.expire_tokens()
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, token=token):
                pass
        assert status_of(refused) == 401
        async with opened(server, token=mint(server)):
            pass

    def test_a_wrong_key_mints_nothing(self, server: LocalServer) -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, "/tokens/", {"allowed_apps": ["echo"]}, Authorization="Key wrong")
        assert refused.value.code == 401
        with refused.value:
            assert json.load(refused.value) == {"detail": "Authentication is required"}
        assert (server.tokens_minted, server.mint_requests) == (0, 1)

    def test_a_body_that_is_no_token_request_is_refused(self, server: LocalServer) -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, "/tokens/", {"apps": ["echo"]}, Authorization=f"Key {server.key}")
        assert refused.value.code == 422
        refused.value.close()

    @pytest.mark.parametrize("form", ["string", "detail", "token"])
    async def test_the_answer_has_the_form_asked_for(self, form: Any) -> None:
        with LocalServer(token_form=form) as server:
            answer = mint(server)
            token = answer if form == "string" else answer[form]
            async with opened(server, token=token) as socket:
                assert await ask(socket, {}) == {}

    async def test_the_newer_endpoint_takes_whole_paths_and_a_duration(self, server: LocalServer) -> None:
        body = {"allowed_apps": ["local/echo/realtime"], "duration": 60}
        token = post(server, "/tokens/realtime", body, Authorization=f"Key {server.key}")
        async with opened(server, token=token) as socket:
            assert await ask(socket, {}) == {}

    def test_as_a_proxy_it_adds_the_key_and_records_the_target(self, server: LocalServer) -> None:
        target = "https://rest.fal.ai/tokens/"
        body = {"allowed_apps": ["echo"], "token_expiration": 120}
        post(server, "/api/fal/proxy", body, x_fal_target_url=target)
        mint(server)
        assert [(seen.path, seen.target_url, seen.status) for seen in server.mints] == [
            ("/api/fal/proxy", target, 200),
            ("/tokens/", None, 200),
        ]
        assert server.mints[0].body == body

    @pytest.mark.parametrize(
        ("target", "told"),
        [
            ("https://user:hidden@h.invalid:8443/tokens/?t=hidden#hidden", "https://h.invalid:8443/tokens/"),
            ("https://[hidden", ""),
        ],
    )
    def test_a_target_is_recorded_without_secrets(self, server: LocalServer, target: str, told: str) -> None:
        post(server, "/api/fal/proxy", {"allowed_apps": ["echo"], "token_expiration": 120}, x_fal_target_url=target)
        assert [seen.target_url for seen in server.mints] == [told]

    def test_token_requests_fail_as_often_as_told(self, server: LocalServer) -> None:
        server.mint_failures(2, 503)
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as failed:
                mint(server)
            assert failed.value.code == 503
            failed.value.close()
        assert mint(server)
        assert [seen.status for seen in server.mints] == [503, 503, 200]

    def test_a_token_request_can_go_unanswered(self, server: LocalServer) -> None:
        server.mint_failures(1, None)
        with pytest.raises(OSError, match=r"(?i)closed|reset"):
            mint(server)
        assert mint(server)

    def test_token_requests_can_be_delayed(self, server: LocalServer) -> None:
        server.mint_delay(0.2)
        started = time.monotonic()
        mint(server)
        assert time.monotonic() - started >= 0.2


class TestHandshake:
    async def test_the_key_in_the_header_is_enough(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            assert await ask(socket, {"a": 1}) == {"a": 1}

    @pytest.mark.parametrize("token", ["", "wrong"])
    async def test_a_bad_token_is_refused(self, server: LocalServer, token: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, token=token):
                pass
        assert status_of(refused) == 401
        assert server.connections_total == 0

    async def test_a_bad_token_can_be_refused_in_band(self) -> None:
        with LocalServer(refuse_in_band=True) as server:
            async with opened(server, token="wrong") as socket:
                assert await talk(socket) == [{"status": "error", "error": "Unauthorized"}, 1008]

    async def test_an_unknown_app_is_refused(self, server: LocalServer) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, "local/nothing"):
                pass
        assert status_of(refused) == 404

    async def test_an_unknown_route_of_an_app_is_refused_as_by_uvicorn(self, server: LocalServer) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, "local/echo/nothing"):
                pass
        assert status_of(refused) == 403
        assert refused.value.response.body == b""

    @pytest.mark.parametrize("number", ["0", "61", "x"])
    async def test_max_buffering_must_be_from_1_to_60(self, server: LocalServer, number: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, query=f"?max_buffering={number}"):
                pass
        assert status_of(refused) == 400

    async def test_handshakes_are_refused_as_told(self, server: LocalServer) -> None:
        server.refuse(503)
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server):
                pass
        assert status_of(refused) == 503
        server.refuse(None)
        async with opened(server):
            pass

    async def test_handshakes_can_be_delayed(self, server: LocalServer) -> None:
        server.handshake_delay(0.2)
        started = time.monotonic()
        async with opened(server):
            assert time.monotonic() - started >= 0.2

    async def test_handshakes_are_recorded_without_secrets(self, server: LocalServer) -> None:
        token = mint(server)
        async with opened(server, token=f"{token}&max_buffering=3&a=b%20c"):
            pass
        hidden = dict.fromkeys(("X-Api-Key", "X-Auth-Token", "Proxy-Authorization", "Cookie", "Set-Cookie"), "hidden")
        async with opened(server, **hidden):
            pass
        with_token, with_key = server.requests
        assert (with_token.path, with_token.status) == ("/local/echo/realtime", 101)
        assert with_token.query == {"max_buffering": "3", "a": "b c"}
        assert (with_token.credential, with_key.credential) == ("token", "key")
        assert with_token.headers["user-agent"].startswith("Python")
        shown = repr(server.requests)
        assert not [secret for secret in (token, server.key, "hidden") if secret in shown]

    def test_what_is_neither_is_not_found(self, server: LocalServer) -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(server, "/local/echo", {})
        assert refused.value.code == 404
        refused.value.close()

    def test_an_upgrade_that_is_no_websocket_handshake_is_refused(self, server: LocalServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as tcp:
            tcp.sendall(b"GET /local/echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert tcp.recv(100).startswith(b"HTTP/1.1 400 ")


class TestBuiltinApps:
    async def test_echo_returns_each_input_in_order(self, server: LocalServer) -> None:
        inputs = [{"i": i, "request_id": str(i), "data": b"x" * i * 100} for i in range(300)]
        async with opened(server) as socket:
            for item in inputs:
                await socket.send(msgpack.packb(item))
            assert [await recv(socket) for _ in inputs] == inputs
        assert server.messages_received == server.messages_sent == 300

    async def test_echo_takes_ten_megabytes(self, server: LocalServer) -> None:
        item = {"data": os.urandom(10_000_000)}
        async with opened(server) as socket:
            assert await ask(socket, item) == item

    async def test_echo_waits_as_long_as_told_and_answers_in_order(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            started = time.monotonic()
            await socket.send(msgpack.packb({"i": 0, "delay": 0.2}))
            assert await ask(socket, {"i": 1}) == {"i": 0, "delay": 0.2}
            assert time.monotonic() - started >= 0.2
            assert await recv(socket) == {"i": 1}

    async def test_image_answers_in_the_shape_of_fals_image_apps(self, server: LocalServer) -> None:
        async with opened(server, "local/image") as socket:
            item = {"prompt": "a cat", "seed": 7, "num_inference_steps": 4, "request_id": "r", "delay": 0.01}
            result = await ask(socket, item)
        (image,) = result.pop("images")
        assert result == {
            "request_id": "r",
            "timings": {"inference": 0.01},
            "seed": 7,
            "num_inference_steps": 4,
            "nsfw_content_detected": [False],
        }
        content = image.pop("content")
        assert image == {"content_type": "image/jpeg", "width": 512, "height": 512}
        assert 50_000 < len(content) < 75_000

    async def test_image_is_a_jpeg_of_the_dimensions_and_size_asked_for(self, server: LocalServer) -> None:
        async with opened(server, "local/image") as socket:
            first = await ask(socket, {"width": 64, "height": 32, "size": 100_000})
            second = await ask(socket, {"image_size": {"width": 48, "height": 80}})
        content = first["images"][0]["content"]
        assert len(content) == 100_000
        assert jpeg_dimensions(content) == (64, 32)
        assert jpeg_dimensions(second["images"][0]["content"]) == (48, 80)
        assert "request_id" not in first

    async def test_stream_answers_one_input_many_times_then_ends(self, server: LocalServer) -> None:
        async with opened(server, "local/stream") as socket:
            answers = await talk(socket, {"count": 2, "size": 5, "request_id": 1}, "never read")
        results = [{"index": i, "count": 2, "data": b".....", "request_id": 1} for i in range(2)]
        assert answers == [*results, TIMEOUT, 1000]

    async def test_stream_waits_between_results(self, server: LocalServer) -> None:
        async with opened(server, "local/stream") as socket:
            started = time.monotonic()
            assert len(await talk(socket, {"count": 4, "delay": 0.05})) == 6
            assert time.monotonic() - started >= 0.2

    async def test_a_stream_waits_for_a_client_that_does_not_read(self, server: LocalServer) -> None:
        async with opened(server, "local/stream") as socket:
            await socket.send(msgpack.packb({"count": 5_000, "size": 10_000}))
            await asyncio.sleep(0.3)
            assert server.messages_sent < 5_000
            assert len(await talk(socket)) == 5_002

    async def test_collect_answers_once(self, server: LocalServer) -> None:
        async with opened(server, "local/collect") as socket:
            answers = await talk(socket, {"a": 1}, {"a": 2}, {"final": True, "request_id": "r"})
        assert answers == [{"count": 3, "size": 4 + 4 + 21, "request_id": "r"}, TIMEOUT, 1000]

    async def test_bidi_answers_each_input_until_the_end(self, server: LocalServer) -> None:
        async with opened(server, "local/bidi") as socket:
            assert await ask(socket, {"a": 1}) == {"index": 0, "input": {"a": 1}}
            assert await ask(socket, {"a": 2}) == {"index": 1, "input": {"a": 2}}
            assert await talk(socket, {"end": True}) == [TIMEOUT, 1000]

    async def test_a_builtin_app_can_have_another_name_and_options(self, server: LocalServer) -> None:
        server.serve_builtin("fal-ai/fast-lcm-diffusion", "image", emit_timings=True)
        token = mint(server, "fast-lcm-diffusion")
        async with opened(server, "fal-ai/fast-lcm-diffusion/realtime", token=token) as socket:
            assert "images" in await ask(socket, {"prompt": "a cat"})
            assert (await recv(socket))["action"] == "timings"


def jpeg_dimensions(content: bytes) -> tuple[int, int]:
    """Width and height of the frame header, found by walking the file's segments."""
    assert (content[:2], content[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    height, width = (int.from_bytes(content[at + i : at + i + 2], "big") for i in (5, 7))
    return width, height


class TestProtocol:
    """What the real server, `fal.realtime`, was seen to do."""

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            ("text", "'bytes'"),
            (b"\x81\xa1", "Unpack failed: incomplete input"),
            (b"\x80\x80", "unpack(b) received extra data."),
            (b"\xc1", ""),
            (msgpack.packb({1: 2}), "int is not allowed for map key when strict_map_key=True"),
        ],
    )
    async def test_what_cannot_be_taken_ends_the_session(
        self, server: LocalServer, message: str | bytes, reason: str
    ) -> None:
        async with opened(server) as socket:
            assert await talk(socket, message) == [internal_error(reason), 1000]

    async def test_an_idle_session_times_out(self) -> None:
        with LocalServer(session_timeout=1.0) as server:
            async with opened(server) as socket:
                await asyncio.sleep(0.6)
                assert await ask(socket, {}) == {}
                await asyncio.sleep(0.6)
                assert await ask(socket, {}) == {}
                assert await talk(socket) == [TIMEOUT, 1000]

    async def test_what_takes_too_long_after_the_last_input_fails(self) -> None:
        with LocalServer(session_timeout=0.1) as server:
            async with opened(server) as socket:
                assert await talk(socket, {"delay": 5}) == [internal_error(""), 1000]

    async def test_a_full_buffer_drops_the_oldest_inputs_silently(self) -> None:
        with LocalServer(buffering=2) as server:
            async with opened(server) as socket:
                inputs: list[dict[str, Any]] = [{"i": 0, "delay": 1}, *({"i": i} for i in range(1, 8))]
                await socket.send(msgpack.packb(inputs[0]))
                await (await socket.ping())  # answered behind what came before it: the first input has been taken
                for item in inputs[1:]:
                    await socket.send(msgpack.packb(item))
                assert [await recv(socket) for _ in range(3)] == [inputs[0], inputs[6], inputs[7]]
                assert await ask(socket, {"i": 8}) == {"i": 8}

    async def test_max_buffering_does_not_limit_the_buffer_of_an_app(self) -> None:
        with LocalServer(session_timeout=0.3) as server:
            async with opened(server, query="?max_buffering=1") as socket:
                inputs = [{"i": i, "delay": 0.02} for i in range(8)]
                assert await talk(socket, *inputs) == [*inputs, TIMEOUT, 1000]

    async def test_without_buffering_nothing_is_dropped(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            for i in range(20):
                await socket.send(msgpack.packb({"i": i, "delay": 0.005}))
            assert [(await recv(socket))["i"] for _ in range(20)] == list(range(20))

    async def test_timings_follow_each_result(self) -> None:
        with LocalServer(emit_timings=True) as server:
            async with opened(server) as socket:
                await ask(socket, {"delay": 0.1})
                timings = await recv(socket)
        assert timings.keys() == {"type", "action", "timing"}
        assert (timings["type"], timings["action"]) == ("x-fal-message", "timings")
        assert 0.1 <= timings["timing"] < 1

    async def test_pings_are_answered_and_counted_while_an_input_is_processed(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            await socket.send(msgpack.packb({"delay": 1}))
            await asyncio.wait_for(await socket.ping(), 0.5)
        assert server.pings_received == 1

    async def test_a_message_that_is_too_large_ends_the_connection(self) -> None:
        with LocalServer(max_message_size=1000) as server:
            async with opened(server) as socket:
                assert (await talk(socket, {"data": bytes(2000)}))[-1] == 1009

    async def test_a_frame_against_the_rules_ends_the_connection(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            socket.transport.write(b"\x82\x01\x80")  # not masked
            assert (await talk(socket))[-1] == 1002

    def test_it_answers_while_a_thread_holds_the_gil(self, server: LocalServer) -> None:
        code = (
            "import sys; from websockets.sync.client import connect\n"
            "with connect(sys.argv[1], additional_headers={'Authorization': 'Key test-key'}, proxy=None) as socket:\n"
            "    for _ in range(100): socket.send(b'\\x80'); socket.recv()\n"
        )
        url = f"{server.base_url}/local/echo"
        child = subprocess.Popen([sys.executable, "-c", code, url])
        deadline = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < deadline:
            sum(range(20_000_000))  # one call into C that never gives the GIL up
        assert child.wait(timeout=60) == 0
        assert server.messages_sent == 100


class TestFaults:
    async def test_connections_can_be_reset(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            server.drop_connections()
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
        assert closed.value.rcvd is None
        assert isinstance(closed.value.__cause__, ConnectionResetError)
        await server.connections_reach(0)

    async def test_connections_can_end_without_a_close_frame(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            server.drop_connections(abrupt=False)
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
        assert closed.value.rcvd is None
        assert not isinstance(closed.value.__cause__, ConnectionResetError)

    async def test_connections_can_be_closed_with_a_code_and_reason(self, server: LocalServer) -> None:
        async with opened(server) as one, opened(server) as other:
            server.close_all(4000, "out of luck " * 20)
            for socket in (one, other):
                with pytest.raises(ConnectionClosedError) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4000
                assert closed.value.rcvd.reason == ("out of luck " * 20)[:123]

    async def test_raw_messages_can_be_sent(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            server.send(b"\xc1")
            server.send('{"type":"unheard of"}')
            assert await socket.recv() == b"\xc1"
            assert await socket.recv() == '{"type":"unheard of"}'

    async def test_a_paused_server_answers_nothing_until_it_resumes(self, server: LocalServer) -> None:
        async with opened(server) as socket:
            server.pause()
            await socket.send(msgpack.packb({"a": 1}))
            pong = await socket.ping()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(pong), 0.2)
            with socket_to(server) as tcp:
                tcp.settimeout(0.2)
                tcp.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with pytest.raises(TimeoutError):
                    tcp.recv(1)
            assert (server.messages_received, server.pings_received) == (0, 0)
            server.resume()
            assert await recv(socket) == {"a": 1}
            await asyncio.wait_for(pong, 60)

    async def test_a_paused_server_ends_no_session(self) -> None:
        with LocalServer(session_timeout=0.1) as server:
            async with opened(server) as socket:
                server.pause()
                await asyncio.sleep(0.2)
                assert server.messages_sent == 0
                server.resume()
                assert await talk(socket) == [TIMEOUT, 1000]

    async def test_a_server_that_does_not_listen_keeps_its_connections(self, server: LocalServer) -> None:
        async with opened(server) as before:
            server.stop_listening()
            with pytest.raises(ConnectionRefusedError):
                async with opened(server):
                    pass
            assert await ask(before, {"a": 1}) == {"a": 1}
            server.start_listening()
            async with opened(server) as after:
                assert await ask(after, {"b": 2}) == {"b": 2}

    @pytest.mark.parametrize(
        "misuse",
        [
            lambda server: server.refuse(200),
            lambda server: server.close_all(1005),
            lambda server: server.mint_failures(1, 99),
            lambda server: server.mint_delay(-1),
            lambda server: server.handshake_delay(float("nan")),
            lambda server: server.serve_builtin("local/x", "nothing"),
            lambda server: server.app("local/x", buffering=0)(handle),
            lambda server: server.app("local/x", kind="neither")(handle),
            lambda server: server.app("no-owner")(handle),
            lambda server: server.mint_failures(-1),
            lambda server: server.serve_builtin("local/x", "echo", buffering=-1),
        ],
    )
    def test_a_wrong_argument_is_a_value_error(self, server: LocalServer, misuse: Any) -> None:
        with pytest.raises(ValueError, match="must be"):
            misuse(server)

    @pytest.mark.parametrize(
        ("misuse", "error", "told"),
        [
            (lambda server: server.refuse("503"), TypeError, "status must be an HTTP status from 300 to 599, or None"),
            (lambda server: server.refuse(True), TypeError, "status must be an HTTP status from 300 to 599, or None"),
            (lambda server: server.refuse(-1), ValueError, "status must be an HTTP status from 300 to 599, not -1"),
            (lambda server: server.refuse(2**70), ValueError, "status must be an HTTP status from 300 to 599, not"),
            (lambda server: server.mint_failures(1, "503"), TypeError, "status must be an HTTP status"),
            (lambda server: server.close_all("1000"), TypeError, "code must be an int, not str"),
            (lambda server: server.close_all(-1), ValueError, "code must be from 0 to 65535, not -1"),
            (lambda server: server.wait_for_connections(-1), ValueError, "count must be .*, not -1"),
            (lambda server: server.wait_for_connections("1"), TypeError, "count must be an int, not str"),
        ],
    )
    def test_a_wrong_argument_is_named(self, server: LocalServer, misuse: Any, error: Any, told: str) -> None:
        with pytest.raises(error, match=told):
            misuse(server)

    @pytest.mark.parametrize("name", ["/own/alias", "own/alias/", "own/../alias", "own/alias?x=1", "own/älias"])
    def test_a_name_that_no_client_can_ask_for_is_refused(self, server: LocalServer, name: str) -> None:
        for serve in (lambda: server.app(name), lambda: server.serve_builtin(name, "echo")):
            with pytest.raises(ValueError, match=f"invalid app id .{re.escape(name[:9])}"):
                serve()


async def handle(item: dict[str, Any]) -> dict[str, Any]:
    return item


class TestCounting:
    async def test_open_and_total_connections_are_counted(self, server: LocalServer) -> None:
        async with opened(server), opened(server):
            await server.connections_reach(2)
        await server.connections_reach(0)
        assert (server.connections, server.connections_total) == (0, 2)

    def test_waiting_for_connections_ends_with_a_timeout(self, server: LocalServer) -> None:
        with pytest.raises(TimeoutError, match=r"0 connections are open after 0\.1 s, not 1"):
            server.wait_for_connections(1, timeout=0.1)

    async def test_a_thousand_connections_are_served_at_once(self, server: LocalServer) -> None:
        async def one(i: int) -> bool:
            async with opened(server) as socket:
                await both_sides_full.wait()
                return await ask(socket, {"i": i}) == {"i": i}

        both_sides_full = asyncio.Event()
        tasks = [asyncio.create_task(one(i)) for i in range(400)]
        await server.connections_reach(400, timeout=30)
        both_sides_full.set()
        assert all(await asyncio.gather(*tasks))


class TestHandlers:
    async def test_an_async_handler_answers_each_input(self, server: LocalServer) -> None:
        @server.app("local/upper")
        async def upper(item: dict[str, str]) -> dict[str, str]:
            await asyncio.sleep(0)
            return {"text": item["text"].upper()}

        async with opened(server, "local/upper/realtime") as socket:
            assert await ask(socket, {"text": "a"}) == {"text": "A"}
            assert await ask(socket, {"text": "b"}) == {"text": "B"}

    async def test_a_sync_handler_blocks_nobody_else(self, server: LocalServer) -> None:
        @server.app("local/slow")
        def slow(item: dict[str, Any]) -> dict[str, Any]:
            time.sleep(item["seconds"])
            return item

        async with opened(server, "local/slow") as one, opened(server, "local/slow") as other:
            await one.send(msgpack.packb({"seconds": 1}))
            assert await asyncio.wait_for(ask(other, {"seconds": 0}), 0.9) == {"seconds": 0}
            assert await recv(one) == {"seconds": 1}

    async def test_a_handler_that_raises_ends_the_session(
        self, server: LocalServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        @server.app("local/broken")
        async def broken(item: dict[str, Any]) -> dict[str, Any]:
            raise ValueError(item["reason"])

        with caplog.at_level(logging.ERROR, "fal_realtime.testing"):
            async with opened(server, "local/broken") as socket:
                assert await talk(socket, {"reason": "no"}) == [internal_error("no"), 1000]
        assert "ValueError: no" in caplog.text

    async def test_a_result_that_is_no_dict_ends_the_session(self, server: LocalServer) -> None:
        @server.app("local/list")
        async def give_list(item: dict[str, Any]) -> Any:
            return [item]

        reason = "Expected a dict or pydantic model as output, got <class 'list'>"
        async with opened(server, "local/list") as socket:
            assert await talk(socket, {}) == [internal_error(reason), 1000]

    async def test_a_pydantic_model_is_a_result_under_the_names_of_its_fields(self, server: LocalServer) -> None:
        class Result(pydantic.BaseModel):
            image_url: str = pydantic.Field(alias="imageUrl")

        @server.app("local/model")
        async def give_model(item: dict[str, Any]) -> Result:
            return Result(imageUrl="a")

        async with opened(server, "local/model") as socket:
            assert await ask(socket, {}) == {"image_url": "a"}

    async def test_buffering_timeout_and_timings_hold_for_handlers(self, server: LocalServer) -> None:
        @server.app("local/slow", buffering=1, session_timeout=0.3, emit_timings=True)
        async def slow(item: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(go_on.wait, 10)
            return item

        begun, go_on = threading.Event(), threading.Event()
        async with opened(server, "local/slow") as socket:
            await socket.send(msgpack.packb({"i": 0}))
            assert await asyncio.to_thread(begun.wait, 10)
            for i in range(1, 6):
                await socket.send(msgpack.packb({"i": i}))
            await (await socket.ping())  # all of them are there
            go_on.set()
            *answers, timeout, code = await talk(socket)
        assert [answers[0], answers[2]] == [{"i": 0}, {"i": 5}]
        assert answers[1]["timing"] >= 0.1
        assert (len(answers), timeout, code) == (4, TIMEOUT, 1000)

    async def test_an_async_generator_is_a_server_stream(self, server: LocalServer) -> None:
        @server.app("local/count", emit_timings=True)
        async def count(item: dict[str, int]) -> AsyncIterator[dict[str, int]]:
            for i in range(item["to"]):
                yield {"i": i}
                await asyncio.sleep(0)

        async with opened(server, "local/count") as socket:
            *results, timings, timeout, code = await talk(socket, {"to": 3})
        assert results == [{"i": 0}, {"i": 1}, {"i": 2}]
        assert timings["action"] == "timings"
        assert (timeout, code) == (TIMEOUT, 1000)

    async def test_results_that_are_yielded_without_awaiting_overtake_the_first_two(self, server: LocalServer) -> None:
        @server.app("local/count")
        async def count(item: dict[str, int]) -> AsyncIterator[dict[str, int]]:
            for i in range(item["to"]):
                yield {"i": i}

        async with opened(server, "local/count") as socket:
            assert [answer["i"] for answer in (await talk(socket, {"to": 8}))[:8]] == [2, 3, 4, 5, 6, 7, 0, 1]

    async def test_a_sync_generator_is_a_server_stream(self, server: LocalServer) -> None:
        @server.app("local/count")
        def count(item: dict[str, int]) -> Iterator[dict[str, int]]:
            for i in range(item["to"]):
                yield {"i": i}

        async with opened(server, "local/count") as socket:
            assert await talk(socket, {"to": 2}) == [{"i": 0}, {"i": 1}, TIMEOUT, 1000]

    async def test_an_endless_stream_waits_for_its_client_and_ends_with_it(self, server: LocalServer) -> None:
        sent, ended = 0, asyncio.Event()
        loop = asyncio.get_running_loop()

        @server.app("local/endless")
        async def endless(item: dict[str, Any]) -> AsyncIterator[dict[str, bytes]]:
            nonlocal sent
            try:
                while True:
                    sent += 1
                    yield {"data": bytes(100_000)}
            finally:
                loop.call_soon_threadsafe(ended.set)

        async with opened(server, "local/endless") as socket:
            await socket.send(msgpack.packb({}))
            held = 0
            while held != sent or not sent:
                held = sent
                assert held < 2000, "it does not wait"
                await asyncio.sleep(0.2)
            socket.transport.abort()
        await asyncio.wait_for(ended.wait(), 60)

    async def test_a_client_stream_is_an_iterator_of_inputs(self, server: LocalServer) -> None:
        @server.app("local/sum")
        async def add(items: AsyncIterator[dict[str, int]]) -> dict[str, int]:
            total = 0
            async for item in items:
                total += item["n"]
                if item.get("last"):
                    break
            return {"total": total}

        async with opened(server, "local/sum") as socket:
            assert await talk(socket, {"n": 1}, {"n": 2, "last": True}) == [{"total": 3}, TIMEOUT, 1000]

    async def test_the_inputs_of_a_stream_end_when_none_come(self, server: LocalServer) -> None:
        @server.app("local/sum", session_timeout=0.1)
        async def add(items: AsyncIterator[dict[str, int]]) -> dict[str, int]:
            return {"total": sum([item["n"] async for item in items])}

        async with opened(server, "local/sum") as socket:
            assert await talk(socket, {"n": 1}, {"n": 2}) == [{"total": 3}, TIMEOUT, 1000]

    async def test_a_text_message_fails_in_the_iteration_of_the_inputs(self, server: LocalServer) -> None:
        @server.app("local/bidi2")
        async def both(items: AsyncIterator[dict[str, int]]) -> AsyncIterator[dict[str, int]]:
            async for item in items:
                yield item

        async with opened(server, "local/bidi2") as socket:
            assert await talk(socket, {"n": 1}, "text") == [{"n": 1}, internal_error("'bytes'"), 1000]

    async def test_a_bidirectional_handler_ends_when_its_client_leaves(self, server: LocalServer) -> None:
        left = asyncio.Event()
        loop = asyncio.get_running_loop()

        @server.app("local/bidi2", kind="bidi")
        async def both(items: Any) -> Any:
            async for item in items:
                yield item
            loop.call_soon_threadsafe(left.set)

        async with opened(server, "local/bidi2") as socket:
            assert await ask(socket, {"n": 1}) == {"n": 1}
        await asyncio.wait_for(left.wait(), 60)

    async def test_handlers_may_be_added_before_the_start(self) -> None:
        server = LocalServer()
        server.app("local/mine")(handle)
        server.serve_builtin("local/other", "echo")
        for _ in range(2):
            with server:
                for app in ("local/mine", "local/other"):
                    async with opened(server, app) as socket:
                        assert await ask(socket, {"a": 1}) == {"a": 1}


class TestLifecycle:
    @pytest.mark.parametrize("tls", [False, True])
    async def test_addresses_name_scheme_and_port(self, *, tls: bool) -> None:
        async with LocalServer(tls=tls) as server:
            schemes = ("wss", "https") if tls else ("ws", "http")
            assert (server.base_url, server.rest_url) == tuple(f"{s}://127.0.0.1:{server.port}" for s in schemes)
            assert (server.ca_file is not None) == tls

    async def test_tls_is_verified_with_the_ca_file_which_the_stop_removes(self) -> None:
        with LocalServer(tls=True) as server:
            assert server.ca_file is not None
            path = server.ca_file
            context = ssl.create_default_context(cafile=path)
            context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
            url = f"wss://localhost:{server.port}/local/echo?fal_jwt_token={mint(server)}"
            async with connect(url, ssl=context, proxy=None) as socket:
                assert await ask(socket, {"a": bytes(300_000)}) == {"a": bytes(300_000)}
            with pytest.raises(ssl.SSLCertVerificationError):
                async with connect(url, proxy=None):
                    pass
        assert not os.path.exists(path)  # noqa: ASYNC240, PTH110 - once

    async def test_clients_are_told_that_the_server_goes_away(self) -> None:
        server = LocalServer().start()
        async with opened(server) as socket:
            stopped = asyncio.get_running_loop().run_in_executor(None, server.stop)
            assert await talk(socket) == [1001]
            await stopped
        with pytest.raises(OSError, match=r"refused|Connect"):
            socket_to(server)

    def test_a_stop_takes_a_moment_even_if_clients_do_not_answer(self) -> None:
        server = LocalServer().start()
        tcp = socket_to(server)
        request = (
            "GET /local/echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\nAuthorization: Key {server.key}\r\n\r\n"
        )
        tcp.sendall(request.encode())
        assert tcp.recv(1000).startswith(b"HTTP/1.1 101 ")
        server.wait_for_connections(1)
        server.pause()
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < LIMIT
        tcp.close()

    def test_records_can_be_read_after_the_stop(self) -> None:
        with LocalServer() as server:
            mint(server)
        assert server.tokens_minted == len(server.mints) == 1
        server.stop()

    def test_a_server_that_was_not_started_says_so(self) -> None:
        server = LocalServer()
        assert repr(server) == "<LocalServer not running>"
        with pytest.raises(RuntimeError, match="not started"):
            _ = server.base_url

    def test_a_taken_port_is_an_os_error(self, server: LocalServer) -> None:
        with pytest.raises(OSError, match="in use"):
            LocalServer(port=server.port).start()

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("key", "", ValueError),
            ("key", b"key", TypeError),
            ("tls", 1, TypeError),
            ("host", "localhost", ValueError),
            ("port", 65536, ValueError),
            ("port", "80", TypeError),
            ("session_timeout", -1.0, ValueError),
            ("session_timeout", "1", TypeError),
            ("buffering", 0, ValueError),
            ("buffering", -1, ValueError),
            ("emit_timings", None, TypeError),
            ("token_form", "x", ValueError),
            ("refuse_in_band", "no", TypeError),
            ("max_message_size", 0, ValueError),
        ],
    )
    def test_a_wrong_option_is_refused_by_name(self, name: str, value: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match=f"^{name} must"):
            LocalServer(**{name: value}).start()

    def test_the_key_is_shown_nowhere(self) -> None:
        with LocalServer(key="a-secret") as server:
            assert "a-secret" not in repr(server) + str(server) + repr(vars(server)["_native"])

    def test_a_forgotten_server_is_stopped_at_the_exit(self) -> None:
        code = (
            "from fal_realtime.testing import LocalServer\n"
            "server = LocalServer().start()\n"
            "@server.app('local/x')\n"
            "def handler(item): return item\n"
        )
        done = subprocess.run([sys.executable, "-c", code], timeout=20, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")

    def test_a_dropped_native_server_frees_its_port(self) -> None:
        server = LocalServer().start()
        port = server.port
        server.stop()
        del server
        gc.collect()
        with LocalServer(port=port) as again:
            assert again.port == port

    def test_the_thread_takes_no_signals(self, server: LocalServer) -> None:
        if sys.platform != "linux":
            pytest.skip("reads /proc")
        mint(server)  # so that the thread is there and has its name
        blocked = [int(status["SigBlk"], 16) for status in statuses("fal-local-serve")]
        # SIGINT and SIGTERM are bits 2 and 15.
        assert blocked
        assert all(mask & (1 << 1) and mask & (1 << 14) for mask in blocked)


def socket_to(server: LocalServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


class TestClients:
    async def test_its_client_is_this_packages_ready_for_it(self) -> None:
        async with (
            LocalServer(tls=True) as server,
            server.client().connect("local/echo", throttle_interval=0) as connection,
        ):
            assert (await connection.request({"a": 1}, timeout=60))["a"] == 1

    def test_its_sync_client_is_ready_too(self, server: LocalServer) -> None:
        with server.sync_client().connect("local/echo", throttle_interval=0) as connection:
            connection.send({"a": 1})
            assert connection.recv(timeout=60) == {"a": 1}

    def test_the_fixture_is_there_for_users(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            def test_one(fal_local_server):
                assert fal_local_server.base_url.startswith("ws://127.0.0.1:")
                assert fal_local_server.connections_total == 0
            """
        )
        pytester.runpytest_subprocess().assert_outcomes(passed=1)

    async def test_the_real_fal_client_speaks_with_it(
        self, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fal_client.client, "REALTIME_URL_FORMAT", f"{server.base_url}/")
        monkeypatch.setattr(fal_client.client, "REST_URL", server.rest_url)
        client = fal_client.AsyncClient(key=server.key)
        async with client.realtime("local/image", max_buffering=4) as connection:
            await connection.send({"prompt": "a cat", "request_id": "r"})
            result = await asyncio.wait_for(connection.recv(), 60)
        await (await client._client).aclose()  # which it leaves open
        assert result is not None
        assert result["request_id"] == "r"
        (request,) = server.requests
        assert request == Handshake("/local/image/realtime", {"max_buffering": "4"}, request.headers, "token", 101)
        assert server.mints[0].body == {"allowed_apps": ["image"], "token_expiration": 120}

    async def test_the_real_fal_client_sees_an_error_as_from_fal(
        self, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fal_client.client, "REALTIME_URL_FORMAT", f"{server.base_url}/")
        client = fal_client.AsyncClient(key=server.key)
        async with client.realtime("local/echo", use_jwt=False) as connection:
            await connection.send([1])
            with pytest.raises(fal_client.client.RealtimeError, match="INTERNAL_ERROR"):
                await asyncio.wait_for(connection.recv(), 60)
