"""A server that sends without a pause does not stop the clock: what is to happen in time does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import msgpack
import pytest
from support import LIMIT, Peer, Session, result_of

from fal_realtime import ConnectionClosedError

APP = "local/app"
RESULT = msgpack.packb({"n": 1})
CHUNK = (bytes([0x82, len(RESULT)]) + RESULT) * 10_000
"""Results as they are on the wire."""
PING = b"\x89\x05flood"


class Flood:
    """Sends results at full speed from the first input on, until told to stop; the script goes on beside it."""

    def __init__(self, then: Callable[[Session], None], every: bytes = b"") -> None:
        self._then = then
        self._chunk = CHUNK + every
        self.stopped = threading.Event()

    def __call__(self, session: Session) -> None:
        session.recv()
        sock = session._sock.dup()
        sock.settimeout(LIMIT)
        flooding = threading.Thread(target=self._flood, args=(sock,), daemon=True)
        flooding.start()
        try:
            self._then(session)
        finally:
            self.stopped.set()
            session.interrupt()
            flooding.join(LIMIT)
            sock.close()

    def _flood(self, sock) -> None:
        with contextlib.suppress(OSError):
            while not self.stopped.is_set():
                sock.sendall(self._chunk)


def ignore(session: Session) -> None:
    """Read what comes, and answer no close frame, until the client is gone."""
    with contextlib.suppress(OSError):
        while session._sock.recv(1 << 16):
            pass


async def test_closing_takes_no_longer_than_close_timeout():
    with Peer(Flood(ignore)) as peer:
        connection = peer.client().connect(APP, on_result=lambda _: None, close_timeout=0.3)
        await connection.send({"go": True})
        await until_flooded(connection)
        await result_of(connection.aclose())
        assert connection.state == "closed"


async def test_closing_takes_no_longer_than_close_timeout_where_nobody_takes_what_comes():
    with Peer(Flood(ignore)) as peer:
        connection = peer.client().connect(APP, close_timeout=0.3, max_buffering=4)
        await connection.send({"go": True})
        await until_flooded(connection)
        await result_of(connection.aclose())
        assert connection.state == "closed"


def test_closing_takes_no_longer_than_close_timeout_in_blocking_form():
    with Peer(Flood(ignore)) as peer:
        connection = peer.sync_client().connect(APP, close_timeout=0.3, max_buffering=4)
        connection.send({"go": True})
        while connection.stats()["received"] < 50_000:
            connection.recv(timeout=LIMIT)
        closing = threading.Thread(target=connection.close, daemon=True)
        closing.start()
        closing.join(LIMIT)
        assert not closing.is_alive()
        assert connection.state == "closed"


async def test_the_throttle_lets_the_latest_go_in_time():
    got = []

    def take(session: Session) -> None:
        # Whether the first of them goes at once depends on how long ago the throttle let one go.
        while got[-1:] != [9]:
            got.append(session.recv()["n"])

    with Peer(Flood(take)) as peer:
        connection = peer.client().connect(APP, on_result=lambda _: None, throttle_interval=50, close_timeout=0.3)
        await connection.send({"go": True})
        await until_flooded(connection)
        for n in range(10):
            connection.send_nowait({"n": n})
        await peer.until(lambda: got[-1:] == [9])
        assert len(got) <= 2
        await connection.aclose()


async def test_pings_are_answered_and_silence_after_it_is_noticed():
    silent = threading.Event()

    def fall_silent(session: Session) -> None:
        session.accept()
        while session._pongs < 3:
            session._read(LIMIT)
        flood.stopped.set()
        assert silent.wait(LIMIT)

    flood = Flood(fall_silent, PING)
    with Peer(flood) as peer:
        connection = peer.client().connect(APP, ping_interval=0.2, ping_timeout=0.2, reconnect=None, max_buffering=4)
        await connection.send({"go": True})
        with pytest.raises(ConnectionClosedError, match="did not answer a ping in time"):
            await result_of(take_all(connection))
        silent.set()


async def take_all(connection):
    while True:
        await connection.recv()


async def until_flooded(connection):
    async def poll():
        while connection.stats()["received"] < 50_000:  # noqa: ASYNC110 - what it looks at has no event
            await asyncio.sleep(0.005)

    await result_of(poll())
