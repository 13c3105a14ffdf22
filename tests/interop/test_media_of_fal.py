"""The files that fal's own toolkit makes of a result are found in it."""

from __future__ import annotations

import numpy as np
import pytest
from fal.toolkit import Audio, Image, Video
from PIL import Image as Pillow
from pydantic import BaseModel

from fal_realtime import media, msgpack


class Output(BaseModel):
    images: list[Image]
    image: Image | None = None
    audio: Audio | None = None
    video: Video | None = None


PICTURE = Pillow.new("RGB", (24, 16), (255, 0, 0))
IMAGE = Image.from_pil(PICTURE, format="png", repository="in_memory")


@pytest.mark.parametrize(
    "give",
    [lambda output: output, lambda output: output.model_dump(), lambda output: msgpack.decode(msgpack.encode(output))],
)
def test_images_of_fals_toolkit_are_found(give):
    found = media.images(give(Output(images=[IMAGE], image=IMAGE)))
    assert [(image.width, image.height, image.content_type) for image in found] == [(24, 16, "image/png")] * 2
    assert all(np.array_equal(image.numpy(), np.array(PICTURE)) for image in found)


def test_audio_and_video_of_fals_toolkit_are_found():
    wav = media.Pcm(bytes(160), 8000).wav()
    output = Output(
        images=[],
        audio=Audio.from_bytes(wav, content_type="audio/wav", repository="in_memory"),
        video=Video(url="https://v3.fal.media/files/cat.mp4"),
    )
    result = msgpack.decode(msgpack.encode(output))
    assert [(file.data, file.content_type) for file in media.audio(result)] == [(wav, "audio/wav")]
    assert [(file.url, file.content_type) for file in media.videos(result)] == [(output.video.url, "video/mp4")]
    assert media.images(result) == []
