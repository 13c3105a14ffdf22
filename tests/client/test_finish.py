"""`finish` and `in_flight`: what is under way, and how a connection ends when all of it is answered."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support import Log, Peer, Session, gather, result_of

from fal_realtime import (
    ConnectionClosedError,
    ConnectionLostError,
    ReconnectPolicy,
    RequestTimeoutError,
)
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"


class Held:
    """A server that echoes when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, session: Session) -> None:
        taken = [session.recv()]
        self.go.wait(10)
        session.send(taken[0])
        session.echo()


async def test_in_flight_counts_the_inputs_that_were_written_less_the_results_that_came():
    go = threading.Event()

    def script(session: Session) -> None:
        for _ in range(3):
            session.recv()
        go.wait(10)
        go.clear()
        session.send({"request_id": "", "number": 0})
        request = session.recv()
        go.wait(10)
        session.send(request)
        session.wait_closed()

    with Peer(script) as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            assert connection.in_flight == 0
            for number in range(3):
                await connection.send({"number": number})
            await result_of(connection.drain())
            assert connection.in_flight == 3
            go.set()
            await result_of(connection.recv())
            assert connection.in_flight == 2
            request = asyncio.create_task(connection.request({"number": 4}))
            await peer.until(lambda: len(peer.sessions[0].messages) == 4)
            assert connection.in_flight == 3
            go.set()
            await result_of(request)
            assert connection.in_flight == 2
        assert connection.in_flight == 0


async def test_finish_waits_for_the_answers_and_closes():
    held = Held()
    with Peer(held) as peer:
        connection = await peer.client().connect(APP, throttle_interval=0)
        request = asyncio.create_task(connection.request({"number": 1}))
        await peer.until(lambda: peer.sessions[0].messages)
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0)
        for refused in (connection.send({}), connection.request({})):
            with pytest.raises(ConnectionClosedError, match=r"finish\(\) was called"):
                await refused
        with pytest.raises(ConnectionClosedError, match=r"finish\(\) was called"):
            connection.send_nowait({})
        assert not finishing.done()
        held.go.set()
        assert (await result_of(request))["number"] == 1
        await result_of(finishing)
        assert (connection.state, peer.sessions[0].close_code) == ("closed", 1000)


async def test_each_of_many_inputs_is_answered_before_it_closes():
    def slow(session: Session) -> None:
        taken = [session.recv() for _ in range(20)]
        for each in taken:
            session.send(each)
            session.fence()
        session.wait_closed()

    with Peer(slow) as peer:
        connection = await peer.client().connect(APP, throttle_interval=0)
        for number in range(20):
            await connection.send({"number": number})
        await result_of(connection.finish())
        assert [result["number"] async for result in connection] == list(range(20))


async def test_a_session_that_the_app_ends_for_want_of_inputs_ends_the_waiting():
    def drops_one(session: Session) -> None:
        session.recv()
        session.send(session.recv())
        session.send_timeout()
        session.close()

    with Peer(drops_one) as peer:
        connection = await peer.client().connect(APP, throttle_interval=0)
        for number in range(2):
            await connection.send({"number": number})
        await result_of(connection.finish())
        assert await result_of(connection.recv()) == {"number": 1}


async def test_finish_sends_what_the_throttle_holds_and_waits_for_its_answer():
    with Peer() as peer:
        connection = peer.client().connect(APP, throttle_interval=100_000)
        for number in range(3):
            connection.send_nowait({"number": number})
        await result_of(connection.finish(10))
        stats = connection.stats()
        assert (stats["written"] + stats["coalesced"], stats["failed"], stats["unanswered"]) == (3, 0, 0)
        # The first one may have been written before the others were sent.
        numbers = [result["number"] async for result in connection]
        assert numbers in ([2], [0, 2])
        assert len(numbers) == stats["written"]


async def test_results_without_a_request_go_to_the_callback_before_it_is_over():
    results = Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, on_result=results, throttle_interval=0)
        for number in range(100):
            await connection.send({"number": number})
        await result_of(connection.finish(10))
        assert results[-1] == {"number": 99}
        assert len(results) == 100


async def test_a_timeout_says_how_many_had_no_answer_and_closes():
    with Peer(Session.wait_closed) as peer:
        connection = await peer.client().connect(APP, throttle_interval=0)
        for number in range(3):
            await connection.send({"number": number})
        with pytest.raises(RequestTimeoutError, match=r"after 0\.2 s at most 3 inputs had no answer, and 0 were not"):
            await connection.finish(0.2)
        assert connection.state == "closed"


async def test_a_connection_that_was_never_used_finishes_at_once():
    with Peer() as peer:
        connection = peer.client().connect(APP)
        await result_of(connection.finish())
        assert (connection.state, peer.accepted) == ("closed", 0)
        await result_of(connection.finish())


async def test_a_session_that_is_lost_meanwhile_is_told_with_how_many_had_no_answer():
    lose = threading.Event()

    def script(session: Session) -> None:
        for _ in range(2):
            session.recv()
        lose.wait(10)
        session.drop()

    with Peer(script, Session.echo) as peer:
        policy = ReconnectPolicy(initial_delay=0.01)
        connection = await peer.client().connect(APP, throttle_interval=0, reconnect=policy)
        for number in range(2):
            await connection.send({"number": number})
        await peer.until(lambda: len(peer.sessions[0].messages) == 2)
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0)
        lose.set()
        with pytest.raises(ConnectionLostError, match="at most 2 inputs") as raised:
            await result_of(finishing)
        assert raised.value.unanswered == 2
        assert connection.state == "closed"


async def test_what_was_not_written_when_a_session_was_lost_is_sent_in_the_next_one():
    def refused(session: Session) -> None:
        session.refuse(503)

    with Peer(refused, Session.echo) as peer:
        connection = peer.client().connect(APP, reconnect=ReconnectPolicy(initial_delay=0.01), throttle_interval=0)
        request = asyncio.create_task(connection.request({"number": 1}))
        await asyncio.sleep(0)
        await gather(connection.finish(10), request)
        assert request.result()["number"] == 1


async def test_with_streaming_it_waits_for_the_end_of_the_stream():
    end = threading.Event()

    def script(session: Session) -> None:
        session.recv()
        session.send({"chunk": 0})
        end.wait(10)
        session.send({"chunk": 1})
        session.send_timeout()
        session.close()

    with Peer(script) as peer:
        connection = await peer.client().connect(APP, streaming=True)
        await connection.send({})
        assert await result_of(connection.recv()) == {"chunk": 0}
        assert connection.in_flight == 1
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0.05)
        assert not finishing.done()
        end.set()
        await result_of(finishing)
        assert [chunk async for chunk in connection] == [{"chunk": 1}]


async def test_cancelling_it_leaves_the_connection_open_without_more_inputs():
    held = Held()
    with Peer(held) as peer:
        connection = await peer.client().connect(APP)
        await connection.send({"number": 1})
        await peer.until(lambda: peer.sessions[0].messages)
        finishing = asyncio.create_task(connection.finish())
        await asyncio.sleep(0)
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        assert connection.state == "active"
        with pytest.raises(ConnectionClosedError):
            await connection.send({})
        held.go.set()
        await result_of(connection.finish())
        assert await result_of(connection.recv()) == {"number": 1}


async def test_an_asynchronous_encoder_is_waited_for():
    async def encode(message: object) -> bytes:
        await asyncio.sleep(0.01)
        return b"\x81\xa6number\x01"

    with Peer() as peer:
        connection = await peer.client().connect(APP, encode_message=encode)
        connection.send_nowait({"number": 1})
        await result_of(connection.finish(10))
        assert peer.inputs == [{"number": 1}]


def send_until_refused(connection) -> None:
    while True:
        connection.send({})


def test_the_blocking_client_finishes_likewise():
    held = Held()
    with Peer(held) as peer:
        connection = peer.sync_client().connect(APP)
        connection.send({"number": 1})
        peer.wait(lambda: peer.sessions and peer.sessions[0].messages)
        assert connection.in_flight == 1
        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(connection.finish(10)))
        thread.start()
        with pytest.raises(ConnectionClosedError, match=r"finish\(\) was called"):
            send_until_refused(connection)
        held.go.set()
        thread.join(10)
        assert outcome == [None]
        assert connection.recv(timeout=60) == {"number": 1}
        assert connection.state == "closed"


def test_a_blocking_finish_tells_its_timeout_too():
    with Peer(Session.wait_closed) as peer:
        connection = peer.sync_client().connect(APP)
        connection.send({"number": 1})
        peer.wait(lambda: peer.sessions and peer.sessions[0].messages)
        with pytest.raises(RequestTimeoutError, match=r"after 0\.05 s at most 1 inputs"):
            connection.finish(0.05)
        assert connection.state == "closed"


async def test_what_an_opening_says_is_sent_though_nothing_else_is_accepted():
    refuse = threading.Event()

    def refused(session: Session) -> None:
        refuse.wait(10)
        session.refuse(503)

    async def greet(connection) -> None:
        assert (await connection.request({"name": "opening"}, timeout=60))["name"] == "opening"

    with Peer(refused, Session.echo) as peer:
        client = peer.client()
        connection = client.connect(APP, on_open=greet, reconnect=ReconnectPolicy(initial_delay=0.01))
        await connection.send({"name": "input"})
        finishing = asyncio.create_task(connection.finish(10))
        await asyncio.sleep(0)
        refuse.set()
        await result_of(finishing)
        assert [message["name"] for message in peer.inputs] == ["opening", "input"]
        assert await result_of(connection.recv()) == {"name": "input"}


class TestWhatIsTold:
    async def test_a_loss_meanwhile_is_told_though_results_had_come(self) -> None:
        with LocalServer() as server:
            server.serve_builtin("local/echo", "echo")
            connection = server.client().connect("local/echo", throttle_interval=0)
            for n in range(10):
                await connection.send({"n": n, "delay": 0.1})
            await connection.recv()
            finishing = asyncio.ensure_future(connection.finish(20))
            await asyncio.sleep(0)
            server.drop_connections()
            with pytest.raises(ConnectionLostError, match="a session ended before at most"):
                await finishing

    async def test_a_connection_that_finishes_is_not_given_again(self) -> None:
        with LocalServer() as server:
            server.serve_builtin("local/echo", "echo")
            client = server.client()
            first = client.connect("local/echo", connection_key="key", throttle_interval=0)
            await first.send({"n": 1, "delay": 0.2})
            finishing = asyncio.ensure_future(first.finish(20))
            await asyncio.sleep(0)
            second = client.connect("local/echo", connection_key="key", throttle_interval=0)
            assert second is not first
            assert (await second.request({"n": 2}))["n"] == 2
            await finishing
            await second.aclose()
