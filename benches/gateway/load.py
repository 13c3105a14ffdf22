"""The browsers of `gateway_relay.py`: PORT KEY SESSIONS MESSAGES INTERVAL SIZE.

Says `ready` once all sessions are open, sends when it is told to, each session at its own moments within the interval,
and prints the latencies. It is this package's raw client, whose cost is not the relay's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

from fal_realtime import RealtimeClient
from fal_realtime.msgpack import encode

AT_ONCE = 50
LIMIT = 120.0


async def main() -> None:
    port, key = sys.argv[1:3]
    sessions, messages = map(int, sys.argv[3:5])
    interval, size = float(sys.argv[5]), int(sys.argv[6])
    url = f"ws://127.0.0.1:{port}/local/echo/realtime"
    client = RealtimeClient(trust_env=False)
    gate = asyncio.Semaphore(AT_ONCE)
    message = encode({"data": bytes(size)})
    latencies: list[float] = []

    async def opened():
        async with gate:
            return await client.connect_raw(url, headers={"authorization": f"Key {key}"})

    async def play(connection, offset: float, began: float) -> None:
        for number in range(messages):
            await asyncio.sleep(began + offset + number * interval - time.monotonic())
            sent = time.monotonic()
            await connection.send(message)
            answer = await connection.recv(timeout=LIMIT)
            latencies.append(time.monotonic() - sent)
            assert len(answer) == len(message)

    connections = await asyncio.gather(*(opened() for _ in range(sessions)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic()
    await asyncio.gather(
        *(play(connection, interval * index / sessions, began) for index, connection in enumerate(connections))
    )
    cuts = statistics.quantiles(latencies, n=100)
    print(json.dumps({"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}), flush=True)
    await client.aclose()


asyncio.run(main())
