"""Where the files of a result are: the shapes that fal's apps answer in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from fal_realtime._checks import wrong_type
from fal_realtime._core import EncodedResult

from . import _content_types as content_types
from ._base64 import from_base64
from ._bytes import BytesLike, is_bytes
from ._media import Image, Media, is_data_uri, is_url

_CONTENTS = ("content", "url", "file_data")
"""The names under which an app gives a file: its bytes in realtime, else where it is."""

MediaT = TypeVar("MediaT", bound=Media)


def images(result: object) -> list[Image]:
    """Give the images of a result, in their order; none if it has none.

    They are under `images` or `image`, with their bytes as `content` (realtime apps), or their `url`: an address, or a
    data URI (`sync_mode=True`). A result that is itself bytes is an image.

    Args:
        result: What `recv`, `request` or iteration gave: a mapping, an object of a `result_type`, or bytes.

    Raises:
        TypeError: It is no result, or one that is not decoded (`decode=False`).
        ValueError: What is there has no file in any of these shapes; says where.
    """
    return [
        Image(
            *_contents(item, place, needs_magic=True),
            width=_integer(_get(item, "width")),
            height=_integer(_get(item, "height")),
        )
        for place, item in _found(result, ("images", "image"))
    ]


def videos(result: object) -> list[Media]:
    """Give the videos of a result, which are under `videos` or `video`; in all else as `images`."""
    return [Media(*_contents(item, place)) for place, item in _found(result, ("videos", "video", "video_url"))]


def audio(result: object) -> list[Media]:
    """Give the audio of a result, which is under `audio`, `audio_file` or `audio_url`; in all else as `images`.

    What speech apps give are samples without a format: `Pcm(media.data, 24_000)` makes a WAV file of them.
    """
    return [Media(*_contents(item, place)) for place, item in _found(result, ("audio", "audio_file", "audio_url"))]


def _found(result: object, names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """What is under these names, each with its place."""
    if is_bytes(result):
        yield "result", result
        return
    if isinstance(result, EncodedResult):
        message = "the result is not decoded (decode=False): give fal_realtime.msgpack.decode(result.payload)"
        raise TypeError(message)
    if result is None or isinstance(result, str | int | float | list | tuple | set | Media):
        name, expected = "result", "one result of an app: a mapping, an object or bytes"
        raise wrong_type(name, expected, cast("object", result))
    for name in names:
        value = _get(result, name)
        if isinstance(value, list | tuple):
            for index, item in enumerate(cast("list[object]", value)):
                yield f"{name}[{index}]", item
        elif value is not None:
            yield name, value


def _get(value: object, name: str) -> Any:
    """The entry of a mapping, or the attribute of an object; None where there is none."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _contents(
    item: object, place: str, *, needs_magic: bool = False
) -> tuple[bytes | str, str | None, str | None, str]:
    """The arguments of a `Media`."""
    if isinstance(item, str) or is_bytes(item):
        return _source(item, place, needs_magic), None, None, place
    for name in _CONTENTS:
        value = _get(item, name)
        if (isinstance(value, str) or is_bytes(value)) and len(value):
            file_name = _get(item, "file_name")
            source = _source(value, f"{place}.{name}", needs_magic)
            kind = content_types.declared(_get(item, "content_type"))
            return source, kind, file_name if isinstance(file_name, str) else None, place
    kind = type(item).__name__
    names = ", ".join(map(str, cast("Mapping[object, object]", item))) if isinstance(item, Mapping) else "none"
    message = f"{place} must be bytes, a URL, a data URI, or have content or url: it is {kind}, and has {names}"
    raise ValueError(message)


def _source(value: BytesLike | str, place: str, needs_magic: bool) -> bytes | str:
    """The bytes, or a text that says where or what they are."""
    if not isinstance(value, str):
        return bytes(value)
    if is_url(value) or is_data_uri(value):
        return value
    # Base64 without a word of what it is: most texts are none, but some are by chance.
    try:
        data = from_base64(value)
    except ValueError:
        data = b""
    if not data or (needs_magic and content_types.sniff(data) is None):
        message = f"{place} is a text of {len(value)} characters that is neither a URL nor a data URI nor base64"
        raise ValueError(message)
    return data
