"""Speech: chunks of PCM go to an app that streams, and its chunks come back meanwhile. Needs FAL_KEY.

    python examples/speech.py owner/app question.wav answer.wav

The app is one of your own, of this shape; its last answer says so, whatever it has to say after the last chunk:

    @fal.realtime("/realtime")
    async def talk(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:    # Chunk: pcm: bytes, last: bool
        async for chunk in chunks:
            yield Chunk(pcm=…, last=chunk.last)
"""

import asyncio
import sys
import wave

from fal_realtime import RealtimeClient, RealtimeConnection

CHUNK_SECONDS = 0.02


async def speak(connection: RealtimeConnection, path: str) -> None:
    with wave.open(path) as speech:
        frames = int(speech.getframerate() * CHUNK_SECONDS)
        while speech.tell() < speech.getnframes():
            pcm = speech.readframes(frames)
            await connection.send({"pcm": pcm, "last": speech.tell() == speech.getnframes()})
            await asyncio.sleep(CHUNK_SECONDS)  # as a microphone does


async def main(app: str, question: str, answer: str) -> None:
    with wave.open(question) as speech, wave.open(answer, "wb") as heard:
        heard.setparams(speech.getparams())
        async with RealtimeClient().connect(app, streaming=True, throttle_interval=0) as connection:
            speaking = asyncio.create_task(speak(connection, question))
            async for chunk in connection:
                heard.writeframes(chunk["pcm"])
                if chunk["last"]:
                    break
            await speaking
        print(f"{answer}: {heard.tell() / heard.getframerate():.2f} s")


asyncio.run(main(*sys.argv[1:]))
