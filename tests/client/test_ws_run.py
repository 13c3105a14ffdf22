"""`ws_run`: ordinary endpoints over one WebSocket, against a double that the client of `fal` is tried on, too."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from websockets.sync.server import serve

from fal_realtime import (
    ApiError,
    ConnectionClosedError,
    DecodeError,
    EncodeError,
    HandshakeError,
    RealtimeClient,
    RequestTimeoutError,
    SyncRealtimeClient,
    ValidationError,
    ws_run,
)

SECRET = "key-secret"
KEY = f"key-id:{SECRET}"


class Double:
    """Answers each payload as fal's page says: start, the body in chunks, end; the payload says with what."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        """Path and `Authorization` of each handshake."""
        self.payloads: list[Any] = []
        self.go = threading.Event()
        self.url = ""

    def __call__(self, websocket: Any) -> None:
        self.seen.append((websocket.request.path, websocket.request.headers.get("Authorization")))
        for number, message in enumerate(websocket):
            assert isinstance(message, str)
            payload = json.loads(message)
            self.payloads.append(payload)
            request_id, status = payload.get("id", f"request-{number}"), payload.get("status", 200)
            if payload.get("is") == "no start":
                websocket.send('{"detail": "no such app"}')
                continue
            if payload.get("is") == "closed at once":
                return
            headers = {"Content-Type": payload.get("type", "application/json"), **payload.get("headers", {})}
            start = {"type": "start", "request_id": request_id, "status": status, "headers": headers}
            websocket.send(json.dumps(start))
            for index, chunk in enumerate(payload.get("chunks", [])):
                if index == payload.get("waits_at"):
                    self.go.wait(10)
                websocket.send(bytes.fromhex(chunk["hex"]) if isinstance(chunk, dict) else chunk)
            if payload.get("is") == "closed":
                return
            end = {"type": "end", "request_id": request_id, "status": status, "time_to_first_byte_seconds": 0.1}
            websocket.send(json.dumps(end))


@contextmanager
def double():
    answers = Double()
    with serve(answers, "127.0.0.1", 0) as listening:
        answers.url = f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield answers
        finally:
            answers.go.set()
            listening.shutdown()
            thread.join()


def endpoint(answers: Double, app: str = "fal-ai/any-llm", path: str = "") -> ws_run.Endpoint:
    return ws_run.connect(RealtimeClient(KEY), app, path=path, base_url=answers.url)


AUDIO = [{"hex": bytes([n]).hex() * 1000} for n in range(5)]
EVENTS = ["data: one\n\n", "data: two\n\n"]


async def test_a_payload_goes_up_as_json_and_its_response_comes_down_whole():
    with double() as answers:
        async with endpoint(answers) as app:
            response = await app.run({"prompt": "hi", "chunks": ['{"output": "grüße"}']}, timeout=60)
            assert (response.status, response.request_id) == (200, "request-0")
            assert response.headers == {"Content-Type": "application/json"}
            assert response.json() == {"output": "grüße"}
            # The same socket takes the next one.
            response = await app.run({"chunks": AUDIO}, timeout=60)
            assert (response.request_id, response.body) == ("request-1", b"".join(bytes([n]) * 1000 for n in range(5)))
        assert answers.seen == [("/fal-ai/any-llm", f"Key {KEY}")]


async def test_a_path_goes_behind_the_app():
    with double() as answers:
        async with endpoint(answers, path="/stream") as app:
            await app.run({}, timeout=60)
        assert answers.seen[0][0] == "/fal-ai/any-llm/stream"


async def test_a_stream_gives_each_chunk_as_it_comes():
    with double() as answers:
        async with endpoint(answers) as app:
            chunks = []
            async for chunk in app.stream({"chunks": EVENTS, "waits_at": 1}, timeout=60):
                chunks.append(chunk)
                answers.go.set()
            assert chunks == EVENTS


async def test_an_apps_own_json_that_looks_like_an_end_is_a_chunk():
    like_end = '{"type": "end", "request_id": "another", "n": 1}'
    with double() as answers:
        async with endpoint(answers) as app:
            assert (await app.run({"chunks": [like_end, '{"type": "delta"}']}, timeout=60)).chunks == [
                like_end,
                '{"type": "delta"}',
            ]


async def test_leaving_a_stream_early_mixes_nothing_into_the_next_response():
    with double() as answers:
        async with endpoint(answers) as app:
            stream = app.stream({"chunks": AUDIO})
            async for chunk in stream:
                assert chunk == bytes(1000)
                break
            await stream.aclose()
            assert (await app.run({"chunks": ['"second"']}, timeout=60)).json() == "second"


async def test_payloads_of_several_tasks_are_answered_one_after_the_other():
    with double() as answers:
        async with endpoint(answers) as app:
            responses = await asyncio.gather(*(app.run({"chunks": [f'"{n}"']}, timeout=60) for n in range(20)))
            assert [response.json() for response in responses] == [str(n) for n in range(20)]


async def test_a_timeout_gives_up_and_what_still_comes_is_skipped():
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(RequestTimeoutError, match=r"not complete within 0\.05 s"):
                await app.run({"chunks": ["late"], "waits_at": 0}, timeout=0.05)
            answers.go.set()
            assert (await app.run({"chunks": ['"next"']}, timeout=60)).json() == "next"


@pytest.mark.parametrize(("status", "error"), [(422, ValidationError), (404, ApiError), (500, ApiError)])
async def test_an_error_status_is_raised_with_what_the_app_said(status, error):
    detail = '{"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]}'
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(error) as raised:
                await app.run({"status": status, "chunks": [detail]}, timeout=60)
            assert (raised.value.status, raised.value.request_id) == (status, "request-0")
            assert raised.value.body == json.loads(detail)
            assert raised.value.headers == {"content-type": "application/json"}
            with pytest.raises(error):
                await anext(app.stream({"status": status, "chunks": ["the body of an error is no chunk"]}))
            assert (await app.run({"chunks": ["1"]}, timeout=60)).json() == 1


async def collect(stream, chunks):
    async for chunk in stream:
        chunks.append(chunk)


INCOMPLETE = (
    r"the response was incomplete: its start \(status 200, request request-0\) and 2 messages with 7 bytes of its body "
    r"had come when it ended: the connection is closed \(code 1000\)"
)


async def test_a_server_that_closes_in_the_middle_is_no_end_and_what_arrived_is_said():
    payload = {"is": "closed", "chunks": ["half", {"hex": "010203"}]}
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(ws_run.IncompleteResponseError, match=INCOMPLETE) as raised:
                await app.run(payload, timeout=60)
            assert isinstance(raised.value, ConnectionClosedError)
            assert raised.value.code == 1000
            assert raised.value.response.chunks == ["half", b"\x01\x02\x03"]
            again = pickle.loads(pickle.dumps(raised.value))
            assert (str(again), again.response) == (str(raised.value), raised.value.response)
        async with endpoint(answers) as app:
            chunks: list[bytes | str] = []
            with pytest.raises(ws_run.IncompleteResponseError, match=INCOMPLETE) as raised:
                await collect(app.stream(payload, timeout=60), chunks)
            assert (chunks, raised.value.response.status) == (["half", b"\x01\x02\x03"], 200)
        with ws_run.connect(SyncRealtimeClient(KEY), "fal-ai/any-llm", base_url=answers.url) as blocking:
            with pytest.raises(ws_run.IncompleteResponseError, match=INCOMPLETE):
                blocking.run(payload, timeout=60)
            # It is closed before the next one is sent.
            with pytest.raises(ConnectionClosedError) as closed:
                blocking.run({}, timeout=60)
            assert type(closed.value) is ConnectionClosedError


async def test_a_server_that_closes_before_its_start_says_that_nothing_came():
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(ws_run.IncompleteResponseError, match="incomplete: nothing of it had come") as raised:
                await app.run({"is": "closed at once"}, timeout=60)
            assert (raised.value.response.status, raised.value.response.chunks) == (0, [])


async def test_what_does_not_begin_with_a_start_is_an_error():
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(DecodeError, match="does not begin with its start"):
                await app.run({"is": "no start"}, timeout=60)
            # Where the next one begins nobody knows.
            with pytest.raises(ConnectionClosedError):
                await app.run({"chunks": ["1"]}, timeout=60)
        with ws_run.connect(SyncRealtimeClient(KEY), "fal-ai/any-llm", base_url=answers.url) as blocking:
            with pytest.raises(DecodeError, match="does not begin with its start"):
                blocking.run({"is": "no start"}, timeout=60)
            with pytest.raises(ConnectionClosedError):
                blocking.run({"chunks": ["1"]}, timeout=60)


TOLD = {"id": f"for {SECRET}", "headers": {"X-You": f"Key {KEY}"}}


@pytest.mark.parametrize(
    ("payload", "error", "body"),
    [
        (
            {"status": 401, "chunks": [json.dumps({"detail": [f"bad {KEY}"], SECRET: 1})]},
            ApiError,
            {"detail": ["bad ***"], "***": 1},
        ),
        ({"status": 422, "chunks": [f"bad {quote(KEY, safe='')}"]}, ValidationError, "bad ***"),
        ({"status": 500, "chunks": ["x" * 2040 + KEY]}, ApiError, "x" * 2040 + "***"),
    ],
)
async def test_no_error_repeats_the_key_that_the_endpoint_says_again(payload, error, body):
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(error) as raised:
                await app.run({**TOLD, **payload}, timeout=60)
            assert (raised.value.body, raised.value.request_id) == (body, "for ***")
            assert raised.value.headers["x-you"] == "***"
            assert SECRET not in f"{raised.value} {raised.value.args} {vars(raised.value)} {vars(app)}"


async def test_no_error_of_a_response_that_is_incomplete_repeats_the_key():
    with double() as answers:
        async with endpoint(answers) as app:
            with pytest.raises(ws_run.IncompleteResponseError, match=r"request for \*\*\*") as raised:
                await app.run({**TOLD, "is": "closed"}, timeout=60)
            assert SECRET not in f"{raised.value.args} {vars(raised.value)}"
        with ws_run.connect(SyncRealtimeClient(KEY), "fal-ai/any-llm", base_url=answers.url) as blocking:
            with pytest.raises(RequestTimeoutError, match=r"request for \*\*\*"):
                blocking.run({**TOLD, "chunks": ["late"], "waits_at": 0}, timeout=0.5)
            answers.go.set()
            response = blocking.run({**TOLD, "chunks": [json.dumps(KEY)]}, timeout=60)
            assert (response.request_id, response.headers["X-You"], response.json()) == (TOLD["id"], f"Key {KEY}", KEY)


async def test_a_payload_that_is_no_json_is_refused_and_nothing_is_sent():
    with double() as answers:
        async with endpoint(answers) as app:
            for payload in ({"n": float("nan")}, {"x": object()}):
                with pytest.raises(EncodeError, match="cannot be written as JSON"):
                    await app.run(payload)
            assert (await app.run({"chunks": ["1"]}, timeout=60)).json() == 1
        assert answers.payloads == [{"chunks": ["1"]}]


def test_the_blocking_client_speaks_it_too():
    with double() as answers, ws_run.connect(SyncRealtimeClient(KEY), "fal-ai/any-llm", base_url=answers.url) as app:
        assert app.run({"chunks": ['{"a": 1}']}, timeout=60).json() == {"a": 1}
        assert list(app.stream({"chunks": EVENTS}, timeout=60)) == EVENTS
        for chunk in app.stream({"chunks": AUDIO}):
            assert chunk == bytes(1000)
            break
        with pytest.raises(ValidationError):
            app.run({"status": 422, "chunks": ["{}"]}, timeout=60)
        with pytest.raises(RequestTimeoutError):
            app.run({"chunks": ["late"], "waits_at": 0}, timeout=0.05)
        answers.go.set()
        assert app.run({"chunks": ["2"]}, timeout=60).json() == 2


OPEN = "a stream of this endpoint is still open: read it to its end, or close it with "
BEHIND = "not complete within 0.05 s: the stream before it was still open: read it to its end, or close it"


async def test_a_stream_that_is_left_open_is_told_to_its_own_task_and_awaited_by_others():
    with double() as answers:
        async with endpoint(answers) as app:
            stream = app.stream({"chunks": EVENTS})
            assert await anext(stream) == EVENTS[0]
            for again in (app.run({}), anext(app.stream({}))):
                with pytest.raises(RuntimeError, match=re.escape(f"{OPEN}aclose()")):
                    await again
            with pytest.raises(RequestTimeoutError, match=re.escape(BEHIND)):
                await asyncio.create_task(app.run({}, timeout=0.05))
            waiting = asyncio.create_task(app.run({"chunks": ["1"]}, timeout=60))
            assert [chunk async for chunk in stream] == EVENTS[1:]
            assert (await waiting).json() == 1
            # Whoever reads it has it, not whoever began it.
            stream = app.stream({"chunks": EVENTS})
            await anext(stream)
            await asyncio.create_task(anext(stream))
            waiting = asyncio.create_task(app.run({"chunks": ["2"]}, timeout=60))
            await asyncio.create_task(stream.aclose())
            assert (await waiting).json() == 2
        assert [payload["chunks"] for payload in answers.payloads] == [EVENTS, ["1"], EVENTS, ["2"]]


async def test_a_stream_that_nobody_holds_any_more_is_not_open():
    async def first_of_each(app):
        async for chunk in app.stream({"chunks": EVENTS}):
            yield chunk

    with double() as answers:
        async with endpoint(answers) as app:
            async for chunk in app.stream({"chunks": EVENTS}):
                assert chunk == EVENTS[0]
                break
            assert (await app.run({"chunks": ["1"]}, timeout=60)).json() == 1
            async for chunk in first_of_each(app):
                assert chunk == EVENTS[0]
                break
            assert (await app.run({"chunks": ["2"]}, timeout=60)).json() == 2


def test_a_blocking_stream_that_is_left_open_is_told_to_its_own_thread_and_awaited_by_others():
    with double() as answers, ws_run.connect(SyncRealtimeClient(KEY), "a/b", base_url=answers.url) as app:
        stream = app.stream({"chunks": EVENTS})
        assert next(stream) == EVENTS[0]
        for again in (lambda: app.run({}), lambda: next(app.stream({}))):
            with pytest.raises(RuntimeError, match=re.escape(f"{OPEN}close()")):
                again()
        with ThreadPoolExecutor(1) as other:
            with pytest.raises(RequestTimeoutError, match=re.escape(BEHIND)):
                other.submit(app.run, {}, timeout=0.05).result()
            waiting = other.submit(app.run, {"chunks": ["1"]}, timeout=60)
            stream.close()
            assert waiting.result().json() == 1
        assert app.run({"chunks": ["2"]}, timeout=60).json() == 2


@pytest.mark.parametrize(
    ("base_url", "where"),
    [
        ("wss://fal.run", "ws.fal.run:443"),
        ("wss://ws.fal.run", "ws.fal.run:443"),
        # No other machine is called like these with `ws.` before it.
        ("wss://192.0.2.1:8443", "192.0.2.1:8443"),
        ("wss://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("wss://gateway", "gateway:443"),
    ],
)
def test_the_address_is_that_of_the_client_with_ws_before_the_host(base_url, where):
    asked = []

    def refuse() -> None:
        sock, _ = listener.accept()
        with sock:
            asked.append(sock.recv(4096).partition(b"\r\n")[0])
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = threading.Thread(target=refuse)
        proxy.start()
        client = SyncRealtimeClient(KEY, base_url=base_url, proxy=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(HandshakeError), ws_run.connect(client, "fal-ai/any-llm"):
            pass
        proxy.join(10)
    assert asked == [f"CONNECT {where} HTTP/1.1".encode()]


def test_the_environment_says_where_to(monkeypatch):
    monkeypatch.setenv("FAL_WS_RUN_HOST", "wss://ws.fal.run")
    with pytest.raises(ValueError, match="FAL_WS_RUN_HOST must be a host name such as"):
        ws_run.connect(SyncRealtimeClient(KEY), "fal-ai/any-llm")


def test_the_fal_package_understands_the_double_as_we_do(monkeypatch):
    """The double is no invention of ours: fal's own client of this exchange reads the same from it."""
    apps = pytest.importorskip("fal.apps")
    with double() as answers:
        monkeypatch.setenv("FAL_KEY", KEY)
        monkeypatch.setattr(apps, "_WS_URL_FORMAT", answers.url + "/{app_id}")
        with apps.ws("fal-ai/any-llm", path="stream") as app:
            assert app.run({"chunks": ['{"a": 1}']}) == b'{"a": 1}'
            app.send({"chunks": EVENTS})
            assert list(app.stream()) == EVENTS
        client = SyncRealtimeClient(KEY)
        with ws_run.connect(client, "fal-ai/any-llm", path="stream", base_url=answers.url) as app:
            assert app.run({"chunks": ['{"a": 1}']}, timeout=60).body == b'{"a": 1}'
            assert list(app.stream({"chunks": EVENTS})) == EVENTS
        assert answers.seen[0] == answers.seen[1]
