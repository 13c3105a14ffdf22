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

from fal_realtime import RealtimeClient, RealtimeConnection, media

CHUNK_MS = 20


async def speak(connection: RealtimeConnection, speech: media.Pcm) -> None:
    chunks = list(speech.chunks(CHUNK_MS))
    for number, pcm in enumerate(chunks, 1):
        await connection.send({"pcm": pcm, "last": number == len(chunks)})
        await asyncio.sleep(CHUNK_MS / 1000)  # as a microphone does


async def main(app: str, question: str, answer: str) -> None:
    speech, heard = media.read_wav(question), []
    async with RealtimeClient().connect(app, streaming=True, throttle_interval=0) as connection:
        speaking = asyncio.create_task(speak(connection, speech))
        async for chunk in connection:
            heard.append(chunk["pcm"])
            if chunk["last"]:
                break
        await speaking
    spoken = media.Pcm(b"".join(heard), speech.sample_rate, speech.channels)
    print(f"{spoken.save(answer)}: {spoken.seconds:.2f} s")


asyncio.run(main(*sys.argv[1:]))
