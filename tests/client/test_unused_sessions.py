"""`max_session` and `idle_close`: sessions that cost and are not used are ended, and nothing is lost by it."""

from __future__ import annotations

import asyncio

import pytest
from support import LIMIT, Log, Peer, Session, gather, result_of

from fal_realtime import RealtimeClient
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"


async def test_a_quiet_session_is_closed_normally_and_the_next_send_opens_another():
    states = Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, idle_close=0.05, on_state_change=states)
        for number in (1, 2):
            assert await connection.request({"number": number}, timeout=LIMIT) == {
                "number": number,
                "request_id": peer.inputs[-1]["request_id"],
            }
            await states.until(lambda states, number=number: states.count("idle") == number)
            await peer.until(lambda number=number: peer.sessions[number - 1].close_code == 1000)
            assert (connection.close_code, connection.close_reason) == (1000, "idle")
        assert len(peer.sessions) == 2
        assert connection.stats()["unanswered"] == 0
        await connection.aclose()


async def test_a_session_with_an_answer_or_a_message_outstanding_is_not_idle():
    answer = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(session: Session) -> None:
        message = session.recv()
        loop.call_soon_threadsafe(answer.set)
        # Many times as long as the limit.
        for _ in range(10):
            session.fence()
            asyncio.run(asyncio.sleep(0.03))
        session.send(message)
        session.wait_closed()

    with Peer(slow) as peer:
        connection = peer.client().connect(APP, idle_close=0.03)
        await connection.send({"number": 1})
        await result_of(answer.wait())
        assert await result_of(connection.recv()) == {"number": 1}
        await peer.until(lambda: peer.sessions[0].close_code == 1000)
        assert len(peer.sessions) == 1
        await connection.aclose()


async def test_an_old_session_ends_between_two_requests_and_no_answer_is_lost():
    with LocalServer() as server:
        connection = server.client().connect("local/echo", max_session=0.02)
        for number in range(300):
            assert (await connection.request({"number": number}, timeout=LIMIT))["number"] == number
            await asyncio.sleep(0.001)
        stats = connection.stats()
        assert stats["reconnects"] >= 2
        assert (stats["written"], stats["unanswered"], stats["failed"]) == (300, 0, 0)
        await connection.aclose()


async def test_an_old_session_is_kept_while_inputs_overlap_and_ends_when_all_are_answered():
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    held: list[Session] = []

    def hold_first(session: Session) -> None:
        first, second = session.recv(), session.recv()
        session.send(second)
        held.append(session)
        loop.call_soon_threadsafe(release.set)
        third = session.recv()
        session.send(first)
        session.send(third)
        session.wait_closed()

    with Peer(hold_first, Session.echo) as peer:
        connection = peer.client().connect(APP, max_session=0.01)
        requests = [asyncio.ensure_future(connection.request({"number": number})) for number in range(2)]
        await result_of(release.wait())
        await asyncio.sleep(0.05)
        assert connection.state == "active"
        answers = await gather(connection.request({"number": 2}), *requests)
        assert [answer["number"] for answer in answers] == [2, 0, 1]
        await peer.until(lambda: peer.sessions[0].close_code == 1000)
        assert (await result_of(connection.request({"number": 3})))["number"] == 3
        assert [len(session.messages) for session in peer.sessions] == [3, 1]
        await connection.aclose()


def test_a_blocking_connection_is_closed_when_idle_too():
    with Peer() as peer, peer.sync_client().connect(APP, idle_close=0.05) as connection:
        for number in (1, 2):
            assert connection.request({"number": number}, timeout=LIMIT)["number"] == number
            peer.wait(lambda number=number: peer.sessions[number - 1].close_code == 1000)
        assert connection.stats()["reconnects"] == 1


async def test_iteration_goes_on_over_a_session_that_was_ended_unused():
    with Peer() as peer:
        connection = peer.client().connect(APP, idle_close=0.02, throttle_interval=0)

        async def receive() -> list[int]:
            return [(await connection.recv())["number"] for _ in range(3)]

        received = asyncio.ensure_future(receive())
        for number in range(3):
            await connection.send({"number": number})
            await peer.until(lambda number=number: len(peer.sessions) > number and peer.sessions[-1].close_code == 1000)
        assert await result_of(received) == [0, 1, 2]
        await connection.aclose()


@pytest.mark.parametrize("name", ["max_session", "idle_close"])
def test_a_stream_is_its_own_session(name):
    with pytest.raises(ValueError, match=f"{name} has no use with streaming=True"):
        RealtimeClient("key").connect(APP, streaming=True, **{name: 1})


@pytest.mark.parametrize("option", [{"max_session": 0.3}, {"idle_close": 0.15}], ids=lambda option: next(iter(option)))
async def test_results_of_inputs_that_were_sent_ahead_are_waited_for(option):
    with LocalServer() as server:
        server.serve_builtin("local/echo", "echo", buffering=20)
        connection = server.client().connect("local/echo", throttle_interval=0, **option)
        for n in range(6):
            await connection.send({"n": n, "delay": 0.2})
        assert [(await result_of(connection.recv()))["n"] for _ in range(6)] == list(range(6))
        await connection.aclose()
