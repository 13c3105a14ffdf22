"""`with_options`: a client with the same options but for some, and the same tokens where they are good for both."""

from __future__ import annotations

import pytest
from support import Peer
from support.peer import KEY

from fal_realtime import RealtimeClient, SyncRealtimeClient

APP = "fal-ai/fast-lcm-diffusion"


async def test_it_has_the_options_of_the_first_but_for_those_given():
    with Peer() as peer:
        client = peer.client(user_agent="first")
        other = client.with_options(user_agent="other")
        assert type(other) is RealtimeClient
        for each in (client, other):
            async with each.connect(APP) as connection:
                assert (await connection.request({}, timeout=60))["request_id"]
        assert [session.headers["user-agent"] for session in peer.sessions] == ["first", "other"]


@pytest.mark.parametrize("first_is_used_first", [True, False])
async def test_they_share_the_token_where_credentials_and_addresses_are_the_same(first_is_used_first):
    with Peer() as peer:
        client = peer.client()
        clients = [client, client.with_options(user_agent="other"), client.with_options(credentials=KEY)]
        clients = clients if first_is_used_first else clients[::-1]
        async with clients[0].connect(APP), clients[1].connect(APP), clients[2].connect(APP):
            pass
        assert len(peer.mints) == 1
        assert len({session.token for session in peer.sessions}) == 1


@pytest.mark.parametrize("other", [{"credentials": "other:key"}, {"rest_url": None}, {"trust_env": False}])
async def test_they_share_none_where_one_of_them_is_another(other):
    with Peer() as peer:
        if "rest_url" in other:
            other = {"rest_url": peer.rest_url.replace("127.0.0.1", "localhost")}
        client = peer.client()
        async with client.connect(APP), client.with_options(**other).connect(APP):
            pass
        assert len(peer.mints) == 2


async def test_a_token_provider_is_asked_once_for_both():
    asked = []

    def provide(app: str) -> str:
        asked.append(app)
        return "a-token"

    with Peer() as peer:
        client = peer.client()
        other = client.with_options(side="server")
        async with client.connect(APP, token_provider=provide), other.connect(APP, token_provider=provide):
            pass
        assert asked == [f"{APP}/realtime"]


async def test_closing_one_closes_nothing_of_the_other():
    with Peer() as peer:
        client = peer.client()
        other = client.with_options(user_agent="other")
        async with other.connect(APP) as connection:
            await client.aclose()
            assert (await connection.request({}, timeout=60))["request_id"]
        with pytest.raises(RuntimeError, match="closed"):
            client.connect(APP)
        # One that was closed still gives others.
        async with client.with_options(user_agent="third").connect(APP):
            pass


def test_the_blocking_client_has_it_too():
    with Peer() as peer:
        client = peer.sync_client()
        other = client.with_options(user_agent="other")
        assert type(other) is SyncRealtimeClient
        with client.connect(APP), other.connect(APP) as connection:
            assert connection.request({}, timeout=60)["request_id"]
        assert len(peer.mints) == 1


def test_what_is_no_option_is_refused_with_a_hint():
    client = RealtimeClient("key-id:key-secret")
    with pytest.raises(TypeError, match="with_options has an unknown option 'user_agnet'; did you mean 'user_agent'"):
        client.with_options(user_agnet="me")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="base_url must be an address"):
        client.with_options(base_url="http://fal.run")
    with pytest.raises(ValueError, match="credentials must be a key"):
        client.with_options(credentials="")


def test_secrets_stay_out_of_sight(tmp_path):
    client = RealtimeClient("key-id:hidden-secret", proxy="http://me:hidden-word@127.0.0.1:1")
    other = client.with_options(user_agent="other")
    assert "hidden" not in repr(other)
    assert "hidden" not in repr(vars(other))
