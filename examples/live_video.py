"""Live video: the newest frame goes to the app, and what comes back becomes a video. Needs FAL_KEY, PyAV (`av`) and
Pillow.

python examples/live_video.py                      # 3 seconds of a test picture
python examples/live_video.py /dev/video0 v4l2     # a camera, on Linux
"""

import asyncio
import sys
from fractions import Fraction

import av

from fal_realtime import RealtimeClient, RealtimeConnection, media

FPS = 10
TEST_PICTURE = f"testsrc=size=512x512:rate={FPS}:duration=3"


async def send_frames(connection: RealtimeConnection, source: str, form: str) -> None:
    with av.open(source, format=form) as camera:
        frames = camera.decode(video=0)
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            image = await asyncio.to_thread(media.data_uri, frame.to_image(), max_side=512)
            # What does not go out before the next frame is replaced by it.
            connection.send_nowait({"prompt": "a cat", "image_url": image, "seed": 1})
            if form == "lavfi":
                await asyncio.sleep(1 / FPS)  # a camera gives its frames at its own pace
    await connection.finish(timeout=30)


async def main(source: str = TEST_PICTURE, form: str = "lavfi") -> None:
    client, count = RealtimeClient(), 0
    with av.open("results.mp4", "w") as video:
        stream = video.add_stream("mpeg4", rate=FPS)
        async with client.connect("fal-ai/fast-lcm-diffusion", throttle_interval=1000 / FPS) as connection:
            sending = asyncio.create_task(send_frames(connection, source, form))
            async for result in connection:
                frame = av.VideoFrame.from_image(media.images(result)[0].pil())
                if count == 0:
                    stream.width, stream.height = frame.width, frame.height
                frame.pts, frame.time_base, count = count, Fraction(1, FPS), count + 1
                video.mux(stream.encode(frame.reformat(stream.width, stream.height, "yuv420p")))
            await sending
        video.mux(stream.encode())
    print(f"results.mp4: {count} frames")


asyncio.run(main(*sys.argv[1:]))
