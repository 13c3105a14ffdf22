"""The proxy of `@fal-ai/client`: `fal_realtime.asgi.ProxyEndpoint` under real servers, asked by the real client."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fal_http import PNG, FalHttp
from running_gateway import APPS, PATIENCE, Gateway, gateway
from support import until_sync

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
