"""PCM: samples of audio as speech apps take and give them, from and to WAV files."""

from __future__ import annotations

import io
import os
import struct
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast

from fal_realtime import _checks as check

from ._bytes import BytesLike, is_bytes
from ._libraries import numpy

if TYPE_CHECKING:
    import numpy as np

_SAMPLE_BYTES = 2
"""Of a sample."""

_MOST_CHANNELS = 0xFFFF // _SAMPLE_BYTES
"""That the header of a WAV file can hold, as what follows."""

_MOST_BYTES_A_SECOND = 0xFFFF_FFFF

_UNKNOWN_SIZE = 0x7FFF_F000
"""From so many bytes on, the header of a WAV file gives the size that writers have who do not know it yet."""

_CHUNK_HEADER = struct.Struct("<4sI")
"""Of a WAV file: what is in the chunk, and its bytes."""

Samples: TypeAlias = "BytesLike | np.ndarray[Any, Any]"
"""Samples of 16 bits, signed, little-endian, those of the channels in turn."""


@dataclass(frozen=True, repr=False)
class Pcm:
    """Samples of 16 bits (signed, little-endian, those of the channels in turn), and how fast they are played."""

    data: bytes
    """The samples; a buffer of `int16` is taken too, and copied (type checkers want its `tobytes()`)."""
    sample_rate: int
    """In Hz: samples a second, of each channel."""
    channels: int = 1

    def __post_init__(self) -> None:
        check.integer("channels", self.channels, at_least=1, at_most=_MOST_CHANNELS)
        most = _MOST_BYTES_A_SECOND // (_SAMPLE_BYTES * self.channels)
        check.integer("sample_rate", self.sample_rate, at_least=1, at_most=most)
        object.__setattr__(self, "data", _bytes_of("data", self.data))
        _check_whole(len(self.data), self.channels)

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.data) / (_SAMPLE_BYTES * self.channels * self.sample_rate)

    def chunks(self, milliseconds: float, *, pad: bool = False) -> Iterator[bytes]:
        """Give it in chunks of that length, rounded down to whole samples.

        The last chunk is shorter, or with `pad` filled up with silence.
        """
        size = _chunk_size(self.sample_rate, self.channels, milliseconds)
        return _rechunked([self.data], size, self.channels, pad=pad)

    def wav(self) -> bytes:
        """The bytes of a WAV file."""
        to = io.BytesIO()
        with wave.open(to, "wb") as file:
            file.setparams((self.channels, _SAMPLE_BYTES, self.sample_rate, 0, "NONE", ""))
            file.writeframes(self.data)
        return to.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a WAV file, and give its path; without a suffix it gets `.wav`.

        Raises:
            ValueError: It has another suffix.
            OSError: The file cannot be written.
        """
        to = Path(path)
        to = to if to.suffix else to.with_name(to.name + ".wav")
        if to.suffix.lower() not in (".wav", ".wave"):
            message = f"{to.name!r} would not be a WAV file: save it as {to.stem + '.wav'!r}"
            raise ValueError(message)
        to.write_bytes(self.wav())
        return to

    def numpy(self) -> np.ndarray[Any, Any]:
        """The samples as an array of your own, of `int16`: one dimension, or samples x channels.

        Raises:
            ImportError: numpy is not installed.
        """
        samples = numpy("Pcm.numpy()").frombuffer(self.data, "<i2").copy()
        array: np.ndarray[Any, Any] = samples if self.channels == 1 else samples.reshape(-1, self.channels)
        return array

    def __repr__(self) -> str:
        return f"<Pcm {self.seconds:.2f} s, {self.sample_rate} Hz, {self.channels} channels>"


def read_wav(source: str | os.PathLike[str] | BytesLike) -> Pcm:
    """Read a WAV file of 16-bit samples: a path, or the bytes of one.

    Where its header does not know how many samples there are, as that of a stream, they are those up to the end.

    Raises:
        ValueError: It is no WAV file, or one of another kind, or it is cut off.
        OSError: It cannot be read.
    """
    if is_bytes(source):
        name, data = "the bytes", bytes(source)
    elif isinstance(source, str | os.PathLike):
        name, data = os.fspath(source), Path(source).read_bytes()
    else:
        name, expected = "source", "a path, or the bytes of a WAV file"
        raise check.wrong_type(name, expected, source)
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            frames = file.getnframes()
            samples = file.readframes(frames)
    except (wave.Error, EOFError) as error:
        message = f"{name}: no WAV file of uncompressed samples ({error or 'it ends too early'})"
        raise ValueError(message) from error
    if width != _SAMPLE_BYTES:
        message = f"{name}: samples of {8 * width} bits, not 16; as `ffmpeg -i … -c:a pcm_s16le out.wav` writes them"
        raise ValueError(message)
    declared = frames * channels * width
    if not declared:
        samples = _behind_empty(data)
    elif len(samples) < declared < _UNKNOWN_SIZE:
        message = f"{name}: cut off: its header says {declared} bytes of samples, and {len(samples)} are there"
        raise ValueError(message)
    try:
        return Pcm(samples, rate, channels)
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from error


def _behind_empty(data: bytes) -> bytes:
    """The samples of a WAV file whose header says that it has none, as writers leave it that cannot seek back."""
    at = 12
    while at + _CHUNK_HEADER.size <= len(data):
        kind, size = _CHUNK_HEADER.unpack_from(data, at)
        at += _CHUNK_HEADER.size
        if kind == b"data":
            break
        at += size + size % 2
    return b"" if _are_chunks(data, at) else data[at:]


def _are_chunks(data: bytes, at: int) -> bool:
    """Whether what stands there are further chunks up to the end, such as tags, or nothing."""
    while at + _CHUNK_HEADER.size <= len(data):
        kind, size = _CHUNK_HEADER.unpack_from(data, at)
        if not kind.decode("latin-1").isprintable():
            return False
        at += _CHUNK_HEADER.size + size + size % 2
    return at in (len(data), len(data) + 1)


def pcm_chunks(
    source: Pcm | str | os.PathLike[str] | Samples | Iterable[Samples],
    sample_rate: int | None = None,
    milliseconds: float = 80,
    *,
    channels: int | None = None,
    pad: bool = False,
) -> Iterator[bytes]:
    """Give samples of 16 bits in chunks, as speech apps take them.

    Args:
        source: The path of a WAV file, or the bytes of one; or samples: a `Pcm`, bytes, an array of `int16`, or an
            iterable of such blocks, of any size, as a microphone gives them.
        sample_rate: In Hz. Needed where the source does not say it; otherwise what the app wants, which the source
            must have: nothing is resampled here.
        milliseconds: Of each chunk, rounded down to whole samples. The default is what `fal-ai/personaplex/realtime`
            takes, at 24,000 Hz.
        channels: Likewise; 1 where neither this nor the source says it.
        pad: Fill the last chunk up with silence. By default it is as short as it is.

    Raises:
        TypeError: The source, or one of its blocks, is of another type.
        ValueError: The source has another rate or number of channels, ends within a sample, or is no WAV file.
        OSError: The file cannot be read.
    """
    if isinstance(source, str | os.PathLike) or _is_wav(source):
        source = read_wav(source)
    if isinstance(source, Pcm):
        _check_same("sample_rate", sample_rate, source.sample_rate, "-ar")
        _check_same("channels", channels, source.channels, "-ac")
        return source.chunks(milliseconds, pad=pad)
    if sample_rate is None:
        message = "sample_rate is needed: samples alone do not say it"
        raise ValueError(message)
    check.integer("sample_rate", sample_rate, at_least=1)
    channels = 1 if channels is None else channels
    check.integer("channels", channels, at_least=1)
    size = _chunk_size(sample_rate, channels, milliseconds)
    blocks: Any = source
    if is_bytes(source) or hasattr(source, "__array_interface__"):
        blocks = [source]
    elif not isinstance(blocks, Iterable):
        name, expected = "source", "a path, a Pcm, samples, or an iterable of samples"
        raise check.wrong_type(name, expected, blocks)
    return _rechunked(cast("Iterable[Any]", blocks), size, channels, pad=pad)


def _rechunked(blocks: Iterable[Any], size: int, channels: int, *, pad: bool) -> Iterator[bytes]:
    """The same bytes in chunks of this size."""
    rest = bytearray()
    for block in blocks:
        rest += _bytes_of("a block", block)
        at = 0
        while len(rest) - at >= size:
            yield bytes(rest[at : at + size])
            at += size
        del rest[:at]
    _check_whole(len(rest), channels)
    if rest:
        yield bytes(rest).ljust(size, b"\0") if pad else bytes(rest)


def _chunk_size(sample_rate: int, channels: int, milliseconds: float) -> int:
    """Bytes of a chunk."""
    samples = int(sample_rate * check.number("milliseconds", milliseconds, "a number of milliseconds") / 1000)
    if samples < 1:
        message = f"milliseconds must be those of one sample at least, {1000 / sample_rate:g}, not {milliseconds!r}"
        raise ValueError(message)
    return samples * channels * _SAMPLE_BYTES


def _check_whole(length: int, channels: int) -> None:
    if length % (_SAMPLE_BYTES * channels):
        message = f"the samples end within one: {length} bytes are no multiple of {_SAMPLE_BYTES * channels}"
        raise ValueError(message)


def _check_same(name: str, wanted: int | None, has: int, option: str) -> None:
    if wanted is not None and wanted != has:
        message = (
            f"{name} is {wanted}, but the source has {has}: convert it, as `ffmpeg -i … {option} {wanted} out.wav`"
        )
        raise ValueError(message)


def _is_wav(source: object) -> TypeGuard[BytesLike]:
    if not is_bytes(source):
        return False
    start = bytes(source[:12])
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"


def _bytes_of(name: str, samples: object) -> bytes:
    """The bytes of a buffer of samples, or of bytes."""
    expected = "bytes, or a buffer of int16; of floats: (samples * 32767).astype('<i2')"
    try:
        view = memoryview(samples)  # type: ignore[arg-type] # which says what is wrong
    except TypeError:
        raise check.wrong_type(name, expected, samples) from None
    if view.format not in ("B", "b", "c", "h", "<h"):
        message = f"{name} must be {expected}; not a buffer of {view.format!r}"
        raise TypeError(message)
    return view.tobytes()
