"""Headers, query parameters and subprotocols of the caller's own."""

from __future__ import annotations

import pytest
import websockets
from support import LIMIT, Peer, Session

from fal_realtime import HandshakeError, RealtimeClient, ReconnectPolicy
from fal_realtime._options import ConnectOptions
from fal_realtime.testing import LocalServer

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Own": "hidden-value"}


@pytest.mark.parametrize("use_jwt", [True, False])
async def test_headers_and_query_of_the_callers_own_reach_the_server(use_jwt):
    with LocalServer() as server:
        options = {"use_jwt": use_jwt, "headers": HEADERS, "query": {"region": "eu west&x=1", "debug": ""}}
        async with server.client().connect("local/echo", max_buffering=3, **options) as connection:
            assert (await connection.request({"n": 1}, timeout=60))["n"] == 1
        [handshake] = server.requests
        assert {name.lower(): value for name, value in HEADERS.items()}.items() <= handshake.headers.items()
        assert handshake.query == {"region": "eu west&x=1", "debug": "", "max_buffering": "3"}
        assert handshake.credential == ("token" if use_jwt else "key")


async def test_a_raw_connection_may_show_who_it_is():
    with LocalServer() as server:
        headers = {"Authorization": f"Key {server.key}"}
        connection = server.client().connect_raw(f"{server.base_url}/local/echo/realtime", headers=headers)
        async with connection:
            assert server.requests[0].credential == "key"


@pytest.mark.parametrize("path", ["/path", "/path?", "/path?a=b"])
async def test_a_raw_connection_adds_its_query_to_that_of_its_url(path):
    own = {"region": "eu west&x=1", "fal_jwt_token": "own-token"}
    with Peer() as peer:
        connection = peer.client().connect_raw(f"{peer.base_url}{path}", query=own, headers=HEADERS)
        async with connection:
            [session] = peer.sessions
            assert session.query == {**({"a": "b"} if "a=b" in path else {}), **own}
            assert session.headers["x-own"] == "hidden-value"
        with peer.sync_client().connect_raw(f"{peer.base_url}{path}", query=own):
            assert peer.sessions[1].query == session.query
        async with peer.client().connect("local/app", raw=True, query={"own": "1"}, headers=HEADERS):
            assert peer.sessions[2].query["own"] == "1"
            assert peer.sessions[2].headers["x-own"] == "hidden-value"


async def test_what_headers_and_query_say_is_in_no_repr_and_no_error():
    secret = {"headers": {"X-Own": "hidden-value"}, "query": {"own": "hidden-value"}}
    shown = [repr(ConnectOptions(**secret))]
    with LocalServer() as server:
        server.refuse(403)
        connection = server.client().connect("local/echo", use_jwt=False, **secret)
        shown.append(repr(connection))
        with pytest.raises(Exception, match="403") as raised:
            await connection
        shown.append(repr(raised.value) + str(raised.value))
    with pytest.raises(ValueError, match="printable") as refused:
        RealtimeClient("key").connect("local/echo", headers={"X-Own": "hidden-value\n"})
    shown.append(str(refused.value))
    assert "hidden" not in "".join(shown)
    assert isinstance(raised.value, HandshakeError) or "refused" in str(raised.value)


async def test_the_subprotocol_is_chosen_by_a_real_server_or_none_is():
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    client = RealtimeClient("key")
    async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["v1.api", "v3.api"]) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for offered, chosen in ((["v2.api", "v1.api"], "v1.api"), (["v1.api"], "v1.api")):
            connection = client.connect_raw(url, subprotocols=offered)
            assert connection.subprotocol is None
            async with connection:
                assert connection.subprotocol == chosen
                await connection.send("text")
                assert await connection.recv() == "text"
            assert connection.subprotocol == chosen


def choose(name):
    def script(session: Session) -> None:
        session.accept({"Sec-WebSocket-Protocol": name})
        session.echo()

    return script


def test_an_app_is_offered_subprotocols_too_and_each_session_has_its_own():
    def choose_then_drop(session: Session) -> None:
        session.accept({"Sec-WebSocket-Protocol": "b"})
        session.send(session.recv())
        session.drop()

    with Peer(choose_then_drop, Session.echo) as peer:
        policy = ReconnectPolicy(initial_delay=0.001, max_delay=0.002)
        with peer.sync_client().connect("a/b", subprotocols=("a", "b"), reconnect=policy) as connection:
            connection.request({"n": 1}, timeout=LIMIT)
            assert peer.sessions[0].headers["sec-websocket-protocol"] == "a, b"
            assert connection.subprotocol == "b"
            peer.wait(lambda: len(peer.sessions) == 2)
            connection.request({"n": 2}, timeout=LIMIT)
            assert connection.subprotocol is None


@pytest.mark.parametrize(
    ("offered", "text"), [([], "but none was offered"), (["hidden-subprotocol"], "that was not offered")]
)
async def test_a_server_that_chooses_what_was_not_offered_is_an_error(offered, text):
    with Peer(choose("hidden-subprotocol-2")) as peer:
        with pytest.raises(HandshakeError, match=text) as raised:
            await peer.client().connect("a/b", subprotocols=offered)
        assert raised.value.status == 101
        assert not raised.value.retryable
        assert "hidden" not in str(raised.value) + repr(ConnectOptions(subprotocols=offered))
