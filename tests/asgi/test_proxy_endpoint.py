"""The proxy of `@fal-ai/client`: `fal_realtime.asgi.ProxyEndpoint` under real servers, asked by the real client."""

from __future__ import annotations

import asyncio
import base64
import errno
import gc
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fal_http import PNG, FalHttp
from running_gateway import APPS, PATIENCE, Gateway, gateway
from support import until, until_sync
from support.raw_server import ScriptedServer

from fal_realtime import RealtimeClient
from fal_realtime.asgi import ProxyEndpoint
from fal_realtime.testing import LocalServer

NODE = Path(__file__).parents[1] / "node"
RUN, QUEUE, REST = "https://fal.run", "https://queue.fal.run", "https://rest.fal.ai"


@pytest.fixture(scope="module")
def fal_http() -> Iterator[FalHttp]:
    with FalHttp() as it:
        yield it


@pytest.fixture(scope="module")
def proxy(server_name: str, fal: LocalServer, fal_http: FalHttp) -> Iterator[Gateway]:
    url = f"http://{fal_http.authority}"
    options = {"apps": APPS, "queue_url": url, "max_request_bytes": 10_000, "max_response_bytes": len(PNG)}
    with gateway(server_name, fal, http_url=url, proxy=options) as it:
        yield it


def ask(proxy: Gateway, target: str, method: str = "POST", body: bytes | None = b"{}", query: str = "", **headers: str):
    return proxy.request(
        method, f"/proxy{query}", body, x_fal_target_url=target, content_type="application/json", **headers
    )


class TestTheRealClient:
    """What `@fal-ai/client` does with `proxyUrl`, and what it makes of refusals."""

    @pytest.fixture(autouse=True)
    def _node(self) -> None:
        if shutil.which("node") is None or not (NODE / "node_modules" / "@fal-ai" / "client").is_dir():
            pytest.skip("NOT TESTED with @fal-ai/client: node or the package is missing (npm ci --prefix tests/node)")

    def play(self, proxy: Gateway, fal: LocalServer, *plan: list[Any], query: str = "") -> list[dict[str, Any]]:
        command = ["node", str(NODE / "proxied.mjs"), f"{proxy.url}/proxy{query}", fal.base_url]
        done = subprocess.run(
            command, input=json.dumps(plan), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        seen: list[dict[str, Any]] = json.loads(done.stdout)
        return seen

    def test_everything_it_does_for_an_allowed_app(self, proxy: Gateway, fal: LocalServer, fal_http: FalHttp) -> None:
        fal_http.go_on.set()
        run, subscribed, streamed, realtime = self.play(
            proxy,
            fal,
            ["run", "local/image", {"input": {"prompt": "a cat"}}],
            ["subscribe", "local/image", {"input": {"queued": True}}],
            ["stream", "local/echo", {"input": {"prompt": "a cat"}}],
            ["realtime", "local/echo", {"input": {"n": 1}}],
        )
        assert run == {"result": {"echo": {"prompt": "a cat"}}}
        assert subscribed == {"result": {"images": ["the image"]}}
        assert streamed == {"result": [{"n": 0}, {"n": 1}]}
        assert realtime == {"result": {"n": 1}}
        assert fal.mints[-1].body == {"allowed_apps": ["echo"], "token_expiration": 120}
        assert {(seen.method, seen.path.partition("?")[0]) for seen in fal_http.seen} >= {
            ("POST", "/local/image"),
            ("GET", "/local/image/requests/abc/status"),
            ("GET", "/local/image/requests/abc"),
            ("POST", "/local/echo/stream"),
        }

    def test_its_errors_say_what_was_refused(self, proxy: Gateway, fal: LocalServer) -> None:
        other, invalid, upload = self.play(
            proxy,
            fal,
            ["run", "local/other", {"input": {}}],
            ["run", "local/image/invalid", {"input": {}}],
            ["upload", "", {}],
        )
        assert other["error"]["name"] == "ApiError"
        assert (other["error"]["status"], other["error"]["message"]) == (
            400,
            "Invalid request: this proxy passes nothing on to /local/other",
        )
        assert (invalid["error"]["name"], invalid["error"]["status"]) == ("ValidationError", 422)
        assert invalid["error"]["body"]["detail"][0]["loc"] == ["body", "prompt"]
        assert upload["error"]["status"] == 400
        [unauthorized] = self.play(proxy, fal, ["run", "local/image", {"input": {}}], query="?user=nobody")
        assert (unauthorized["error"]["status"], unauthorized["error"]["message"]) == (401, "Unauthorized")


async def test_this_packages_own_client_gets_its_tokens_through_it(proxy: Gateway, fal: LocalServer) -> None:
    client = RealtimeClient(base_url=fal.base_url, rest_url=fal.rest_url, proxy_url=f"{proxy.url}/proxy")
    async with client.connect("local/echo", throttle_interval=0) as connection:
        assert (await connection.request({"n": 1}, timeout=60))["n"] == 1


class TestHeaders:
    def test_only_fals_own_pass_and_the_key_is_added(self, proxy: Gateway, fal: LocalServer, fal_http: FalHttp) -> None:
        answer = ask(
            proxy,
            f"{RUN}/local/image",
            body=b'{"a": 1}',
            cookie="session=secret",
            authorization="Key of:the-page",
            x_fal_runner_hint="hint",
            x_forwarded_for="10.0.0.1",
            x_fal_client_proxy="forged",
        )
        seen = fal_http.seen[-1]
        assert (seen.method, seen.path, seen.body) == ("POST", "/local/image", b'{"a": 1}')
        assert seen.headers["authorization"] == f"Key {fal.key}"
        assert seen.headers["x-fal-runner-hint"] == "hint"
        assert seen.headers["x-fal-client-proxy"].startswith("fal-realtime/")
        assert not seen.headers.keys() & {"cookie", "x-forwarded-for", "x-fal-target-url", "origin"}
        assert (answer.status, answer.json()) == (200, {"echo": {"a": 1}})
        assert answer.headers["x-fal-request-id"] == "request-1"
        assert "set-cookie" not in answer.headers
        assert not [line for line in proxy.lines if fal.key in line]

    def test_errors_of_fal_pass_with_what_says_when_to_ask_again(self, proxy: Gateway) -> None:
        answer = ask(proxy, f"{RUN}/local/image/busy")
        assert (answer.status, answer.headers["retry-after"], answer.json()) == (503, "7", {"detail": "busy"})


class TestAddresses:
    @pytest.mark.parametrize(
        "target",
        [
            "https://evil.example/local/image",
            "https://fal.run.evil.example/local/image",
            "https://fal.run:444/local/image",
            "https://user@fal.run/local/image",
            "https://evil.example\\@fal.run/local/image",
            "http://fal.run/local/image",
            "https://fal.run/local/other",
            "https://fal.run/local/image-other",
            "https://fal.run/local/image/../other",
            "https://fal.run/local/image/%2e%2e/other",
            "https://fal.run//local/image",
            "https://fal.run/local/image#fragment",
            "https://fal.run/",
            "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3",
            "https://rest.fal.ai/users/me",
            "https://rest.fal.ai/tokens/other",
            "//fal.run/local/image",
            "file:///etc/passwd",
            "https://[::1/",
            "x",
        ],
    )
    def test_what_is_not_on_the_list_goes_nowhere(self, proxy: Gateway, fal_http: FalHttp, target: str) -> None:
        before = len(fal_http.seen)
        answer = ask(proxy, target)
        assert answer.status == 400
        assert answer.json()["message"].startswith("Invalid request")
        assert len(fal_http.seen) == before

    def test_none_at_all_and_other_methods(self, proxy: Gateway) -> None:
        assert proxy.request("POST", "/proxy", b"{}").status == 400
        assert ask(proxy, f"{RUN}/local/image", "DELETE").status == 405

    def test_a_redirect_is_not_followed(self, proxy: Gateway) -> None:
        answer = ask(proxy, f"{RUN}/local/image/moved")
        assert (answer.status, "location" in answer.headers) == (502, False)

    def test_the_queue_is_reached_with_its_query(self, proxy: Gateway, fal_http: FalHttp) -> None:
        assert ask(proxy, f"{QUEUE}/local/image/requests/abc/status?logs=1", "GET", None).status == 200
        assert fal_http.seen[-1].path == "/local/image/requests/abc/status?logs=1"
        assert ask(proxy, f"{QUEUE}/local/image/requests/abc/cancel", "PUT").status == 200


class TestTokens:
    @pytest.mark.parametrize(
        ("path", "body", "kind"),
        [
            ("/tokens/", {"allowed_apps": ["echo"], "token_expiration": 120}, str),
            ("/tokens/realtime", {"allowed_apps": ["local/echo/realtime"], "duration": 60}, dict),
        ],
    )
    def test_both_token_apis(self, proxy: Gateway, path: str, body: Any, kind: type) -> None:
        answer = ask(proxy, REST + path, body=json.dumps(body).encode())
        assert answer.status == 200
        assert type(answer.json()) is kind

    @pytest.mark.parametrize(
        "body",
        [
            {"allowed_apps": ["other"], "token_expiration": 120},
            {"allowed_apps": ["echo", "other"], "token_expiration": 120},
            {"allowed_apps": [], "token_expiration": 120},
            {"allowed_apps": "echo"},
            {"allowed_apps": ["echo"], "token_expiration": 3600},
            {"allowed_apps": ["echo"], "scopes": ["admin"]},
            {},
        ],
        ids=repr,
    )
    def test_what_asks_for_more_gets_none(self, proxy: Gateway, fal: LocalServer, body: Any) -> None:
        before = fal.mint_requests
        assert ask(proxy, f"{REST}/tokens/", body=json.dumps(body).encode()).status == 400
        assert fal.mint_requests == before


class TestLimits:
    def test_a_request_that_is_too_large(self, proxy: Gateway, fal_http: FalHttp) -> None:
        before = len(fal_http.seen)
        answer = ask(proxy, f"{RUN}/local/image", body=b"x" * 10_001)
        assert (answer.status, answer.json()["message"]) == (413, "the request's body must have at most 10000 bytes")
        assert len(fal_http.seen) == before

    def test_an_answer_of_the_limit_passes_whole(self, proxy: Gateway) -> None:
        answer = ask(proxy, f"{RUN}/local/image/big")
        assert (answer.status, answer.headers["content-type"], answer.body == PNG) == (200, "image/png", True)

    def test_an_answer_above_it_and_a_fal_that_is_silent(self, start: Any, fal_http: FalHttp) -> None:
        url = f"http://{fal_http.authority}"
        options = {"apps": APPS, "max_response_bytes": 1000, "timeout": 0.3}
        with start(http_url=url, proxy=options) as small:
            assert ask(small, f"{RUN}/local/image/big").status == 502
            assert ask(small, f"{RUN}/local/echo/hang").status == 504
        with start(http_url="http://127.0.0.1:1") as unreachable:
            answer = ask(unreachable, f"{RUN}/local/image")
            assert (answer.status, answer.json()["message"]) == (502, "fal could not be reached")

    def test_so_many_requests_at_a_time_and_one_whose_browser_left_is_over(self, start: Any, fal_http: FalHttp) -> None:
        fal_http.left.clear()
        with start(http_url=f"http://{fal_http.authority}", proxy={"apps": APPS, "max_requests": 1}) as one:
            browser = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
            count = len(fal_http.seen)
            browser.request("POST", "/proxy", b"{}", {"x-fal-target-url": f"{RUN}/local/echo/hang"})
            until_sync(lambda: len(fal_http.seen) > count, "the request reached fal")
            refused = ask(one, f"{RUN}/local/image")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            browser.close()
            assert fal_http.left.wait(PATIENCE)
            until_sync(lambda: ask(one, f"{RUN}/local/image").status == 200, "its place is free")

    async def test_an_answer_passes_as_it_comes(self, proxy: Gateway, fal_http: FalHttp) -> None:
        fal_http.go_on.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        target = f"x-fal-target-url: {RUN}/local/echo/stream"
        writer.write(f"POST /proxy HTTP/1.1\r\nhost: x\r\n{target}\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        await asyncio.wait_for(reader.readuntil(b'{"n": 0}'), PATIENCE)
        fal_http.go_on.set()  # not before the first event has arrived
        await asyncio.wait_for(reader.readuntil(b'{"n": 1}'), PATIENCE)
        writer.close()
        await writer.wait_closed()


class Page:
    """A request that a page makes of the application itself, without a server."""

    def __init__(self, app: ProxyEndpoint) -> None:
        self.events: list[Any] = []
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._said.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})
        headers = [(b"host", b"me"), (b"x-fal-target-url", b"https://fal.run/a/b")]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
        self.served = asyncio.ensure_future(app(scope, self._said.get, self._send))

    async def _send(self, event: Any) -> None:
        self.events.append(event)

    async def leave(self) -> None:
        self._said.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(self.served, PATIENCE)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        await asyncio.wait_for(self.served, PATIENCE)
        head, *body = self.events
        return head["status"], dict(head["headers"]), b"".join(event["body"] for event in body)


def proxy_before(address: str, scheme: str, timeout: float) -> ProxyEndpoint:
    ws = scheme.replace("http", "ws")
    client = RealtimeClient("key", base_url=f"{ws}://{address}", rest_url=f"{scheme}://{address}", trust_env=False)
    return ProxyEndpoint(client, apps=["a/b"], authorize=lambda _: True, max_requests=1, timeout=timeout)


async def admitted(proxy: ProxyEndpoint) -> Page:
    """The first request that finds a place."""
    page = Page(proxy)

    def is_admitted() -> bool:
        nonlocal page
        if page.events and page.events[0]["status"] == 503:
            page = Page(proxy)
        return bool(page.events)

    await until(is_admitted, "there is a place")
    return page


class TestThreads:
    """Of requests whose page has left, with a place for one."""

    async def test_one_that_still_connects_keeps_its_place_and_then_sends_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asks, knows = threading.Event(), threading.Event()
        look_up, said = socket.getaddrinfo, []

        def slow(*arguments: Any, **options: Any) -> Any:
            asks.set()
            knows.wait(PATIENCE)
            return look_up(*arguments, **options)

        def script(raw: Any) -> None:
            said.append(raw.sock.recv(1))
            raw.read_request()
            raw.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        with ScriptedServer(script) as fal:
            monkeypatch.setattr(socket, "getaddrinfo", slow)
            proxy = proxy_before(f"127.0.0.1:{fal.port}", "http", timeout=60)
            page = Page(proxy)
            await until(asks.is_set, "it connects")
            await page.leave()
            status, headers, _ = await Page(proxy).answer()
            assert (status, headers[b"retry-after"]) == (503, b"1")
            knows.set()
            await until(lambda: said == [b""], "it has left without a request")
            page = await admitted(proxy)
            assert (await page.answer())[2] == b"{}"

    async def test_one_that_reads_the_last_answer_of_its_connection_gives_it_back(self) -> None:
        def script(raw: Any) -> None:
            raw.read_request()
            raw.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
            raw.linger()

        with ScriptedServer(script, timeout=3 * PATIENCE) as fal:
            proxy = proxy_before(f"127.0.0.1:{fal.port}", "http", timeout=3 * PATIENCE)
            start = time.monotonic()
            for _ in range(2):
                page = await admitted(proxy)
                await until(lambda page=page: page.events[-1].get("body") == b"first", "the answer has begun")
                await page.leave()
            assert time.monotonic() - start < 2 * PATIENCE

    async def test_opening_has_a_time_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fal_realtime.asgi._upstream._CONNECT_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            proxy = proxy_before(f"127.0.0.1:{silent.getsockname()[1]}", "https", timeout=3 * PATIENCE)
            status, _, body = await Page(proxy).answer()
        assert (status, json.loads(body)["message"]) == (504, "fal did not answer within 0.2 s")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_requests": 0}, ValueError, "max_requests must be from 1 to 1000"),
        ({"timeout": -1}, ValueError, "timeout must be greater than 0"),
        ({"queue_url": "ftp://x"}, ValueError, "queue_url must be an address"),
        ({"allow_uploads": 1}, TypeError, "allow_uploads must be True or False"),
    ],
    ids=repr,
)
def test_bad_options(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        ProxyEndpoint(RealtimeClient("key"), **{"apps": ["a/b"], "authorize": lambda _: True, **options})


def test_the_key_goes_to_no_other_machine_in_clear_text() -> None:
    client = RealtimeClient("key", base_url="ws://fal.example")
    with pytest.raises(ValueError, match="clear text"):
        ProxyEndpoint(client, apps=["a/b"], authorize=lambda _: True)
    with pytest.raises(ValueError, match="proxy must be one of http://"):
        ProxyEndpoint(RealtimeClient("key", proxy="socks5://x:1"), apps=["a/b"], authorize=lambda _: True)


HIDDEN = "hidden-password"
KEY = f"some-id:{HIDDEN}"
TLS = {"base_url": "wss://fal.invalid", "rest_url": "https://fal.invalid"}
NO_PROXIES = [
    f"http://127.0.0.1:3128:user:{HIDDEN}",
    f"http://user:{HIDDEN}",
    f"http://user:{HIDDEN}/x@127.0.0.1:3128",
    f"http://user:4711/{HIDDEN}@127.0.0.1:3128",
    f"http://user:{HIDDEN}[@127.0.0.1:3128",
]


async def logged(client: RealtimeClient, caplog: pytest.LogCaptureFixture) -> str:
    """All that is shown of a request that fails: the answer, what is raised, and the log with its tracebacks."""
    events: list[Any] = []
    requests: asyncio.Queue[Any] = asyncio.Queue()
    requests.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})

    async def send(event: Any) -> None:
        events.append(event)

    headers = [(b"host", b"me"), (b"x-fal-target-url", b"https://fal.run/a/b")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    shown = ""
    try:
        await ProxyEndpoint(client, apps=["a/b"], authorize=lambda _: True)(scope, requests.get, send)
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
    return f"{events}\n{shown}\n{caplog.text}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (f"Key {KEY}\r\n\r\n", "fal could not be asked: BadStatusLine\n"),
        (f"HTTP/1.1 abc {KEY}\r\n\r\n", "fal could not be asked: BadStatusLine\n"),
        (f"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n", "to its end: IncompleteRead\n"),
    ],
)
async def test_what_fal_answers_in_place_of_http_is_not_logged(
    answer: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    def script(raw: Any) -> None:
        raw.read_request()
        raw.say(answer.encode())

    with ScriptedServer(script) as fal:
        url = fal.url.replace("ws", "http", 1)
        shown = await logged(RealtimeClient(KEY, base_url=fal.url, rest_url=url, trust_env=False), caplog)
    assert words in shown
    assert HIDDEN not in shown


async def test_what_a_proxy_answers_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    login = base64.b64encode(f"user:{HIDDEN}".encode()).decode()

    def script(raw: Any) -> None:
        assert login in raw.read_request().decode()
        raw.say(f"HTTP/1.1 407 bad login {login} user:{HIDDEN}\r\n\r\n".encode())

    with ScriptedServer(script) as proxy:
        client = RealtimeClient("key", proxy=f"http://user:{HIDDEN}@127.0.0.1:{proxy.port}", **TLS)
        shown = await logged(client, caplog)
        with warnings.catch_warnings():
            # Before Python 3.11 http.client leaves what a proxy answered, and with it the socket, to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    assert "fal could not be asked: OSError\n" in shown
    assert not [secret for secret in (HIDDEN, login) if secret in shown]


async def test_why_a_proxy_is_not_reached_is_logged(
    nobody: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"user:{HIDDEN}@127.0.0.1:{nobody}")
    shown = await logged(RealtimeClient("key", **TLS), caplog)
    assert f"fal could not be asked: ConnectionRefusedError: {os.strerror(errno.ECONNREFUSED)}\n" in shown


@pytest.mark.parametrize("address", NO_PROXIES)
async def test_what_is_no_address_of_a_proxy_is_not_logged(
    address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="proxy") as raised:
        ProxyEndpoint(RealtimeClient("key", proxy=address, **TLS), apps=["a/b"], authorize=lambda _: True)
    monkeypatch.setenv("https_proxy", address)
    shown = await logged(RealtimeClient("key", **TLS), caplog)
    assert "ValueError: https_proxy must be the address of a proxy, scheme://" in shown
    assert HIDDEN not in shown + "".join(traceback.format_exception(raised.value))
