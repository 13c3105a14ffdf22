"""Requests that wait for their own result, some of them at once over one connection, and what may go wrong.

Needs FAL_KEY.
"""

import asyncio

from fal_realtime import FalRealtimeError, RealtimeClient, RequestTimeoutError


async def main() -> None:
    async with RealtimeClient().connect("fal-ai/fast-lcm-diffusion") as connection:

        async def ask(seed: int) -> None:
            try:
                result = await connection.request({"prompt": "a cat", "seed": seed}, timeout=30, retries=3)
            except RequestTimeoutError:
                print(seed, "no answer within 30 seconds")
            except FalRealtimeError as error:
                print(seed, "failed; trying again can help" if error.retryable else "failed", error)
            else:
                print(seed, result["images"][0]["width"])

        await asyncio.gather(*(ask(seed) for seed in range(5)))


asyncio.run(main())
