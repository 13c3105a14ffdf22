"""Media in results: what kind bytes are, and the folder that they are saved to."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ._status import CommandError, UsageError

_SIGNATURES: tuple[tuple[bytes, int, str, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg", "jpg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png", "png"),
    (b"GIF8", 0, "image/gif", "gif"),
    (b"WEBP", 8, "image/webp", "webp"),
    (b"WAVE", 8, "audio/wav", "wav"),
    (b"ID3", 0, "audio/mpeg", "mp3"),
    (b"\xff\xfb", 0, "audio/mpeg", "mp3"),
    (b"OggS", 0, "audio/ogg", "ogg"),
    (b"fLaC", 0, "audio/flac", "flac"),
    (b"ftyp", 4, "video/mp4", "mp4"),
    (b"\x1aE\xdf\xa3", 0, "video/webm", "webm"),
)
"""What files begin with, from which byte on."""

_EXTENSIONS = {kind: extension for _, _, kind, extension in _SIGNATURES} | {"text/plain": "txt", "audio/x-wav": "wav"}

_DATA_URI = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)
_MOST_OF_A_NAME = 80


def kind_of(data: bytes) -> tuple[str, str]:
    """The media type of bytes by what they begin with, and the extension of such files."""
    for signature, at, kind, extension in _SIGNATURES:
        if data[at : at + len(signature)] == signature:
            return kind, extension
    return "application/octet-stream", "bin"


def folder_of(options: argparse.Namespace, *, may_hold_files: bool = False) -> Folder | None:
    """Where the arguments of a command have media saved, if anywhere.

    Raises:
        UsageError: It is no folder, or holds files of another run.
    """
    return Folder(options.save, may_hold_files=may_hold_files) if options.save else None


class Folder:
    """Saves the media of results; addresses (`https://…`) are no media, and stay where they are."""

    def __init__(self, path: str, *, may_hold_files: bool = False) -> None:
        """Make the folder.

        Raises:
            UsageError: It is none, or holds files of another run.
        """
        self.saved = 0
        self._path = Path(path)
        self._result = ""
        self._names: set[str] = set()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            if not may_hold_files and any(self._path.iterdir()):
                message = f"--save {path}: the folder holds files already, which would be mixed with these"
                raise UsageError(message, "give a new or an empty one")
        except OSError as error:
            message = f"--save {path}: {error.strerror}"
            raise UsageError(message, "give a folder that can be written") from error

    def begin(self, result: str) -> None:
        """Begin with another result: its files are named after it."""
        self._result = result
        self._names.clear()

    def keep(self, data: bytes | str, place: str) -> str | None:
        """Save bytes or a data URI; the path of the file. None for another str.

        Raises:
            CommandError: It cannot be written.
        """
        if isinstance(data, str):
            from fal_realtime.media._base64 import from_data_uri

            if (found := _DATA_URI.match(data)) is None:
                return None
            try:
                data = from_data_uri(data)[1]
            except ValueError:
                return None
            extension = _EXTENSIONS.get(found["kind"] or "") or kind_of(data)[1]
        else:
            extension = kind_of(data)[1]
        path = self._path / self._name(place, extension)
        try:
            path.write_bytes(data)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise CommandError(message, "make room, or give another folder with --save") from error
        self.saved += 1
        return str(path)

    def _name(self, place: str, extension: str) -> str:
        # The keys of a result are the app's: none may lead out of the folder.
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", place).strip("-").removeprefix("result-")[:_MOST_OF_A_NAME] or "result"
        name = f"{self._result}-{plain}"
        again = 1
        while name in self._names:
            again += 1
            name = f"{self._result}-{plain}-{again}"
        self._names.add(name)
        return f"{name}.{extension}"
