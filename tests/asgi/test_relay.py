"""The relay: `fal_realtime.asgi.Relay` between real browsers' clients and what plays fal, under real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fal_socket import FalSocket
from running_gateway import PATIENCE, Gateway, gateway
from support import until, until_sync
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fal_realtime import RealtimeClient
from fal_realtime.asgi import Relay, RelaySession
from fal_realtime.testing import LocalServer

NODE = Path(__file__).parents[1] / "node"


@pytest.fixture(scope="module")
def fal_socket() -> Iterator[FalSocket]:
    with FalSocket() as it:
        yield it


@pytest.fixture
def app(fal_socket: FalSocket) -> FalSocket:
    """What plays the app, without memories of other tests."""
    fal_socket.forget()
    return fal_socket


@pytest.fixture(scope="module")
def relay(server_name: str, fal: LocalServer, fal_socket: FalSocket) -> Iterator[Gateway]:
    """Before an app that does as its path says; tokens come from the local server."""
    with gateway(server_name, fal, base_url=fal_socket.base_url, relay={"max_message_size": 2**21}) as it:
        yield it


def browser(relay: Gateway, path: str = "/local/echo/echo", **options: Any) -> connect:
    return connect(relay.websocket_url + path, compression=None, open_timeout=PATIENCE, **options)


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason of the end; what is left unread is thrown away."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def refused(opening: connect) -> tuple[int, dict[str, str], str]:
    """Status, headers and message, of whichever way the server could refuse."""
    try:
        async with opening as socket:
            code, reason = await closed(socket)
            return code, {}, reason
    except InvalidStatus as error:
        response = error.response
        message = json.loads(response.body or b"{}").get("message", "")
        return response.status_code, dict(response.headers.raw_items()), message


async def stats_reach(relay: Gateway, **wanted: int) -> None:
    def seen() -> bool:
        stats = relay.stats()
        return all(stats[name] == value for name, value in wanted.items())

    await asyncio.to_thread(until_sync, seen, f"the relay counts {wanted}", PATIENCE)


class TestMessages:
    async def test_they_pass_as_they_are(self, relay: Gateway) -> None:
        sent = ["text", b"binary", "", b"", "Käfer 🐞", b"\x00" * 2**20, "x" * 2**20]
        async with browser(relay) as socket:
            for message in sent:
                await socket.send(message)
            assert [await asyncio.wait_for(socket.recv(), PATIENCE) for _ in sent] == sent
            await socket.send(iter(["in ", "three ", "fragments"]))
            assert await asyncio.wait_for(socket.recv(), PATIENCE) == "in three fragments"

    async def test_the_app_sees_a_key_of_the_server_and_no_header_of_the_browser(
        self, relay: Gateway, app: FalSocket
    ) -> None:
        headers = {"cookie": "session=secret"}
        async with browser(relay, additional_headers=headers, subprotocols=["one", "two"]) as socket:
            assert socket.subprotocol == "two"
            request = app.opened.get(timeout=PATIENCE)
        assert request.path.startswith("/local/echo/echo?fal_jwt_token=")
        assert "secret" not in str(list(request.headers.raw_items()))

    async def test_what_is_larger_than_the_limit_ends_the_session(self, relay: Gateway) -> None:
        async with browser(relay) as socket:
            await socket.send(b"x" * (2**21 + 1))
            assert (await closed(socket))[0] == 1009

    def test_the_real_client_works_through_it(self, running: Gateway, fal: LocalServer) -> None:
        if shutil.which("node") is None or not (NODE / "node_modules" / "@fal-ai" / "client").is_dir():
            pytest.skip("NOT TESTED with @fal-ai/client: node or the package is missing (npm ci --prefix tests/node)")
        inputs = [{"n": 0, "prompt": "a cat"}, {"n": 1}]
        plan = {
            "rest": fal.rest_url,
            "realtime": running.websocket_url,
            "credentials": fal.key,
            "app": "local/echo",
            "options": {},
            "inputs": inputs,
            "results": 2,
            "errors": 0,
        }
        command = ["node", str(NODE / "session.mjs"), json.dumps(plan)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        seen = json.loads(done.stdout)
        assert seen["results"] == inputs

    async def test_they_are_counted(self, start: Any, app: FalSocket) -> None:
        with start(base_url=app.base_url) as relay:
            async with browser(relay) as socket:
                await socket.send("abc")
                await socket.recv()
                assert relay.stats()["sessions"] == 1
            await stats_reach(relay, sessions=0)
            assert relay.stats() == {
                "sessions": 0,
                "sessions_total": 1,
                "refused": 0,
                "to_app": 1,
                "to_browser": 1,
                "bytes_to_app": 3,
                "bytes_to_browser": 3,
                "draining": False,
            }


class TestEnds:
    @pytest.mark.parametrize(
        ("code", "seen"), [(1000, 1000), (4001, 4001), (1008, 1008), (1011, 1011), (1012, 1012), (1001, 1001)]
    )
    async def test_an_apps_code_reaches_the_browser_after_its_messages(
        self, relay: Gateway, code: int, seen: int
    ) -> None:
        async with browser(relay, f"/local/echo/close-{code}") as socket:
            assert [await asyncio.wait_for(socket.recv(), PATIENCE) for _ in range(3)] == ["0", "1", "2"]
            assert await closed(socket) == (seen, "bye")

    async def test_an_app_that_breaks_off_is_an_error(self, relay: Gateway) -> None:
        async with browser(relay, "/local/echo/drop") as socket:
            assert await asyncio.wait_for(socket.recv(), PATIENCE) == "last words"
            assert (await closed(socket))[0] == 1011

    @pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (4001, 4001), (1001, 1001)])
    async def test_a_browsers_code_reaches_the_app(self, relay: Gateway, app: FalSocket, code: int, seen: int) -> None:
        # hypercorn tells its application 1006 whatever the client has sent.
        if relay.server == "hypercorn":
            seen = 1001
        async with browser(relay) as socket:
            await socket.close(code, "bye")
        ended = await asyncio.to_thread(app.ended.get, timeout=PATIENCE)
        assert ended[0] == seen

    async def test_what_a_browser_sent_before_it_left_arrives(self, relay: Gateway, app: FalSocket) -> None:
        app.hear.set()
        async with browser(relay, "/local/echo/deaf") as socket:
            for number in range(50):
                await socket.send(str(number))
        await until(lambda: len(app.received) == 50, "all messages arrived")
        await asyncio.to_thread(app.ended.get, timeout=PATIENCE)

    async def test_a_browser_that_breaks_off_leaves_no_session_behind(self, relay: Gateway, app: FalSocket) -> None:
        async with browser(relay) as socket:
            await socket.send("x")
            await socket.recv()
            socket.transport.abort()
        code, _ = await asyncio.to_thread(app.ended.get, timeout=PATIENCE)
        assert code in (1000, 1001)
        await stats_reach(relay, sessions=0)

    async def test_an_idle_session_is_closed(self, start: Any, app: FalSocket) -> None:
        with start(base_url=app.base_url, relay={"idle_timeout": 0.4}) as relay:
            async with browser(relay) as socket:
                assert await closed(socket) == (1000, "idle")
            assert (await asyncio.to_thread(app.ended.get, timeout=PATIENCE))[0] in (1000, 1001)

    async def test_a_browser_that_reads_nothing_keeps_no_session_open(self, start: Any, app: FalSocket) -> None:
        with start(base_url=app.base_url, relay={"idle_timeout": 0.4}) as relay:
            async with browser(relay, "/local/echo/flood-64", max_queue=1, max_size=None) as socket:
                await asyncio.to_thread(app.ended.get, timeout=PATIENCE)
                await stats_reach(relay, sessions=0)
                socket.transport.abort()


class Page:
    """A WebSocket that a page opens at the application itself, without a server: it reads nothing."""

    def __init__(self, relay: Relay) -> None:
        self.events: list[Any] = []
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/", "headers": [], "extensions": {"websocket.http.response": {}}}
        self.served = asyncio.ensure_future(relay(scope, self._said.get, self._send))

    def say(self, message: str) -> None:
        self._said.put_nowait({"type": "websocket.receive", "text": message})

    async def _send(self, event: Any) -> None:
        self.events.append(event)
        if event["type"] in ("websocket.send", "websocket.close"):
            await asyncio.Event().wait()


async def test_draining_ends_when_a_browser_reads_nothing(app: FalSocket, fal: LocalServer) -> None:
    async with RealtimeClient(fal.key, base_url=app.base_url, rest_url=fal.rest_url) as client:
        relay = Relay(client, lambda _: RelaySession("local/echo", "/echo"), drain_on_sigterm=False)
        page = Page(relay)
        await until(lambda: page.events, "it is accepted")
        page.say("x")
        await until(lambda: page.events[-1]["type"] == "websocket.send", "it has an answer")
        await asyncio.wait_for(relay.drain(0), PATIENCE)
        assert relay.stats()["sessions"] == 0
        assert page.events[-1]["code"] == 1012
        assert (await asyncio.to_thread(app.ended.get, timeout=PATIENCE))[0] == 1001
        await asyncio.wait_for(page.served, PATIENCE)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"app": "no slash"}, "app"),
        ({"app": "a/b", "query": {"x": 1}}, "query must be a mapping of str to str"),
        ({"app": "a/b", "headers": {"host": "x"}}, "headers must not hold 'host'"),
        (None, "what the session hook gives must be a RelaySession or None, not str"),
    ],
    ids=repr,
)
async def test_what_the_hook_gives_wrongly_is_refused_logged_and_counted(
    given: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RealtimeClient("key") as client:
        relay = Relay(client, lambda _: RelaySession(**given) if given else "a/b", drain_on_sigterm=False)  # type: ignore[arg-type, return-value]
        page = Page(relay)
        await asyncio.wait_for(page.served, PATIENCE)
    head, body = page.events
    assert (head["status"], relay.stats()["refused"], relay.stats()["sessions"]) == (500, 1, 0)
    assert json.loads(body["body"])["message"] == "the server could not decide about this session"
    assert words in caplog.text


class TestRefusals:
    @pytest.mark.parametrize(
        ("user", "codes", "message"),
        [
            ("nobody", (403, 1008), "this session is not allowed"),
            ("banned", (403, 1008), "you are banned"),
            ("bug", (500, 1011), "the server could not decide about this session"),
        ],
    )
    async def test_the_hook_decides(
        self, relay: Gateway, app: FalSocket, user: str, codes: tuple[int, int], message: str
    ) -> None:
        seen, _, words = await refused(browser(relay, f"/local/echo/echo?user={user}"))
        assert seen in codes
        assert words == message
        assert app.opened.empty()

    @pytest.mark.parametrize(
        ("origin", "passes"),
        [("https://evil.example", False), ("null", False), ("http://127.0.0.1:{port}", True), (None, True)],
    )
    async def test_pages_of_other_hosts_may_not(self, relay: Gateway, origin: str | None, passes: bool) -> None:
        named: Any = None if origin is None else origin.format(port=relay.port)
        opening = browser(relay, origin=named)
        if passes:
            async with opening:
                return
        assert (await refused(opening))[0] in (403, 1008)

    async def test_there_are_so_many_places_in_all_and_for_each_client(self, start: Any, app: FalSocket) -> None:
        limits = {"max_sessions": 2, "max_sessions_per_client": 1}
        with start(base_url=app.base_url, relay=limits) as relay:
            async with browser(relay, "/local/echo/echo?user=ann"):
                status, headers, _ = await refused(browser(relay, "/local/echo/echo?user=ann"))
                assert (status, headers.get("retry-after", "5")) in ((429, "5"), (1013, "5"))
                async with browser(relay, "/local/echo/echo?user=bob"):
                    status, headers, _ = await refused(browser(relay, "/local/echo/echo?user=eve"))
                    assert (status, headers.get("retry-after", "5")) in ((503, "5"), (1013, "5"))
            await stats_reach(relay, sessions=0, refused=2, sessions_total=2)
            async with browser(relay, "/local/echo/echo?user=ann"):
                pass

    @pytest.mark.parametrize(("refusal", "status", "code"), [(503, 503, 1013), (429, 503, 1013), (404, 502, 1011)])
    async def test_what_fal_refuses_is_refused(
        self, running: Gateway, fal: LocalServer, refusal: int, status: int, code: int
    ) -> None:
        fal.refuse(refusal)
        try:
            assert (await refused(browser(running, "/local/echo")))[0] in (status, code)
        finally:
            fal.refuse(None)

    async def test_an_app_that_does_not_answer(self, start: Any, fal: LocalServer) -> None:
        fal.handshake_delay(30)
        try:
            with start(relay={"open_timeout": 0.3}) as relay:
                assert (await refused(browser(relay, "/local/echo")))[0] in (504, 1011)
        finally:
            fal.handshake_delay(0)
        with start(base_url="ws://127.0.0.1:1", relay={"open_timeout": 1}) as relay:
            assert (await refused(browser(relay, "/local/echo")))[0] in (502, 504, 1011)

    def test_a_request_that_is_no_websocket(self, relay: Gateway) -> None:
        assert relay.request("GET", "/relay/local/echo").status == 426


class TestBackPressure:
    async def test_a_browser_that_does_not_read_holds_the_app_back(self, relay: Gateway, app: FalSocket) -> None:
        count = 64
        async with browser(relay, f"/local/echo/flood-{count}", max_queue=1, max_size=None) as socket:
            held = await stands_still(lambda: app.flooded)
            assert held < count
            for number in range(count):
                message = await asyncio.wait_for(socket.recv(), PATIENCE)
                assert message == number.to_bytes(4, "big") * (256 * 1024)
        assert app.flooded == count

    async def test_an_app_that_does_not_read_holds_the_browser_back(self, relay: Gateway, app: FalSocket) -> None:
        sent = 0

        async def send(socket: ClientConnection) -> None:
            nonlocal sent
            for _ in range(64):
                await socket.send(b"x" * 2**20)
                sent += 1

        async with browser(relay, "/local/echo/deaf") as socket:
            sending = asyncio.ensure_future(send(socket))
            assert await stands_still(lambda: sent) < 64
            app.hear.set()
            await asyncio.wait_for(sending, PATIENCE)
            await until(lambda: len(app.received) == 64, "all messages arrived", PATIENCE)


async def stands_still(count: Any) -> int:
    """Where it does so for a while; if that was too early, the tests see less than they could, and pass."""
    last = -1
    while count() != last:
        last = count()
        await asyncio.sleep(0.3)
    return int(last)


class TestDraining:
    async def test_sessions_go_on_at_sigterm_and_new_ones_are_refused(self, start: Any, app: FalSocket) -> None:
        with start(base_url=app.base_url) as relay:
            async with browser(relay) as socket:
                await socket.send("before")
                assert await socket.recv() == "before"
                relay.terminate()
                await stats_reach(relay, draining=1)
                status, headers, message = await refused(browser(relay))
                assert (status, headers.get("retry-after", "5")) in ((503, "5"), (1013, "5"))
                assert message == "the server is about to stop"
                await socket.send("after")
                assert await asyncio.wait_for(socket.recv(), PATIENCE) == "after"
            await asyncio.to_thread(relay.process.wait, PATIENCE)
            assert (await asyncio.to_thread(app.ended.get, timeout=PATIENCE))[0] in (1000, 1001)

    async def test_what_is_left_in_the_end_is_told_to_come_again(self, start: Any, app: FalSocket) -> None:
        with start(base_url=app.base_url, relay={"drain_timeout": 0}) as relay:
            async with browser(relay) as socket:
                relay.terminate()
                assert await closed(socket) == (1012, "the server is about to stop")
            await asyncio.to_thread(relay.process.wait, PATIENCE)
            assert (await asyncio.to_thread(app.ended.get, timeout=PATIENCE))[0] == 1001


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_sessions": 0}, ValueError, "max_sessions must be at least 1"),
        ({"max_sessions_per_client": 0}, ValueError, "max_sessions_per_client must be at least 1"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout must be greater than 0"),
        ({"allow_origins": ["*"]}, ValueError, "exact origins"),
        ({"session": None}, TypeError, "session must be a function"),
        ({"drain_timeout": "1"}, TypeError, "drain_timeout must be a number"),
        ({"client": "key"}, TypeError, "client must be a RealtimeClient"),
    ],
    ids=repr,
)
def test_bad_options(options: Any, error: Any, words: str) -> None:
    whole = {"client": RealtimeClient("key"), "session": lambda _: RelaySession("a/b"), **options}
    with pytest.raises(error, match=words):
        Relay(**whole)
