"""Large messages: sent from the caller's own `bytes`, and not in the way of small ones."""

from __future__ import annotations

import asyncio
import random
import sys

from support import LIMIT, Peer, gather, result_of
from test_buffering import APP, Gate, accounted

LARGE = 16 << 10
"""From this size on `bytes` are lent to the message."""


async def test_large_bytes_arrive_as_they_were_beside_everything_else():
    sizes = [LARGE - 1, LARGE, LARGE + 1, 100_003, 1 << 20]
    rng = random.Random(1)
    message = {
        "head": "x" * 40_000,
        "frames": [{"index": index, "data": rng.randbytes(size)} for index, size in enumerate(sizes)],
        "view": memoryview(rng.randbytes(200_000))[::2],
        "array": bytearray(rng.randbytes(70_000)),
        "tail": [b"", rng.randbytes(300_000), None],
    }
    expected = {**message, "view": bytes(message["view"]), "array": bytes(message["array"])}
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            for _ in range(3):
                await connection.send(message)
            assert [await result_of(connection.recv()) for _ in range(3)] == [expected] * 3
        assert accounted(connection.stats())


async def test_bytes_that_were_sent_are_let_go_of_at_the_next_message():
    data = random.Random(2).randbytes(1 << 20)
    before = sys.getrefcount(data)
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            for _ in range(5):
                await connection.send({"data": data})
            for _ in range(5):
                await result_of(connection.recv())
            await result_of(connection.request({"small": True}))
            assert sys.getrefcount(data) == before


async def test_bytes_that_were_never_sent_are_let_go_of_too():
    data = random.Random(3).randbytes(1 << 20)
    before = sys.getrefcount(data)
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        client = peer.client()
        connection = client.connect(APP)
        for _ in range(5):
            connection.send_nowait({"data": data})
        assert sys.getrefcount(data) > before, "the message refers to it"
        await connection.aclose()
        gate.open()
        async with client.connect(APP) as other:
            await other.send({"small": True})
        assert sys.getrefcount(data) == before


async def test_a_large_message_whose_sender_gave_up_is_not_waited_for():
    megabyte = bytes(1 << 20)
    gate = Gate()
    with Peer(gate.then_echo) as peer:
        connection = peer.client().connect(APP, throttle_interval=0, max_message_size=64 << 20)
        for _ in range(40):
            await connection.send({"data": megabyte})
        large = asyncio.ensure_future(connection.send({"data": [megabyte] * 30}))
        await asyncio.sleep(0)
        small = asyncio.ensure_future(connection.send({"small": True}))
        await asyncio.sleep(0)
        assert not small.done(), "it is behind the large one"
        large.cancel()
        await asyncio.wait_for(small, LIMIT)
        connection.send_nowait({"small": True})
        gate.open()
        results = [await result_of(connection.recv()) for _ in range(42)]
        assert results[40:] == [{"small": True}] * 2
        await connection.aclose()


async def test_large_and_small_messages_of_many_senders_keep_their_order():
    rng = random.Random(4)
    sizes = [[rng.choice([10, 5_000, LARGE, 300_000]) for _ in range(30)] for _ in range(4)]

    async def send_all(connection, sender):
        for number, size in enumerate(sizes[sender]):
            await connection.send({"sender": sender, "number": number, "data": bytes([number]) * size})

    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            sending = asyncio.ensure_future(gather(*(send_all(connection, sender) for sender in range(4))))
            came = [await result_of(connection.recv()) for _ in range(4 * 30)]
            await sending
        for sender in range(4):
            own = [result for result in came if result["sender"] == sender]
            assert [result["number"] for result in own] == list(range(30))
            assert [result["data"] for result in own] == [
                bytes([number]) * size for number, size in enumerate(sizes[sender])
            ]


async def test_results_of_all_sizes_come_whole_and_in_order_however_they_follow_each_other():
    """A result says how much room the next one is given: whatever follows, it is what was sent."""
    rng = random.Random(5)
    sizes = [
        1,
        300,
        4_000,
        9_000,
        20_000,
        33_000,
        60_000,
        65_500,
        66_000,
        100_000,
        240_000,
        250_000,
        300_000,
        1_100_000,
    ]
    order = [rng.choice(sizes) + rng.randrange(20) for _ in range(150)]
    with Peer() as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:

            async def send() -> None:
                for number, size in enumerate(order):
                    await connection.send({"number": number, "data": bytes([number % 256]) * size})

            sending = asyncio.ensure_future(send())
            for number, size in enumerate(order):
                result = await result_of(connection.recv())
                assert result["number"] == number
                assert result["data"] == bytes([number % 256]) * size, (number, size)
            await sending
        assert accounted(connection.stats())
