"""Peers that vanish for real: a server in a network namespace of its own, behind a virtual cable.

Needs root, `ip` and, for the dropped packets, `nft`; says loudly what is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checks import connect, delays_of, percentile
from support import LIMIT, accounted, until

from fal_realtime import ConnectionLostError, ReconnectPolicy

INTERVAL = TIMEOUT = 0.4

SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from support.echo import EchoServer
with EchoServer(host=sys.argv[2]) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}: {ran.stderr}"


class Cable:
    """A namespace at the other end of a virtual cable, with an echo server in it."""

    def __init__(self) -> None:
        tag = f"{os.getpid() % 100_000}{random.randrange(100)}"
        self.namespace = f"fal{tag}"
        self.near, self.far = f"fn{tag}", f"ff{tag}"
        subnet = f"10.{200 + random.randrange(50)}.{random.randrange(250)}"
        self.near_address, self.address = f"{subnet}.1", f"{subnet}.2"
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://{self.address}:{self.port}"

    def inside(self, *command: str) -> None:
        """Run a command at the far end."""
        run("ip", "netns", "exec", self.namespace, *command)

    def lay(self) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far)
        run("ip", "link", "set", self.far, "netns", self.namespace)
        run("ip", "addr", "add", f"{self.near_address}/24", "dev", self.near)
        run("ip", "link", "set", self.near, "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", self.far)
        self.inside("ip", "link", "set", self.far, "up")
        self.inside("ip", "link", "set", "lo", "up")

    def serve(self) -> None:
        here = str(Path(__file__).parents[1])
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", SERVER, here, self.address]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def drop(self) -> None:
        """Every packet is dropped, in silence, both ways."""
        self.inside("nft", "add", "table", "inet", "faults")
        for hook in ("input", "output"):
            self.inside(
                "nft", "add", "chain", "inet", "faults", hook, f"{{ type filter hook {hook} priority 0; policy drop; }}"
            )

    def heal(self) -> None:
        self.inside("nft", "delete", "table", "inet", "faults")

    def remove(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=60)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, timeout=60, check=False)
        subprocess.run(["ip", "link", "del", self.near], capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("NOT TESTED with real half-open peers: network namespaces need root on Linux")
    if shutil.which("ip") is None:
        pytest.skip("NOT TESTED with real half-open peers: `ip` is missing (apt-get install iproute2)")
    laid = Cable()
    try:
        try:
            laid.lay()
        except AssertionError as error:
            pytest.skip(f"NOT TESTED with real half-open peers: this machine does not allow namespaces: {error}")
        laid.serve()
        yield laid
    finally:
        laid.remove()


@pytest.fixture
def packet_filter(cable: Cable) -> Cable:
    if shutil.which("nft") is None:
        pytest.skip("NOT TESTED with dropped packets: `nft` is missing (scripts/test_tools fetches it on Debian)")
    return cable


def options(**more: Any) -> dict[str, Any]:
    return {"ping_interval": INTERVAL, "ping_timeout": TIMEOUT, "open_timeout": 1, **more}


async def detected(connection: Any, what: str, figure: Any) -> None:
    took = await until(lambda: connection.state != "active", f"{what} is detected")
    assert took < LIMIT
    figure(f"interval + timeout = {INTERVAL + TIMEOUT} s: {what} detected after {took:.2f} s")
    accounted(connection)


async def comes_back(connection: Any) -> None:
    for n in range(1, 51):
        await connection.send({"n": n})
    got = [(await asyncio.wait_for(connection.recv(), LIMIT))["n"] for _ in range(50)]
    assert got == list(range(1, 51))
    stats = accounted(connection)
    assert stats["failed"] == 0
    assert stats["reconnects"] == 1


@pytest.mark.parametrize("sending", [False, True], ids=["idle", "sending"])
async def test_dropped_packets(packet_filter: Cable, sending: bool, figure: Any) -> None:
    async with connect(packet_filter.url, **options()) as connection:
        await connection.request({"n": 0})
        packet_filter.drop()
        try:
            if sending:
                # TCP has something to send again, which must not count as a sign of life.
                for _ in range(10):
                    await connection.send({"n": 0, "silent": True, "body": b"x" * 1000})
            await detected(connection, "dropped packets", figure)
        finally:
            packet_filter.heal()
        if sending:
            with pytest.raises(ConnectionLostError, match="10 messages without an answer"):
                await asyncio.wait_for(connection.recv(), LIMIT)
        await comes_back(connection)


async def test_dropped_packets_while_reading_is_paused(packet_filter: Cable, figure: Any) -> None:
    """Nothing is read, so that only what is not acknowledged tells."""
    count = (64 << 20) // (1 << 19) + 2
    async with connect(packet_filter.url, **options()) as connection:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connection.recv(), 0.001)
        for n in range(count):
            await connection.send({"n": n, "body": bytes(1 << 19)})
        await until(lambda: connection.stats()["bytes_received"] >= 64 << 20, "reading to stop", 30)
        packet_filter.drop()
        try:
            await detected(connection, "dropped packets while reading is paused", figure)
        finally:
            packet_filter.heal()
        assert "acknowledge" in str(connection.last_error)


async def test_a_stopped_server_that_may_be_busy_and_whose_machine_then_vanishes(
    packet_filter: Cable, figure: Any
) -> None:
    assert packet_filter.process is not None
    busy = connect(packet_filter.url, **options(busy_timeout=None))
    strict = connect(packet_filter.url, **options(reconnect=None))
    async with busy:
        await busy.request({"n": 0})
        await strict.request({"n": 0})
        os.kill(packet_filter.process.pid, signal.SIGSTOP)
        try:
            await until(lambda: strict.state == "closed", "the loss of the one that may not be busy")
            assert busy.state == "active"
            packet_filter.drop()
            await detected(busy, "a machine that vanishes behind a busy server", figure)
        finally:
            packet_filter.heal()
            os.kill(packet_filter.process.pid, signal.SIGCONT)
        assert "acknowledge" in str(busy.last_error)
        await comes_back(busy)


async def test_a_cable_that_is_pulled_at_the_other_end(cable: Cable, figure: Any) -> None:
    async with connect(cable.url, **options()) as connection:
        await connection.request({"n": 0})
        cable.inside("ip", "link", "set", cable.far, "down")
        try:
            await detected(connection, "a link that is down", figure)
        finally:
            cable.inside("ip", "link", "set", cable.far, "up")
        await comes_back(connection)


async def test_a_server_that_is_stopped(cable: Cable, figure: Any) -> None:
    """The kernel goes on answering for it: TCP alone would never notice."""
    assert cable.process is not None
    async with connect(cable.url, **options()) as connection:
        await connection.request({"n": 0})
        os.kill(cable.process.pid, signal.SIGSTOP)
        try:
            await detected(connection, "a stopped process", figure)
        finally:
            os.kill(cable.process.pid, signal.SIGCONT)
        await comes_back(connection)


async def test_after_the_network_has_healed_it_is_back_within_the_cap(
    packet_filter: Cable, figure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A connect that is under way while packets are dropped counts too: TCP sends it again after 1 s."""
    caplog.set_level(logging.INFO, "fal_realtime")
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=0.3, max_fruitless=None)
    dice = random.Random(3)
    times = []
    timing = {"ping_interval": 0.1, "ping_timeout": 0.1, "open_timeout": 0.3}
    async with connect(packet_filter.url, reconnect=policy, **timing) as connection:
        await connection.open()
        for _ in range(10):
            packet_filter.drop()
            await until(lambda: connection.state != "active", "the loss")
            await asyncio.sleep(dice.uniform(0.0, 0.5))
            packet_filter.heal()
            times.append(await until(lambda: connection.state == "active", "the reconnect"))
        accounted(connection)
    assert 0 < max(delays_of(caplog)) <= policy.max_delay
    figure(
        f"cap {policy.max_delay} s, 10 outages: p50 {percentile(times, 50):.2f} s, p99 {percentile(times, 99):.2f} s"
    )


async def test_a_connect_that_is_under_way_notices_that_the_network_has_healed(
    packet_filter: Cable, figure: Any
) -> None:
    """TCP alone would call again after gaps that double: after 1, 3, 7, 15 and 31 s, or 1 to 5, 7, 11, 19 and 35 s."""
    policy = ReconnectPolicy(initial_delay=0.05, max_delay=0.3, max_fruitless=None)
    timing = {"ping_interval": 0.2, "ping_timeout": 0.2, "open_timeout": 60}
    async with connect(packet_filter.url, reconnect=policy, **timing) as connection:
        await connection.open()
        packet_filter.drop()
        try:
            await until(lambda: connection.state == "connecting", "the attempt")
            await asyncio.sleep(20)
        finally:
            packet_filter.heal()
        took = await until(lambda: connection.state == "active", "the reconnect")
        accounted(connection)
    assert took < 10, "TCP alone would have taken 11 s or more"
    figure(f"one attempt, silent for 20 s, came through {took:.2f} s after healing")


async def test_a_server_whose_machine_is_gone_and_back_resets(packet_filter: Cable, figure: Any) -> None:
    """It was restarted while nothing came through; what it says afterwards is a reset."""
    async with connect(packet_filter.url, **options()) as connection:
        await connection.request({"n": 0})
        packet_filter.drop()
        try:
            assert packet_filter.process is not None
            packet_filter.process.kill()
            packet_filter.process.communicate(timeout=60)
        finally:
            packet_filter.heal()
        started = time.monotonic()
        await detected(connection, "a machine that was restarted", figure)
        assert time.monotonic() - started < LIMIT
    packet_filter.serve()
