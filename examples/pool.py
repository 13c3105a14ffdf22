"""Many inputs over a few connections: each result, or why there is none. Needs FAL_KEY."""

import asyncio

from fal_realtime import RealtimeClient


async def main() -> None:
    async with RealtimeClient().pool("fal-ai/fast-lcm-diffusion", size=4) as pool:
        inputs = ({"prompt": "a cat", "seed": seed} for seed in range(20))
        async for outcome in pool.map(inputs, timeout=60, retries=3):
            print(outcome.index, outcome.result["seed"] if outcome.ok else outcome.error)


asyncio.run(main())
