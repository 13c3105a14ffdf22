"""Live video: the newest frame goes to the app, and what comes back becomes a video. Needs FAL_KEY, and PyAV (`av`).

python examples/live_video.py                      # 3 seconds of a test picture
python examples/live_video.py /dev/video0 v4l2     # a camera, on Linux
"""

import asyncio
import base64
import io
import sys
from fractions import Fraction

import av

from fal_realtime import RealtimeClient, RealtimeConnection

FPS = 10
TEST_PICTURE = f"testsrc=size=512x512:rate={FPS}:duration=3"


def to_jpeg(frame: av.VideoFrame) -> str:
    """The frame as the data URI that image apps take."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, FPS)
    packets = [*encoder.encode(frame.reformat(format="yuvj420p")), *encoder.encode(None)]
    return "data:image/jpeg;base64," + base64.b64encode(b"".join(map(bytes, packets))).decode()


async def send_frames(connection: RealtimeConnection, source: str, form: str) -> None:
    with av.open(source, format=form) as camera:
        frames = camera.decode(video=0)
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            # What does not go out before the next frame is replaced by it.
            connection.send_nowait({"prompt": "a cat", "image_url": to_jpeg(frame), "seed": 1})
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
                with av.open(io.BytesIO(result["images"][0]["content"])) as image:
                    frame = next(image.decode(video=0))
                if count == 0:
                    stream.width, stream.height = frame.width, frame.height
                frame.pts, frame.time_base, count = count, Fraction(1, FPS), count + 1
                video.mux(stream.encode(frame.reformat(stream.width, stream.height, "yuv420p")))
            await sending
        video.mux(stream.encode())
    print(f"results.mp4: {count} frames")


asyncio.run(main(*sys.argv[1:]))
