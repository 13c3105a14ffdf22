"""Against the real fal: a pool whose apps raise, end idle sessions, and buffer as little as they do."""

from __future__ import annotations

import asyncio

import pytest

from fal_realtime import RealtimeClient, RealtimeError, ReconnectPolicy

APP = "local/interop"
PATIENCE = 60.0
"""Seconds; far more than anything here takes."""

QUICK = ReconnectPolicy(initial_delay=0.01, max_delay=0.05)


def client_of(url: str) -> RealtimeClient:
    return RealtimeClient("key-id:key-secret", base_url=url, trust_env=False)


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_input_that_the_app_refuses_fails_alone(fal_server_url: str, ordered: bool) -> None:
    options = {"path": "/raising", "use_jwt": False, "reconnect": QUICK}
    inputs = [{"n": n, "raise": f"not {n}" if n % 5 == 3 else None} for n in range(60)]
    async with client_of(fal_server_url).pool(APP, size=4, **options) as pool:
        outcomes = [outcome async for outcome in pool.map(inputs, timeout=PATIENCE, ordered=ordered)]
        assert pool.failure is None
    assert sorted(outcome.index for outcome in outcomes) == list(range(60))
    for outcome in outcomes:
        if outcome.index % 5 == 3:
            assert isinstance(outcome.error, RealtimeError)
            assert f"not {outcome.index}" in str(outcome.error)
        else:
            assert outcome.unwrap()["echo"]["n"] == outcome.index


async def test_connections_whose_sessions_ended_idle_are_used_again(fal_server_url: str) -> None:
    async with client_of(fal_server_url).pool(APP, size=3, path="/idle", use_jwt=False, reconnect=QUICK) as pool:
        for _ in range(2):
            outcomes = [outcome async for outcome in pool.map([{"n": n} for n in range(9)], timeout=PATIENCE)]
            assert [outcome.unwrap()["echo"] for outcome in outcomes] == list(range(9))
            while any(member.connection.state == "active" for member in pool._members.all):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stats = pool.stats()
        assert (stats["succeeded"], stats["failed"], stats["lost"]) == (18, 0, 0)
        assert stats["messages"]["reconnects"] >= 1


async def test_an_app_that_keeps_two_inputs_drops_none_of_a_pool(fal_server_url: str) -> None:
    async with client_of(fal_server_url).pool(APP, size=4, path="/idle", use_jwt=False) as pool:
        results = await asyncio.gather(*(pool.request({"n": n}, timeout=PATIENCE) for n in range(200)))
    assert [result["echo"] for result in results] == list(range(200))
