"""Inputs go out while results come in: one task sends, another one iterates. Needs FAL_KEY."""

import asyncio

from fal_realtime import RealtimeClient, RealtimeConnection


async def send_all(connection: RealtimeConnection) -> None:
    for seed in range(10):
        await connection.send({"prompt": "a cat", "seed": seed})  # waits while the queue is full
    await connection.finish(timeout=60)  # when each has its result, the iteration ends


async def main() -> None:
    async with RealtimeClient().connect("fal-ai/fast-lcm-diffusion", throttle_interval=0) as connection:
        sending = asyncio.create_task(send_all(connection))
        async for result in connection:
            print(result["seed"], result["images"][0]["width"])
        await sending


asyncio.run(main())
