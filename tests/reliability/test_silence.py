"""Kinds of silence: a server that is stopped, one that is busy, one that is gone behind a gateway that acknowledges."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from checks import connect
from support import LIMIT, accounted, until
from support.fault_proxy import FaultProxy
from support.killable import KillableServer

from fal_realtime import ConnectionClosedError, RealtimeConnection

UNREAD = 64 << 20
"""Bytes of results at which reading stops."""


def silent_after(seconds: float, **options: Any) -> dict[str, Any]:
    return {"ping_interval": seconds / 2, "ping_timeout": seconds / 2, "reconnect": None, **options}


async def opened(url: str, **options: Any) -> RealtimeConnection:
    connection = connect(url, **options)
    await asyncio.wait_for(connection.request({"n": 0}), LIMIT)
    return connection


async def reason_of(connection: RealtimeConnection) -> str:
    with pytest.raises(ConnectionClosedError) as raised:
        await asyncio.wait_for(connection.recv(), LIMIT)
    assert raised.value.code == 1006
    accounted(connection)
    return str(raised.value)


async def test_a_stopped_server_whose_system_acknowledges_is_lost_when_it_may_no_longer_be_busy(tmp_path: Path) -> None:
    with KillableServer(tmp_path / "notes") as server:
        patient = await opened(server.url, **silent_after(0.1, busy_timeout=None))
        limited = await opened(server.url, **silent_after(0.1, busy_timeout=0.5))
        strict = await opened(server.url, **silent_after(0.5, busy_timeout=0))
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await patient.send({"n": 1})
            assert "did not answer a ping in time" in await reason_of(strict)
            assert "within ping_timeout and busy_timeout" in await reason_of(limited)
            assert patient.state == "active"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert await asyncio.wait_for(patient.recv(), LIMIT) == {"n": 1}
        assert accounted(patient)["reconnects"] == 0
        await patient.aclose()


async def test_a_gateway_that_acknowledges_for_a_dead_app_is_lost_after_busy_timeout(proxy: FaultProxy) -> None:
    patient = await opened(proxy.url, **silent_after(0.1, busy_timeout=None))
    limited = await opened(proxy.url, **silent_after(0.2, busy_timeout=0.5))
    proxy.freeze()
    await patient.send({"n": 1})
    await limited.send({"n": 1})
    assert "within ping_timeout and busy_timeout" in await reason_of(limited)
    assert accounted(limited)["unanswered"] == 1
    assert patient.state == "active"
    proxy.thaw()
    assert await asyncio.wait_for(patient.recv(), LIMIT) == {"n": 1}
    await patient.aclose()


async def test_a_streaming_app_may_be_busy_and_a_unary_one_may_not(proxy: FaultProxy) -> None:
    streaming = await opened(proxy.url, **silent_after(0.1, streaming=True))
    unary = await opened(proxy.url, **silent_after(0.5))
    proxy.freeze()
    await streaming.send({"n": 1})
    assert "did not answer a ping in time" in await reason_of(unary)
    assert streaming.state == "active"
    proxy.thaw()
    assert await asyncio.wait_for(streaming.recv(), LIMIT) == {"n": 1}
    await streaming.aclose()


async def test_while_reading_is_paused_a_server_whose_system_acknowledges_is_not_lost(tmp_path: Path) -> None:
    with KillableServer(tmp_path / "notes") as server:
        paused = await opened(server.url, **silent_after(1))
        strict = await opened(server.url, **silent_after(2))
        count = await pause(paused)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await paused.send({"n": count})
            await reason_of(strict)
            assert paused.state == "active"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        for n in range(count + 1):
            assert (await asyncio.wait_for(paused.recv(), LIMIT))["n"] == n
        assert accounted(paused)["reconnects"] == 0
        await paused.aclose()


async def pause(connection: RealtimeConnection) -> int:
    """Let so many results wait that reading stops; answers how many were asked for."""
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(connection.recv(), 0.001)
    count = (UNREAD >> 19) + 2
    for n in range(count):
        await connection.send({"n": n, "body": bytes(1 << 19)})
    await until(lambda: connection.stats()["bytes_received"] >= UNREAD, "the mark at which reading stops", 30)
    return count
