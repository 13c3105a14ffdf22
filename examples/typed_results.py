"""Results as pydantic models: checked where they come in, known to the type checker. Needs FAL_KEY, and pydantic."""

import asyncio

from pydantic import BaseModel

from fal_realtime import DecodeError, RealtimeClient


class Image(BaseModel):
    content: bytes
    width: int
    height: int


class Generated(BaseModel):
    images: list[Image]
    seed: int


async def main() -> None:
    async with RealtimeClient().connect("fal-ai/fast-lcm-diffusion", result_type=Generated) as connection:
        try:
            generated = await connection.request({"prompt": "a cat", "seed": 7}, timeout=30)
        except DecodeError as error:
            print("not what was declared, at", error.path, error)
            return
        image = generated.images[0]
        print(generated.seed, image.width, image.height, len(image.content), "bytes")


asyncio.run(main())
