"""Samples in chunks, and from and to WAV files."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from fal_realtime.media import Pcm, pcm_chunks, read_wav

SAMPLES = struct.pack("<1000h", *range(-500, 500))


def wav(samples: bytes = SAMPLES, rate: int = 24_000, channels: int = 1, width: int = 2) -> bytes:
    """A WAV file, by the standard library."""
    to = io.BytesIO()
    with wave.open(to, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples)
    return to.getvalue()


def of_size(size: int) -> bytes:
    """A WAV file whose header says another size."""
    return wav()[:40] + size.to_bytes(4, "little") + wav()[44:]


def test_a_wav_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(channels=2))
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes())):
        assert read_wav(source) == Pcm(SAMPLES, 24_000, 2)
    assert read_wav(path).seconds == 500 / 24_000
    assert repr(read_wav(path)) == "<Pcm 0.02 s, 24000 Hz, 2 channels>"


def test_a_wav_file_is_written_as_the_standard_library_does(tmp_path):
    pcm = Pcm(SAMPLES, 16_000, 2)
    assert pcm.wav() == wav(rate=16_000, channels=2)
    assert pcm.save(tmp_path / "voice") == tmp_path / "voice.wav"
    assert (tmp_path / "voice.wav").read_bytes() == pcm.wav()
    with pytest.raises(ValueError, match=r"'voice.mp3' would not be a WAV file: save it as 'voice.wav'"):
        pcm.save(tmp_path / "voice.mp3")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no WAV file"),
        (b"RIFF", "no WAV file"),
        (b"no file of any kind", "no WAV file"),
        (wav(width=1), "samples of 8 bits, not 16"),
        (wav(samples=SAMPLES[:999], width=3), "samples of 24 bits, not 16; as `ffmpeg"),
        (wav()[:20] + b"\3\0" + wav()[22:], "no WAV file of uncompressed samples"),
        (wav()[:500], f"cut off: its header says {len(SAMPLES)} bytes of samples, and 456 are there"),
        (wav()[:501], "cut off: "),
        (of_size(0)[:-1], "the samples end within one"),
        (wav()[:22] + b"\xff\xff" + wav()[24:40] + b"\0\0\0\0", "channels must be from 1 to 32767, not 65535"),
    ],
)
def test_another_file_is_refused(data, why, tmp_path):
    with pytest.raises(ValueError, match=f"the bytes: .*{why}"):
        read_wav(data)
    (tmp_path / "voice.wav").write_bytes(data)
    with pytest.raises(ValueError, match=f"voice.wav: .*{why}"):
        read_wav(tmp_path / "voice.wav")


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF])
def test_a_header_that_does_not_know_the_size_is_of_samples_up_to_the_end(size):
    assert read_wav(of_size(size)) == Pcm(SAMPLES, 24_000)


@pytest.mark.parametrize("more", [b"", b"LIST\4\0\0\0INFO", b"LIST\3\0\0\0abc\0tags\0\0\0\0", b"LIST\3\0\0\0abc"])
def test_one_without_samples_is_empty_whatever_chunks_follow(more):
    assert read_wav(wav(b"") + more) == Pcm(b"", 24_000)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sample_rate": 2**33}, "sample_rate must be from 1 to 2147483647, not 8589934592"),
        ({"sample_rate": 2**31 - 1, "channels": 2}, "sample_rate must be from 1 to 1073741823"),
        ({"sample_rate": 8000, "channels": 70_000}, "channels must be from 1 to 32767, not 70000"),
        ({"sample_rate": 0}, "sample_rate must be from 1"),
    ],
)
def test_what_no_wav_file_can_hold_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        Pcm(b"", **options)
    assert read_wav(Pcm(b"", 2**31 - 1).wav()).sample_rate == 2**31 - 1
    assert read_wav(Pcm(b"", 65_537, 32_767).wav()).channels == 32_767


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(TypeError, match="source must be a path"):
        read_wav(7)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "nothing.wav")
    with pytest.raises(TypeError, match="source must be a path, a Pcm, samples, or an iterable"):
        pcm_chunks(7, 24_000)


@pytest.mark.parametrize(
    "source",
    [
        wav(),
        bytearray(wav()),
        Pcm(SAMPLES, 24_000),
        SAMPLES,
        memoryview(SAMPLES),
        np.frombuffer(SAMPLES, "<i2"),
        [SAMPLES[:1], SAMPLES[1:7], b"", SAMPLES[7:1999], SAMPLES[1999:]],
        (np.frombuffer(SAMPLES[at : at + 20], "<i2") for at in range(0, 2000, 20)),
    ],
    ids=["wav", "bytearray", "Pcm", "bytes", "memoryview", "array", "blocks", "arrays"],
)
def test_chunks_have_the_length_that_is_asked_for(source):
    chunks = list(pcm_chunks(source, 24_000, 20))
    assert [len(chunk) for chunk in chunks] == [960, 960, 80]
    assert b"".join(chunks) == SAMPLES
    assert all(type(chunk) is bytes for chunk in chunks)


def test_a_path_is_a_source_and_the_default_is_what_personaplex_takes(tmp_path: Path):
    (tmp_path / "voice.wav").write_bytes(wav(SAMPLES * 4))
    assert [len(chunk) for chunk in pcm_chunks(tmp_path / "voice.wav")] == [3840, 3840, 320]


def test_the_last_chunk_can_be_filled_up_with_silence():
    chunks = list(pcm_chunks(SAMPLES, 24_000, 20, pad=True))
    assert [len(chunk) for chunk in chunks] == [960, 960, 960]
    assert b"".join(chunks) == SAMPLES + bytes(880)
    assert list(Pcm(SAMPLES, 24_000).chunks(20, pad=True)) == chunks


def test_chunks_hold_whole_samples_of_all_channels():
    assert [len(chunk) for chunk in pcm_chunks(SAMPLES[:1200], 11_025, 20, channels=2)] == [880, 320]


def test_blocks_are_taken_as_they_come():
    taken = []

    def microphone():
        for number in range(3):
            taken.append(number)
            yield bytes(960)

    chunks = pcm_chunks(microphone(), 24_000, 20)
    assert next(chunks) == bytes(960)
    assert taken == [0]


@pytest.mark.parametrize(
    ("source", "options", "error", "why"),
    [
        (SAMPLES, {}, ValueError, "sample_rate is needed"),
        (wav(), {"sample_rate": 16_000}, ValueError, "sample_rate is 16000, but the source has 24000: .*-ar 16000"),
        (Pcm(SAMPLES, 8000, 2), {"channels": 1}, ValueError, "channels is 1, but the source has 2: .*-ac 1"),
        (SAMPLES, {"sample_rate": 0}, ValueError, "sample_rate must be at least 1"),
        (SAMPLES, {"sample_rate": 8000, "channels": 0}, ValueError, "channels must be at least 1"),
        (SAMPLES, {"sample_rate": 8000, "milliseconds": 0.1}, ValueError, "one sample at least, 0.125, not 0.1"),
        (wav(), {"milliseconds": -1}, ValueError, "milliseconds must be"),
        (wav(), {"milliseconds": "80"}, TypeError, "milliseconds must be"),
    ],
)
def test_wrong_arguments_are_told_at_the_call(source, options, error, why):
    with pytest.raises(error, match=why):
        pcm_chunks(source, **options)


def test_samples_that_end_within_one_are_told_after_the_others():
    chunks = pcm_chunks([SAMPLES[:961]], 24_000, 20)
    assert next(chunks) == SAMPLES[:960]
    with pytest.raises(ValueError, match="end within one: 1 bytes are no multiple of 2"):
        next(chunks)
    with pytest.raises(ValueError, match="end within one: 6 bytes are no multiple of 4"):
        Pcm(b"123456", 8000, 2)


@pytest.mark.parametrize("samples", [np.zeros(4, np.float32), np.zeros(4, np.int32), "text", 7])
def test_other_samples_are_refused(samples):
    with pytest.raises(TypeError, match=r"data must be bytes, or a buffer of int16; of floats: \(samples \* 32767\)"):
        Pcm(samples, 8000)


def test_numpy_gives_the_samples():
    assert Pcm(SAMPLES, 8000).numpy().tolist() == list(range(-500, 500))
    stereo = Pcm(np.arange(6, dtype=np.int16).reshape(3, 2), 8000, 2)
    array = stereo.numpy()
    assert array.tolist() == [[0, 1], [2, 3], [4, 5]]
    array[:] = 0  # it is ours
    assert stereo.data == struct.pack("<6h", *range(6))
