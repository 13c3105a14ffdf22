"""Images out of results, and into inputs, with the real Pillow and numpy."""

from __future__ import annotations

import base64
import dataclasses
import io
import pickle
import subprocess
import sys
from collections import UserDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from fal_realtime import media, msgpack


def encoded(kind: str = "jpeg", size: tuple[int, int] = (64, 32), mode: str = "RGB", **options: Any) -> bytes:
    """A picture whose left half is red."""
    picture = Pillow.new(mode, size, 0 if mode in ("L", "P", "1") else (0, 0, 255, 128)[: len(mode)])
    picture.paste(200 if mode in ("L", "P", "1") else (255, 0, 0, 255)[: len(mode)], (0, 0, size[0] // 2, size[1]))
    to = io.BytesIO()
    picture.save(to, kind, **options)
    return to.getvalue()


JPEG = encoded()
PNG = encoded("png")
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
URL = "https://v3.fal.media/files/secret-name/cat.png?signature=secret"


@dataclasses.dataclass
class File:
    content: bytes
    content_type: str = "image/jpeg"


@dataclasses.dataclass
class Result:
    images: list[File]


# --- finding them ---


@pytest.mark.parametrize(
    ("result", "data", "content_type"),
    [
        (
            {"images": [{"content": JPEG, "content_type": "image/jpeg", "width": 64, "height": 32}]},
            [JPEG],
            "image/jpeg",
        ),
        ({"images": [{"content": JPEG}, {"url": URI}], "seed": 1}, [JPEG, PNG], "image/jpeg"),
        ({"image": {"url": URI, "content_type": "image/png", "file_name": "cat.png"}}, [PNG], "image/png"),
        ({"image": PNG}, [PNG], "image/png"),
        ({"image": URI}, [PNG], "image/png"),
        ({"image": base64.b64encode(PNG).decode()}, [PNG], "image/png"),
        ({"images": [{"content": URI.partition(",")[2], "content_type": "image/jpg"}]}, [PNG], "image/jpeg"),
        ({"images": [{"content": b"", "url": URI}]}, [PNG], "image/png"),
        ({"image": None, "images": [JPEG]}, [JPEG], "image/jpeg"),
        ({"images": [JPEG], "image": PNG}, [JPEG, PNG], "image/jpeg"),
        (UserDict(images=(bytearray(JPEG), memoryview(PNG))), [JPEG, PNG], "image/jpeg"),
        (Result([File(JPEG)]), [JPEG], "image/jpeg"),
        (SimpleNamespace(images=[SimpleNamespace(url=URI)]), [PNG], "image/png"),
        (JPEG, [JPEG], "image/jpeg"),
        (memoryview(PNG), [PNG], "image/png"),
        ({"images": [{"content": JPEG, "content_type": "application/octet-stream"}]}, [JPEG], "image/jpeg"),
        ({"image": "data:image/svg+xml,%3Csvg/%3E"}, [b"<svg/>"], "image/svg+xml"),
    ],
)
def test_the_images_of_a_result_are_found_in_each_shape(result, data, content_type):
    found = media.images(result)
    assert [image.data for image in found] == data
    assert found[0].content_type == content_type
    assert all(isinstance(image, media.Image) for image in found)


@pytest.mark.parametrize("result", [{}, {"seed": 1}, {"images": []}, {"images": None}, Result([])])
def test_a_result_without_images_has_none(result):
    assert media.images(result) == []


def test_an_image_has_what_the_result_says_of_it():
    shape = {"content": JPEG, "content_type": "image/jpeg", "width": 64, "height": 32, "file_name": "a.jpg"}
    (image,) = media.images({"images": [shape]})
    assert (image.width, image.height, image.file_name, image.url) == (64, 32, "a.jpg", None)
    assert repr(image) == f"<Image images[0]: 64 x 32, image/jpeg, {len(JPEG)} bytes>"


def test_an_image_is_frozen_equal_to_its_like_and_can_be_pickled():
    image, other = media.images({"images": [JPEG, JPEG]})
    assert image == other
    assert {image: 1}[pickle.loads(pickle.dumps(other))] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.source = PNG


def test_a_url_is_told_and_not_fetched():
    (image,) = media.images({"images": [{"url": URL, "width": 8, "height": 9}]})
    assert (image.url, image.content_type, image.width) == (URL, "image/png", 8)
    for use in (image.pil, image.numpy, lambda: image.save("cat.png"), lambda: image.data):
        with pytest.raises(ValueError, match=r"images\[0\] is at a URL .*not fetched.*sync_mode=True") as raised:
            use()
        assert "secret" not in str(raised.value) + repr(image)
    assert not Path("cat.png").exists()


@pytest.mark.parametrize("result", [None, "text", 7, [JPEG], ({"images": []},)])
def test_what_is_no_result_is_refused(result):
    with pytest.raises(TypeError, match="result must be one result of an app"):
        media.images(result)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"images": [JPEG, {"seed": 1}]}, r"images\[1\] must be bytes.*it is dict, and has seed"),
        ({"image": {"content": b""}}, "image must be bytes"),
        ({"image": 7}, "image must be bytes.*it is int"),
        ({"image": "cat.png"}, "image is a text of 7 characters that is neither"),
        ({"images": [{"content": "cats"}]}, r"images\[0\].content is a text of 4 characters"),
    ],
)
def test_what_is_no_image_is_told_with_its_place(result, why):
    with pytest.raises(ValueError, match=why):
        media.images(result)


def test_a_result_that_is_not_decoded_says_how_to_decode_it(fal_local_server):
    fal_local_server.serve_builtin("me/image", "image")
    with fal_local_server.sync_client().connect("me/image", decode=False) as connection:
        connection.send({"width": 16, "height": 8})
        result = connection.recv(timeout=20)
    with pytest.raises(TypeError, match="decode=False"):
        media.images(result)
    (image,) = media.images(msgpack.decode(result.payload))
    assert image.pil().size == (image.width, image.height) == (16, 8)


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,a",
        "data:image/png;base64,QQ==QUJDREVG",
        "data:image/png;base64,QUI=QQ==",
        "data:image/png;base64,=QUJD",
    ],
)
def test_a_broken_data_uri_is_told_when_it_is_read(uri):
    (image,) = media.images({"image": {"url": uri}})
    assert "cannot be decoded" in repr(image)
    with pytest.raises(ValueError, match="image: "):
        _ = image.data


# --- using them ---


def test_pillow_and_numpy_give_the_pixels():
    (image,) = media.images({"images": [{"content": PNG}]})
    assert image.pil().getpixel((0, 0)) == (255, 0, 0)
    array = image.numpy()
    assert (array.shape, array.dtype) == ((32, 64, 3), np.uint8)
    assert (array[0, 0].tolist(), array[0, 63].tolist()) == ([255, 0, 0], [0, 0, 255])
    array[:] = 0  # it is ours


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", (3,)), ("RGBA", (4,)), ("P", (3,)), ("LA", (4,)), ("1", (3,))],
    ids=str,
)
def test_arrays_have_three_channels_or_four(mode, channels):
    (image,) = media.images(encoded("png", mode=mode))
    assert image.numpy().shape == (32, 64, *channels)


def test_an_array_of_more_than_eight_bits_keeps_them():
    to = io.BytesIO()
    Pillow.fromarray(np.full((4, 5), 40_000, np.uint16)).save(to, "png")
    array = media.images(to.getvalue())[0].numpy()
    assert (array.shape, int(array[0, 0])) == ((4, 5), 40_000)


@pytest.mark.parametrize("data", [b"no image", b"", JPEG[: len(JPEG) // 2]])
def test_what_pillow_cannot_read_is_told(data):
    with pytest.raises(ValueError, match=rf"image is no image that Pillow reads.*\({len(data)} bytes"):
        media.Image(data, place="image").pil()


def test_saving_keeps_the_bytes_and_adds_a_suffix(tmp_path):
    (image,) = media.images({"image": JPEG})
    assert image.save(tmp_path / "cat") == tmp_path / "cat.jpg"
    assert image.save(str(tmp_path / "dog.JPEG")).read_bytes() == (tmp_path / "cat.jpg").read_bytes() == JPEG
    assert image.save(tmp_path / "cat.v2").read_bytes() == JPEG


@pytest.mark.parametrize(("name", "kind"), [("cat.png", "PNG"), ("cat.webp", "WEBP"), ("cat.gif", "GIF")])
def test_saving_under_the_suffix_of_another_format_converts(tmp_path, name, kind):
    path = media.images(JPEG)[0].save(tmp_path / name)
    with Pillow.open(path) as saved:
        assert (saved.format, saved.size) == (kind, (64, 32))


def test_what_is_declared_wrongly_is_saved_as_what_it_is(tmp_path):
    (image,) = media.images({"images": [{"content": PNG, "content_type": "image/jpeg"}]})
    assert image.content_type == "image/jpeg"
    with Pillow.open(image.save(tmp_path / "cat.jpg")) as saved:
        assert saved.format == "JPEG"
    assert image.save(tmp_path / "cat").suffix == ".png"


def test_transparency_is_not_lost_in_a_jpeg(tmp_path):
    (image,) = media.images(encoded("png", mode="RGBA"))
    with pytest.raises(ValueError, match=r"cannot be written as jpeg.*save it as png or webp"):
        image.save(tmp_path / "cat.jpg")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="cannot be written as svg"):
        image.save(tmp_path / "cat.svg")


def test_other_media_are_found_and_saved(tmp_path):
    wav = media.Pcm(b"\0\0" * 80, 8000).wav()
    result = {"audio": {"url": URL.replace("png", "wav")}, "video": {"content": b"\0\0\0\x18ftypisom", "width": 3}}
    (sound,) = media.audio(result)
    assert (sound.url, sound.content_type) == (URL.replace("png", "wav"), "audio/wav")
    (video,) = media.videos(result)
    assert video.content_type == "video/mp4"
    assert video.save(tmp_path / "cat") == tmp_path / "cat.mp4"
    with pytest.raises(ValueError, match=r"'cat.wav' would be audio/wav: save it as 'cat.mp4'"):
        video.save(tmp_path / "cat.wav")
    assert media.audio({"audio_file": wav})[0].save(tmp_path / "cat").name == "cat.wav"
    (samples,) = media.audio({"audio": b"\1\0" * 80, "text": "hi"})
    assert samples.content_type == "application/octet-stream"
    with pytest.raises(ValueError, match=r"write them with Pcm\(data, sample_rate\).save"):
        samples.save(tmp_path / "voice.wav")
    assert media.audio({"audio": "AQACAA=="})[0].data == b"\1\0\2\0"


# --- into inputs ---


def opened(uri: str) -> Pillow.Image:
    """The image of a data URI, whose content type must be its own."""
    kind, _, data = uri.removeprefix("data:").partition(";base64,")
    image = Pillow.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert f"image/{image.format.lower()}" == kind
    return image


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: media.images(data)[0]])
def test_a_file_goes_in_as_it_is(make):
    for data, kind in ((JPEG, "jpeg"), (PNG, "png")):
        assert media.data_uri(make(data)) == f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        assert media.image_bytes(make(data), max_side=64, format=kind) == data


def test_paths_and_data_uris_are_taken(tmp_path):
    (tmp_path / "cat").write_bytes(PNG)
    (tmp_path / "cat.svg").write_text("<svg/>", encoding="ascii")
    assert media.data_uri(tmp_path / "cat") == media.data_uri(str(tmp_path / "cat")) == media.data_uri(URI) == URI
    assert media.data_uri(tmp_path / "cat.svg").startswith("data:image/svg+xml;base64,")
    assert media.image_bytes(tmp_path / "cat") == PNG


def test_max_side_makes_larger_images_smaller_in_proportion():
    small = opened(media.data_uri(JPEG, max_side=16))
    assert small.size == (16, 8)
    red, green, blue = small.getpixel((2, 4))
    assert red > 200
    assert max(green, blue) < 60
    assert opened(media.data_uri(encoded("png", mode="P"), max_side=16)).size == (16, 8)


def test_quality_makes_it_smaller():
    noise = Pillow.effect_noise((128, 128), 80).convert("RGB")
    sizes = [len(media.image_bytes(noise, quality=quality)) for quality in (10, 50, 95)]
    assert sizes == sorted(set(sizes))
    assert opened(media.data_uri(noise, quality=50, format="webp")).size == (128, 128)


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [("RGB", None, "JPEG"), ("RGBA", None, "PNG"), ("L", None, "JPEG"), ("P", "jpg", "JPEG"), ("RGB", "webp", "WEBP")],
)
def test_images_of_pillow_are_encoded_and_left_alone(mode, kind, expected):
    image = Pillow.new(mode, (40, 20))
    uri = media.data_uri(image, max_side=10, format=kind)
    assert (opened(uri).format, opened(uri).size) == (expected, (10, 5))
    assert (image.size, image.mode) == ((40, 20), mode)


def test_files_that_apps_do_not_take_become_ones_that_they_do():
    assert opened(media.data_uri(encoded("gif", mode="P"), max_side=8)).format == "JPEG"
    assert opened(media.data_uri(encoded("bmp"), format="png")).format == "PNG"


def test_a_picture_is_turned_as_the_camera_was_held():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    data = encoded(exif=exif)
    turned = opened(media.data_uri(data, max_side=32))
    assert turned.size == (16, 32)
    assert turned.getpixel((8, 2))[0] > 200


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_arrays_are_images(shape):
    array = np.full(shape, 255, np.uint8)
    assert opened(media.data_uri(array, format="png")).size == (6, 4)


def test_a_turned_round_array_has_its_own_colours():
    bgr = np.zeros((8, 8, 3), np.uint8)
    bgr[..., 2] = 255
    assert opened(media.data_uri(bgr[..., ::-1], format="png")).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((4, 6, 3)), "must be of uint8, .* not float64 of 4 x 6 x 3"),
        (np.zeros((4, 6, 2), np.uint8), "not uint8 of 4 x 6 x 2"),
        (np.zeros(4, np.uint8), "not uint8 of 4"),
        (np.zeros((0, 6, 3), np.uint8), "must have pixels"),
    ],
)
def test_other_arrays_are_refused(array, why):
    with pytest.raises(ValueError, match=why):
        media.data_uri(array)


@pytest.mark.parametrize(
    ("image", "options", "error", "why"),
    [
        (None, {}, TypeError, "image must be a path, .* not NoneType"),
        (7, {}, TypeError, "not int"),
        (b"no image", {}, ValueError, r"of no known format, and no image \(8 bytes: b'no image'"),
        (b"", {}, ValueError, r"\(0 bytes: nothing\)"),
        (b"RIFF\0\0\0\0WAVE", {}, ValueError, "image is audio/wav, and no image"),
        (JPEG[:200], {"max_side": 8}, ValueError, "image is no image that Pillow reads"),
        (URL, {}, ValueError, "image is a URL, which is not fetched here"),
        (JPEG, {"max_side": 0}, ValueError, "max_side must be at least 1"),
        (JPEG, {"max_side": 8.0}, TypeError, "max_side must be an int"),
        (JPEG, {"quality": 101}, ValueError, "quality must be from 1 to 100"),
        (JPEG, {"format": "tiff"}, ValueError, "format must be 'jpeg', 'png' or 'webp', not 'tiff'"),
        (PNG, {"quality": 50}, ValueError, "quality has no meaning for png"),
        (encoded("png", mode="RGBA"), {"format": "jpeg"}, ValueError, "cannot be written as jpeg"),
    ],
)
def test_what_cannot_be_encoded_is_told(image, options, error, why):
    with pytest.raises(error, match=why):
        media.data_uri(image, **options)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        media.data_uri(tmp_path / "nothing.png")


def test_without_pillow_and_numpy_only_what_needs_them_is_missing():
    program = f"""
import sys
sys.modules.update(dict.fromkeys(("PIL", "numpy")))  # as if they were not installed
from fal_realtime import media
data = {JPEG!r}
(image,) = media.images({{"images": [{{"content": data}}]}})
assert media.data_uri(image).startswith("data:image/jpeg;base64,")
assert media.Pcm(b"\\0\\0", 8000).wav()
for use in (image.pil, image.numpy, lambda: media.data_uri(data, max_side=8), media.Pcm(b"", 8000).numpy):
    try:
        use()
    except ImportError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said = [line.partition(" (")[0] for line in ran.stdout.splitlines()]
    assert said == [
        "Image.pil() needs Pillow: pip install pillow",
        "Image.numpy() needs numpy: pip install numpy",
        "data_uri needs Pillow: pip install pillow",
        "Pcm.numpy() needs numpy: pip install numpy",
    ]


def test_importing_it_loads_neither():
    program = "import sys, fal_realtime.media; print(sorted({'PIL', 'numpy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
