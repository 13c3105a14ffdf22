"""Callbacks, as in the TypeScript client: for inputs that change faster than an app answers. Needs FAL_KEY."""

import asyncio
from typing import Any

from fal_realtime import FalRealtimeError, RealtimeClient


def show(result: dict[str, Any]) -> None:
    print("image", result["seed"], len(result["images"][0]["content"]), "bytes")


def complain(error: FalRealtimeError) -> None:
    print("error:", error)


async def main() -> None:
    connection = RealtimeClient().connect("fal-ai/fast-lcm-diffusion", on_result=show, on_error=complain)
    for seed in range(30):
        connection.send_nowait({"prompt": "a cat", "seed": seed})  # the newest one in 128 ms goes out
        await asyncio.sleep(0.02)  # as a user moves a slider
    await connection.finish(timeout=60)  # waits for the results under way, and closes


asyncio.run(main())
