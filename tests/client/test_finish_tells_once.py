"""A loss while `finish` waits: `finish` tells of it, and nobody else; if it cannot, somebody else does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support import Log, Peer, Session, result_of

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    ReconnectPolicy,
    RequestTimeoutError,
)

APP = "fal-ai/fast-lcm-diffusion"
QUICK = ReconnectPolicy(initial_delay=0.01)


class Loses:
    """A server that takes two inputs, and drops the connection when it is told to."""

    def __init__(self) -> None:
        self.now = threading.Event()

    def __call__(self, session: Session) -> None:
        for _ in range(2):
            session.recv()
        self.now.wait(10)
        session.drop()


BIG = bytes(8 << 20)
"""More than the systems between take: what comes behind it is not written when the session is lost."""


async def started(peer: Peer, **options: Any) -> Any:
    """A connection with two inputs that have no answer."""
    connection = await peer.client().connect(APP, throttle_interval=0, **options)
    for number in range(2):
        await connection.send({"number": number})
    await peer.until(lambda: len(peer.sessions[0].messages) == 2)
    return connection


@pytest.mark.parametrize("policy", [QUICK, None], ids=["reconnect", "no reconnect"])
@pytest.mark.parametrize("with_result", [True, False], ids=["on_result", "recv"])
async def test_on_error_does_not_hear_what_finish_raises(policy, with_result):
    loses, errors = Loses(), Log()
    callbacks = {"on_error": errors, **({"on_result": Log()} if with_result else {})}
    with Peer(loses, Session.echo) as peer:
        connection = await started(peer, reconnect=policy, **callbacks)
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0)
        loses.now.set()
        with pytest.raises(ConnectionLostError, match="at most 2 inputs"):
            await result_of(finishing)
        assert connection.state == "closed"
    assert list(errors) == []


async def test_a_receiver_does_not_hear_it_either():
    loses = Loses()
    with Peer(loses, Session.echo) as peer:
        connection = await started(peer, reconnect=QUICK)
        receiving = asyncio.create_task(connection.recv())
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0)
        loses.now.set()
        with pytest.raises(ConnectionLostError, match="at most 2 inputs"):
            await result_of(finishing)
        with pytest.raises(ConnectionClosedError) as raised:
            await result_of(receiving)
        assert (type(raised.value), raised.value.code) == (ConnectionClosedError, 1000)


async def test_who_cancels_it_leaves_the_loss_to_others():
    loses, errors = Loses(), Log()
    with Peer(loses, Session.wait_closed) as peer:
        connection = await started(peer, reconnect=QUICK, on_error=errors)
        for _ in range(3):
            await connection.send({"data": BIG})
        finishing = asyncio.create_task(connection.finish())
        await asyncio.sleep(0)
        loses.now.set()
        await peer.until(lambda: len(peer.sessions) == 2)
        assert list(errors) == []
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        [error] = await errors.has(1)
        assert type(error) is ConnectionLostError
        await connection.aclose()


async def test_a_timeout_tells_of_the_loss_too():
    loses, errors = Loses(), Log()
    with Peer(loses, Session.wait_closed) as peer:
        connection = await started(peer, reconnect=QUICK, on_error=errors)
        for _ in range(3):
            await connection.send({"data": BIG})
        finishing = asyncio.create_task(connection.finish(1))
        await asyncio.sleep(0)
        loses.now.set()
        with pytest.raises(RequestTimeoutError, match=r"of a session that was lost meanwhile had none"):
            await result_of(finishing)
    assert list(errors) == []


async def test_a_loss_before_it_is_told_as_ever():
    loses, errors = Loses(), Log()
    with Peer(loses, Session.echo) as peer:
        connection = await started(peer, reconnect=QUICK, on_error=errors)
        loses.now.set()
        [error] = await errors.has(1)
        assert type(error) is ConnectionLostError
        await result_of(connection.finish(10))
    assert len(errors) == 1


def test_the_blocking_client_tells_once_too():
    loses, errors = Loses(), []
    with Peer(loses, Session.echo) as peer:
        connection = peer.sync_client().connect(APP, throttle_interval=0, reconnect=QUICK, on_error=errors.append)
        for number in range(2):
            connection.send({"number": number})
        peer.wait(lambda: peer.sessions and len(peer.sessions[0].messages) == 2)
        loser = threading.Thread(target=lambda: (until_finishing(connection), loses.now.set()))
        loser.start()
        with pytest.raises(ConnectionLostError, match=r"at most \d+ inputs"):
            connection.finish(10)
        loser.join()
    assert errors == []


def until_finishing(connection: Any) -> None:
    """Return when `finish` has begun: an input is refused then."""
    while not is_finishing(connection):
        pass


def is_finishing(connection: Any) -> bool:
    try:
        connection.request({}, timeout=0)
    except RequestTimeoutError:
        return False
    except ConnectionClosedError:
        return True
    return False
