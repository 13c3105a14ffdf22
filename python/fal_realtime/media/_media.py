"""A file of a result: an image, a piece of audio or a video."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from . import _content_types as content_types
from ._base64 import from_base64, from_data_uri
from ._libraries import numpy, pillow

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as PillowImage


def is_url(text: str) -> bool:
    """Whether it is an address on the web."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_data_uri(text: str) -> bool:
    """Whether it says of itself that it is a data URI."""
    return text[:5].lower() == "data:"


@dataclass(frozen=True, repr=False)
class Media:
    """A file that a result holds, or names by its URL; made by `images`, `audio` and `videos`.

    Nothing is decoded before it is asked for, and nothing is fetched.
    """

    source: bytes | str
    """What the result has: the bytes, a data URI, base64, or the URL where the file is."""
    declared_type: str | None = None
    """The content type that the result declares, as `image/jpeg`."""
    file_name: str | None = None
    """The name that the result gives it."""
    place: str = field(default="result", compare=False)
    """Where in the result it was, as `images[0]`: what errors name it by."""

    @property
    def url(self) -> str | None:
        """The URL where the file is, if that is what the result has; None where it holds the file itself."""
        return self.source if isinstance(self.source, str) and is_url(self.source) else None

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file, encoded as they are (JPEG, say).

        Raises:
            ValueError: The result has no more than a URL, which is not fetched here; or the data URI is none.
        """
        return self._decoded[1]

    @cached_property
    def _decoded(self) -> tuple[str | None, bytes]:
        """The content type that comes with the bytes, and these."""
        if not isinstance(self.source, str):
            return None, self.source
        if is_url(self.source):
            # Its path and query may be what gives access to it.
            where = f"{urlsplit(self.source).scheme}://{urlsplit(self.source).hostname}/…"
            message = (
                f"{self.place} is at a URL ({where}), which is not fetched by itself: get it with an HTTP client, "
                "as in urllib.request.urlopen(media.url).read(), or ask the app for the file itself "
                "(many take sync_mode=True)"
            )
            raise ValueError(message)
        try:
            return from_data_uri(self.source) if is_data_uri(self.source) else (None, from_base64(self.source))
        except ValueError as error:
            message = f"{self.place}: {error}"
            raise ValueError(message) from None

    @cached_property
    def content_type(self) -> str:
        """The content type: as declared, else by the first bytes; `application/octet-stream` where neither says."""
        if self.declared_type is not None:
            return self.declared_type
        if self.url is not None:
            by_name = content_types.of_suffix(os.path.splitext(urlsplit(self.url).path)[1])  # noqa: PTH122 - no path
            return by_name or content_types.UNKNOWN
        declared, data = self._decoded
        return declared or content_types.sniff(data) or content_types.UNKNOWN

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file as it is, and give its path; without a suffix it gets that of its content type.

        Raises:
            ValueError: The suffix is that of another format; or as for `data`.
            OSError: The file cannot be written.
        """
        to, kind = self._named(path)
        wanted = content_types.of_suffix(to.suffix)
        if wanted not in (None, kind):
            raise ValueError(self._other_format(to, kind))
        to.write_bytes(self.data)
        return to

    def _named(self, path: str | os.PathLike[str]) -> tuple[Path, str]:
        """Where it is to be saved, and the format that it has."""
        to = Path(path)
        kind = content_types.sniff(self.data) or self.content_type
        return (to if to.suffix else to.with_name(to.name + content_types.suffix_of(kind))), kind

    def _other_format(self, to: Path, kind: str) -> str:
        message = f"{self.place} is {kind}, and {to.name!r} would be {content_types.of_suffix(to.suffix)}: "
        if kind == content_types.UNKNOWN:
            return message + "if these are samples, write them with Pcm(data, sample_rate).save(path)"
        return message + f"save it as {to.stem + content_types.suffix_of(kind)!r}, or convert it"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}: {', '.join(self._described())}>"

    def _described(self) -> list[str]:
        if self.url is not None:
            return [self.content_type, "at a URL"]
        try:
            return [self.content_type, f"{len(self.data)} bytes"]
        except ValueError:
            return ["what cannot be decoded"]


@dataclass(frozen=True, repr=False)
class Image(Media):
    """An image of a result."""

    width: int | None = None
    """In pixels, as the result says; None where it does not."""
    height: int | None = None
    """Likewise."""

    def pil(self) -> PillowImage.Image:
        """The decoded image of Pillow's.

        Raises:
            ImportError: Pillow is not installed.
            ValueError: Pillow reads no image there; or as for `data`.
        """
        return cast("PillowImage.Image", decoded(self.data, self.place, "Image.pil()"))

    def numpy(self) -> np.ndarray[Any, Any]:
        """The pixels as an array of your own: height x width x 3 of `uint8` (RGB), or x 4 where there is transparency.

        An image of more than 8 bits (or of floats) in one channel is height x width, of its own type.

        Raises:
            ImportError: Pillow or numpy is not installed.
            ValueError: Pillow reads no image there; or as for `data`.
        """
        library = numpy("Image.numpy()")
        image = decoded(self.data, self.place, "Image.numpy()")
        if image.mode[0] not in "IF":
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        array: np.ndarray[Any, Any] = library.array(image)
        return array

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the image, and give its path; without a suffix it gets that of its content type.

        The bytes are written as they are, unless the suffix is that of another format: then Pillow converts it.

        Raises:
            ImportError: It has to be converted, and Pillow is not installed.
            ValueError: Pillow cannot convert it; or as for `data`.
            OSError: The file cannot be written.
        """
        to, kind = self._named(path)
        wanted = content_types.of_suffix(to.suffix)
        if wanted is None or wanted == kind:
            to.write_bytes(self.data)
        else:
            to.write_bytes(converted(self.pil(), wanted.partition("/")[2], None, self.place))
        return to

    def _described(self) -> list[str]:
        size = [f"{self.width} x {self.height}"] if self.width and self.height else []
        return [*size, *super()._described()]


def decoded(data: bytes, place: str, needed_by: str) -> Any:
    """Pillow's image, with all of its pixels.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: Pillow reads no image there.
    """
    module = pillow(needed_by)
    try:
        image = module.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
        start = f"{data[:8]!r}…" if data else "nothing"
        why = "" if isinstance(error, module.UnidentifiedImageError) else f": {error}"
        message = f"{place} is no image that Pillow reads{why} ({len(data)} bytes: {start})"
        raise ValueError(message) from error
    return image


def converted(image: Any, format: str, quality: int | None, place: str) -> bytes:  # noqa: A002 - Pillow's name
    """The image encoded by Pillow.

    Raises:
        ValueError: The format cannot hold it, or Pillow does not write it.
    """
    to = io.BytesIO()
    if format == "jpeg" and image.mode in ("P", "PA", "LA", "RGBA") and not image.has_transparency_data:
        image = image.convert("RGB")
    options = {} if quality is None else {"quality": quality}
    try:
        image.save(to, format, **options)
    except (KeyError, OSError, ValueError) as error:
        advice = "save it as png or webp, or convert it: image.pil().convert('RGB')" if format == "jpeg" else ""
        message = f"{place} cannot be written as {format}: {error or 'Pillow does not write it'}"
        raise ValueError(f"{message}; {advice}" if advice else message) from error
    return to.getvalue()
