"""The raw mode: `connect_raw` against PyPI `websockets`, messages passing as they are."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from websockets.asyncio.server import serve
from websockets.sync.server import serve as serve_sync

from fal_realtime import (
    ConnectionClosedError,
    HandshakeError,
    MessageTooLargeError,
    RawConnection,
    RealtimeClient,
    ReconnectPolicy,
    SyncRealtimeClient,
)
from fal_realtime.testing import LocalServer

# Things that fal's protocol would take for something else than a message.
CONTROL = [
    json.dumps({"type": "x-fal-message", "action": "timings", "timing": 1}),
    json.dumps({"type": "x-fal-error", "error": "TIMEOUT", "reason": "idle"}),
    json.dumps({"status": "error", "error": "Unauthorized"}),
    "not JSON",
    "",
    "grüße \N{SLIGHTLY SMILING FACE} \0",
]
MESSAGES: list[str | bytes] = [*CONTROL, b"", b"\xc1 is no msgpack", bytes(range(256)), b"x" * 70_000, "y" * 70_000]


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


@asynccontextmanager
async def server(handler, **options):
    async with serve(handler, "127.0.0.1", 0, **options) as listening:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@contextmanager
def sync_server(handler):
    with serve_sync(handler, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        finally:
            listening.shutdown()
            thread.join()


async def test_messages_pass_as_they_are_in_both_directions():
    async with server(echo) as url, RealtimeClient().connect_raw(url) as connection:
        for message in MESSAGES:
            await connection.send(message)
        assert [await connection.recv() for _ in MESSAGES] == MESSAGES
        stats = connection.stats()
    assert (stats["accepted"], stats["written"], stats["coalesced"]) == (len(MESSAGES), len(MESSAGES), 0)
    assert (stats["received"], stats["delivered"]) == (len(MESSAGES), len(MESSAGES))


async def test_other_bytes_like_objects_are_binary():
    async with server(echo) as url, RealtimeClient().connect_raw(url) as connection:
        connection.send_nowait(bytearray(b"one"))
        connection.send_nowait(memoryview(b"two"))
        assert [await connection.recv(), await connection.recv()] == [b"one", b"two"]


@pytest.mark.parametrize("message", [{"prompt": "a cat"}, 3, None, ["x"], [1, 2]])
async def test_what_is_no_message_is_refused(message):
    connection = RealtimeClient().connect_raw("ws://127.0.0.1:1/")
    with pytest.raises(TypeError, match=r"a raw connection takes bytes .* or str .*, not"):
        connection.send_nowait(message)
    assert connection.state == "idle"


async def test_the_request_holds_the_address_and_neither_key_nor_token():
    seen = asyncio.get_running_loop().create_future()

    async def look(websocket):
        seen.set_result((websocket.request.path, websocket.request.headers))

    async with (
        server(look) as url,
        RealtimeClient("hidden-key:hidden-secret", user_agent="me").connect_raw(f"{url}/a/b?c=d&e=%20") as connection,
    ):
        path, headers = await seen
        assert "hidden" not in str(list(headers.raw_items()))
        assert "fal_jwt_token" not in path
        assert (path, headers["User-Agent"]) == ("/a/b?c=d&e=%20", "me")
        assert connection.app == f"{url}/a/b"
        assert "c=d" not in repr(connection)


@pytest.mark.parametrize("code", [1000, None])
async def test_a_normal_close_ends_the_iteration_and_the_connection(code):
    opened = 0

    async def few(websocket):
        nonlocal opened
        opened += 1
        await websocket.send("one")
        await websocket.send(b"two")
        if code is None:
            websocket.protocol.send_close()
            websocket.transport.write(b"".join(websocket.protocol.data_to_send()))
            await websocket.wait_closed()

    errors = []
    async with server(few) as url:
        policy = ReconnectPolicy(initial_delay=0.01)
        async with RealtimeClient().connect_raw(url, reconnect=policy, on_error=errors.append) as connection:
            assert [message async for message in connection] == ["one", b"two"]
            await connection.wait_closed()
            assert connection.state == "closed"
            with pytest.raises(ConnectionClosedError) as raised:
                await connection.send("three")
    assert raised.value.code == connection.close_code == (code or 1005)
    assert (opened, errors) == (1, [])


@pytest.mark.parametrize("code", [1001, 1008, 1011, 4000])
async def test_another_close_is_an_error_with_its_code_and_reason(code):
    async def close(websocket):
        await websocket.close(code, "because")

    async with server(close) as url, RealtimeClient().connect_raw(url) as connection:
        with pytest.raises(ConnectionClosedError) as raised:
            await connection.recv()
        assert (raised.value.code, raised.value.reason) == (code, "because")


async def test_a_loss_is_followed_by_a_reconnect_only_where_that_was_asked_for():
    async def once(websocket):
        await websocket.send("here")
        websocket.transport.close()  # no close frame

    async with server(once) as url:
        async with RealtimeClient().connect_raw(url, reconnect=ReconnectPolicy(initial_delay=0.01)) as connection:
            assert [await connection.recv() for _ in range(3)] == ["here"] * 3
            assert connection.stats()["reconnects"] >= 2
        async with RealtimeClient().connect_raw(url) as connection:
            assert await connection.recv() == "here"
            with pytest.raises(ConnectionClosedError):
                await connection.recv()


async def test_on_result_takes_the_messages():
    got = asyncio.Queue()
    async with server(echo) as url, RealtimeClient().connect_raw(url, on_result=got.put_nowait) as connection:
        await connection.send("one")
        await connection.send(b"two")
        assert [await got.get(), await got.get()] == ["one", b"two"]


async def test_there_are_no_requests():
    connection = RealtimeClient().connect_raw("ws://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match="use send and recv"):
        await connection.request({"prompt": "a cat"})


async def test_a_refused_handshake_says_so_without_the_query():
    async def refuse(connection, request):
        return connection.respond(404, f"no such place: {request.path}")

    async with server(echo, process_request=refuse) as url:
        with pytest.raises(HandshakeError) as raised:
            await RealtimeClient().connect_raw(f"{url}/?token=hidden-token")
    assert raised.value.status == 404
    assert "hidden-token" not in str(raised.value)


async def test_max_message_size_holds():
    connection = RealtimeClient().connect_raw("ws://127.0.0.1:1/", max_message_size=3)
    with pytest.raises(MessageTooLargeError):
        connection.send_nowait("four")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        (b"ws://host/", TypeError, "url must be a str, not bytes"),
        ("http://host/", ValueError, "starts with ws:// or wss://"),
        ("ws://", ValueError, "starts with ws:// or wss://"),
        ("ws://user:hidden-password@host/", ValueError, "neither credentials nor a fragment"),
        ("ws://host/#part", ValueError, "neither credentials nor a fragment"),
        ("ws://host:port/", ValueError, "port"),
        ("ws://host/with space", ValueError, "is not a URL"),
    ],
)
def test_a_wrong_url_is_refused_at_once(url, error, message):
    with pytest.raises(error, match=message) as raised:
        RealtimeClient().connect_raw(url)
    assert "hidden-password" not in str(raised.value)


def test_the_blocking_client_has_it_too():
    def few(websocket):
        for message in MESSAGES:
            websocket.send(message)
            assert websocket.recv() == message

    with sync_server(few) as url, SyncRealtimeClient().connect_raw(url) as connection:
        for message in MESSAGES:
            assert connection.recv(timeout=60) == message
            connection.send(message)
        assert list(connection) == []
        with pytest.raises(RuntimeError, match="use send and recv"):
            connection.request({})


async def test_the_end_reaches_a_receiver_that_begins_to_wait_just_then():
    async def at_once(websocket):
        pass

    async with server(at_once) as url:
        client = RealtimeClient()
        for _ in range(500):  # one in some hundred was never woken
            async with client.connect_raw(url) as connection:
                assert [message async for message in connection] == []


async def test_what_came_before_a_violation_is_answered_before_the_connection_is_failed():
    seen = asyncio.get_running_loop().create_future()

    async def break_the_rules(websocket):
        # One text message, and behind it in the same segment a frame with a reserved bit.
        websocket.transport.write(b"\x81\x02hi" + b"\xc1\x00")
        answer = await websocket.recv()
        await websocket.wait_closed()
        seen.set_result((answer, websocket.close_code))

    async with server(break_the_rules) as url, RealtimeClient().connect_raw(url) as connection:
        await connection.send(await connection.recv())
        with pytest.raises(ConnectionClosedError, match="reserved"):
            await connection.recv()
        assert await seen == ("hi", 1002)


async def test_reading_stops_where_read_ahead_says():
    size, count = 1 << 20, 48

    async def flood(websocket):
        await websocket.recv()
        for _ in range(count):
            await websocket.send(bytes(size))
        await websocket.wait_closed()

    async with server(flood) as url, RealtimeClient().connect_raw(url, read_ahead=size) as connection:
        first = asyncio.ensure_future(connection.recv(timeout=60))
        await asyncio.sleep(0)  # it waits: what comes before anybody receives is kept as it comes
        await connection.send("go")
        assert len(await first) == size
        for _ in range(count - 1):
            await asyncio.sleep(0.01)  # in which much more would come than may
            assert connection.stats()["received_pending"] <= 2
            assert len(await connection.recv(timeout=60)) == size


class TestRawConnectionsToApps:
    """`connect(…, raw=True)`: fal's address, authentication and reconnection, and messages as they are."""

    async def test_a_token_is_minted_and_frames_pass_as_they_are(self):
        with LocalServer() as server:
            server.serve_builtin("local/echo", "echo")
            async with server.client().connect("local/echo", raw=True, path="/realtime") as connection:
                assert isinstance(connection, RawConnection)
                await connection.send(b"\x81\xa1n\x01")
                assert await connection.recv() == b"\x81\xa1n\x01"
            assert (server.tokens_minted, [each.path for each in server.requests]) == (1, ["/local/echo/realtime"])
            assert server.requests[0].credential == "token"

    async def test_it_reconnects_with_a_policy(self):
        with LocalServer() as server:
            server.serve_builtin("local/echo", "echo")
            policy = ReconnectPolicy(initial_delay=0.01, max_delay=0.1)
            app = server.client().connect("local/echo", raw=True, path="/realtime", reconnect=policy)
            async with app as connection:
                for n in range(3):
                    await connection.send(b"\x81\xa1n" + bytes([n]))
                    assert await connection.recv() == b"\x81\xa1n" + bytes([n])
                    server.drop_connections()
                    # The next message shall meet the new session.
                    while connection.stats()["reconnects"] <= n:  # noqa: ASYNC110 - it has no event
                        await asyncio.sleep(0.001)
                assert connection.app == "local/echo/realtime"
            assert server.connections_total >= 3

    async def test_fals_control_messages_are_messages(self):
        with LocalServer() as server:

            @server.app("local/failing")
            async def failing(message: Any) -> dict:
                raise ValueError("boom")  # noqa: EM101 - as apps do

            async with server.client().connect("local/failing/realtime", raw=True, reconnect=None) as connection:
                await connection.send(b"\x80")
                error = await connection.recv()
                assert json.loads(error) == {"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "boom"}
                assert [message async for message in connection] == []

    @pytest.mark.parametrize(
        "option",
        [
            {"encode_message": bytes},
            {"decode_message": bytes},
            {"on_timings": print},
            {"streaming": True},
            {"idle_close": 1},
        ],
    )
    def test_options_about_the_meaning_of_messages_are_refused(self, option):
        with pytest.raises(ValueError, match=f"{next(iter(option))} has no use with raw=True"):
            RealtimeClient("key").connect("local/app", raw=True, **option)

    def test_nothing_is_added_to_the_app_id(self):
        client = SyncRealtimeClient("key")
        assert client.connect("owner/app/ws", raw=True).app == "owner/app/ws"
        assert client.connect("owner/app", raw=True, path="ws").app == "owner/app/ws"
        assert client.connect("owner/app", raw=True).app == "owner/app"
