"""What a file's first bytes, its name and its declared content type say that it is."""

from __future__ import annotations

UNKNOWN = "application/octet-stream"

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}
_MORE_BRANDS = {b"M4A ": "audio/mp4", b"qt  ": "video/quicktime"}

_SUFFIXES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
}
_ALIASES = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/mp3": "audio/mpeg"}


def sniff(data: bytes) -> str | None:
    """The content type by the first bytes; None where they are those of no format that is known here."""
    for magic, content_type in _MAGIC:
        if data.startswith(magic):
            return content_type
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return {**_BRANDS, **_MORE_BRANDS}.get(data[8:12], "video/mp4")
    return None


def declared(value: object) -> str | None:
    """A content type as it was declared, without parameters and in its usual form; None where that says nothing."""
    if not isinstance(value, str):
        return None
    name = value.partition(";")[0].strip().lower()
    return None if name in ("", UNKNOWN) else _ALIASES.get(name, name)


def of_suffix(suffix: str) -> str | None:
    """The content type of files with this suffix (`.jpg`)."""
    return _SUFFIXES.get(suffix.lower())


def suffix_of(content_type: str) -> str:
    """The suffix of files of this content type; `.bin` where none is known."""
    return next((suffix for suffix, known in _SUFFIXES.items() if known == content_type), ".bin")
