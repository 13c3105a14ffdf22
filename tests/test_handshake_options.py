"""Headers and query parameters of the caller's own."""

from __future__ import annotations

import pytest

from fal_realtime import HandshakeError, RealtimeClient
from fal_realtime._options import ConnectOptions
from fal_realtime.testing import LocalServer

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Own": "hidden-value"}


@pytest.mark.parametrize("use_jwt", [True, False])
async def test_headers_and_query_of_the_callers_own_reach_the_server(use_jwt):
    with LocalServer() as server:
        options = {"use_jwt": use_jwt, "headers": HEADERS, "query": {"region": "eu west&x=1", "debug": ""}}
        async with server.client().connect("local/echo", max_buffering=3, **options) as connection:
            assert (await connection.request({"n": 1}, timeout=10))["n"] == 1
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
