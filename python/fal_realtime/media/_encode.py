"""Images as apps take them: bytes or data URIs, no larger than they need to be."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fal_realtime import _checks as check

from . import _content_types as content_types
from ._base64 import from_data_uri, to_data_uri
from ._bytes import BytesLike, is_bytes
from ._libraries import numpy, pillow
from ._media import Image, Media, converted, decoded, is_data_uri, is_url

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as PillowImage

ImageSource: TypeAlias = "str | os.PathLike[str] | BytesLike | Image | PillowImage.Image | np.ndarray[Any, Any]"
"""What images are made of."""

ImageFormat: TypeAlias = Literal["jpeg", "png", "webp"]
"""What images are encoded as."""

_FORMATS: tuple[str, ...] = get_args(ImageFormat)


def data_uri(
    image: ImageSource,
    *,
    max_side: int | None = None,
    quality: int | None = None,
    format: ImageFormat | None = None,  # noqa: A002 - Pillow's name
) -> str:
    """Give an image as the data URI that apps take as `image_url`.

    The bytes of a file go in as they are, without Pillow, where no option asks for anything else; otherwise, and for
    images of Pillow's and arrays, it is encoded by Pillow, which takes milliseconds: an event loop that has other work
    does it in `asyncio.to_thread`.

    Args:
        image: A path, the bytes of a file, an image of a result, of Pillow's, or an array of `uint8`: height x width
            (grey), x 3 (RGB) or x 4 (RGBA). OpenCV's are BGR: give `image[..., ::-1]`.
        max_side: The most pixels that width and height may have; a larger image is made smaller in proportion.
        quality: 1 to 100, of JPEG and WebP. None: Pillow's own (75 and 80); files that are small enough stay as they
            are.
        format: `"jpeg"`, `"png"` or `"webp"`. None: the file's own; of what is no file, and of files of other formats
            that have to be encoded, JPEG, or PNG where there is transparency.

    Raises:
        ImportError: Pillow (or numpy) is needed and not installed.
        TypeError: The image or an option is of another type.
        ValueError: An option is not accepted, it is no image, or the format cannot hold it.
        OSError: The file cannot be read.
    """
    return to_data_uri(*_encoded(image, max_side, quality, format, "data_uri"))


def image_bytes(
    image: ImageSource,
    *,
    max_side: int | None = None,
    quality: int | None = None,
    format: ImageFormat | None = None,  # noqa: A002 - likewise
) -> bytes:
    """Give an image as the encoded bytes that apps take as `image_bytes`: a quarter less than a data URI.

    The arguments, and what is raised, are those of `data_uri`.
    """
    return _encoded(image, max_side, quality, format, "image_bytes")[1]


def _encoded(
    image: object, max_side: int | None, quality: int | None, wanted: str | None, needed_by: str
) -> tuple[str, bytes]:
    """The content type and the encoded bytes."""
    _check_options(max_side, quality, wanted)
    own, data, picture = _opened(image, needed_by)
    wanted = "jpeg" if wanted == "jpg" else wanted
    if data is not None:
        is_as_wanted = quality is None and wanted in (None, own.partition("/")[2])
        if is_as_wanted and max_side is None:
            return own, data
        picture = decoded(data, "image", needed_by)
        if is_as_wanted and max_side is not None and max(picture.size) <= max_side:
            return own, data
    if wanted is None:
        wanted = own.partition("/")[2]
        if wanted not in _FORMATS:
            wanted = "png" if picture.has_transparency_data else "jpeg"
    if wanted == "png" and quality is not None:
        message = "quality has no meaning for png, which keeps everything: leave it out, or choose jpeg or webp"
        raise ValueError(message)
    # The way a camera was held is told beside the pixels, where a re-encoded image has nothing.
    picture = pillow(needed_by, "ImageOps").exif_transpose(picture)
    if max_side is not None and max(picture.size) > max_side:
        if picture.mode in ("P", "PA", "1"):  # of whose colours no mean can be taken
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.thumbnail((max_side, max_side))
    return f"image/{wanted}", converted(picture, wanted, quality, "image")


def _check_options(max_side: object, quality: object, wanted: object) -> None:
    if max_side is not None:
        check.integer("max_side", max_side, at_least=1)
    if quality is not None:
        check.integer("quality", quality, at_least=1, at_most=100)
    if wanted is not None and wanted not in (*_FORMATS, "jpg"):
        message = f"format must be 'jpeg', 'png' or 'webp', not {wanted!r}"
        raise ValueError(message)


def _opened(image: object, needed_by: str) -> tuple[str, bytes | None, Any]:
    """The content type and the bytes of a file; or nothing of that, and an image of Pillow's."""
    if (module := sys.modules.get("PIL.Image")) is not None and isinstance(image, module.Image):
        return "", None, image
    if (module := sys.modules.get("numpy")) is not None and isinstance(image, module.ndarray):
        return "", None, _from_array(image, needed_by)
    by_name = None
    if isinstance(image, Media):
        by_name, data = image.content_type, image.data
    elif is_bytes(image):
        data = bytes(image)
    elif isinstance(image, str) and is_url(image):
        message = "image is a URL, which is not fetched here: apps take it as it is, as image_url"
        raise ValueError(message)
    elif isinstance(image, str) and is_data_uri(image):
        by_name, data = from_data_uri(image)
    elif isinstance(image, str | os.PathLike):
        path = Path(image)  # pyright: ignore[reportUnknownArgumentType] # of whatever kind
        by_name, data = content_types.of_suffix(path.suffix), path.read_bytes()
    else:
        name, expected = "image", "a path, bytes, an image of Pillow's or of a result, or an array"
        raise check.wrong_type(name, expected, image)
    kind = content_types.sniff(data) or by_name or ""
    if not kind.startswith("image/"):
        start = f"{data[:8]!r}…" if data else "nothing"
        message = f"image is {kind or 'of no known format'}, and no image ({len(data)} bytes: {start})"
        raise ValueError(message)
    return kind, data, None


def _from_array(array: Any, needed_by: str) -> Any:
    np = numpy(needed_by)
    has_channels = array.ndim == 3  # noqa: PLR2004 - height, width and channels
    if array.dtype != np.uint8 or not (array.ndim == 2 or (has_channels and array.shape[2] in (1, 3, 4))):  # noqa: PLR2004
        message = (
            "an array must be of uint8, height x width, or x 3 (RGB) or x 4 (RGBA), "
            f"not {array.dtype} of {' x '.join(map(str, array.shape)) or 'no dimension'}"
        )
        raise ValueError(message)
    if not array.size:
        message = f"an array must have pixels, not {' x '.join(map(str, array.shape))}"
        raise ValueError(message)
    if has_channels and array.shape[2] == 1:
        array = array[..., 0]
    return pillow(needed_by).fromarray(np.ascontiguousarray(array))
