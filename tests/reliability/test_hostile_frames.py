"""Frames that break the rules, and floods of frames that do not: a typed error, bounded memory, no hang."""

from __future__ import annotations

import gc
import struct
import threading
import time
from typing import Any

import msgpack
import pytest
from hostile import MEBI, after_opening, see
from support.raw_server import Raw, ScriptedServer, frame

from fal_realtime import ConnectionClosedError, SyncRealtimeClient


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (struct.pack(">BBQ", 0x82, 127, 1 << 63), "ConnectionClosedError", "top bit"),
        (struct.pack(">BBQ", 0x82, 127, (1 << 63) - 1), "MessageTooLargeError", ""),
        (struct.pack(">BBQ", 0x82, 127, 65 * MEBI), "MessageTooLargeError", ""),
        (struct.pack(">BBH", 0x82, 126, 5) + b"hello", "ConnectionClosedError", "fewest"),
        (b"\x82\x85\x01\x02\x03\x04hello", "ConnectionClosedError", "masked"),
        (b"\xc2\x05hello", "ConnectionClosedError", "reserved"),
        (b"\x83\x05hello", "ConnectionClosedError", "opcode"),
        (b"\x80\x05hello", "ConnectionClosedError", ""),
        (b"\x02\x05hello\x82\x05hello", "ConnectionClosedError", ""),
        (b"\x09\x00", "ConnectionClosedError", "fragmented control"),
        (b"\x89\x7e\x00\x80" + b"x" * 128, "ConnectionClosedError", "125"),
        (b"\x81\x02\xff\xfe", "ConnectionClosedError", "UTF-8"),
        (b"\x88\x01\x03", "ConnectionClosedError", "half a code"),
        (b"\x88\x02\x03\xed", "ConnectionClosedError", "may not be sent"),
    ],
    ids=[
        "length-2^63",
        "length-2^63-1",
        "above-the-limit",
        "long-length",
        "masked",
        "compressed",
        "opcode",
        "continuation-of-nothing",
        "unfinished",
        "fragmented-ping",
        "long-ping",
        "text-not-utf8",
        "half-a-code",
        "code-1005",
    ],
)
def test_a_frame_that_breaks_the_rules_ends_the_connection(data: bytes, error: str, words: str, figure: Any) -> None:
    seen = see(after_opening(frame(msgpack.packb({"n": 1})), data))
    assert seen["error"] == error, seen
    assert words in seen["message"], seen
    assert seen["events"] == [["result", "{'n': 1}"]], "what came before is not lost"
    assert seen["grown"] < 32 * MEBI
    figure(f"{seen['error']}: {seen['message']}")


def test_what_a_blocking_call_has_raised_is_not_reported_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    with ScriptedServer(after_opening(b"\x83\x05hello")) as server:
        client = SyncRealtimeClient("key-id:key-secret", base_url=server.url, trust_env=False)
        connection = client.connect("local/app", use_jwt=False, reconnect=None)
        connection.open()
        with pytest.raises(ConnectionClosedError, match="opcode"):
            connection.recv(timeout=60)
        while connection.state != "closed":  # what came before the violation may still be answered
            time.sleep(0.002)
        with pytest.raises(ConnectionClosedError):
            connection.open()
        connection.close()
        del connection
        gc.collect()
    assert reported == []


def test_a_declared_length_costs_nothing(figure: Any) -> None:
    def script(raw: Raw) -> None:
        raw.answer()
        raw.say(struct.pack(">BBQ", 0x82, 127, 64 * MEBI) + b"a little")

    seen = see(script, budget=24 * MEBI)
    assert seen["error"] == "ConnectionClosedError", seen
    assert seen["grown"] < 8 * MEBI
    figure(f"64 MiB declared, {seen['grown'] / MEBI:.1f} MiB grown")


def test_a_fragment_flood_ends_at_the_limit(figure: Any) -> None:
    def script(raw: Raw) -> None:
        raw.answer()
        raw.say(b"\x02\x01a")
        raw.flood(b"\x00\x00" * 10_000)

    seen = see(script, budget=64 * MEBI)
    assert seen["error"] in ("ConnectionClosedError", "MessageTooLargeError"), seen
    figure(f"{seen['seconds']:.2f} s, {seen['grown'] / MEBI:.1f} MiB grown: {seen['message']}")


def test_a_flood_of_small_fragments_ends_at_the_message_size(figure: Any) -> None:
    def script(raw: Raw) -> None:
        raw.answer()
        raw.say(b"\x02\x01a")
        raw.flood(frame(b"x" * 60_000, first=0x00))

    seen = see(script, budget=64 * MEBI, max_message_size=4 * MEBI)
    assert seen["error"] == "MessageTooLargeError", seen
    assert seen["grown"] < 24 * MEBI
    figure(f"limit 4 MiB: {seen['grown'] / MEBI:.1f} MiB grown")


@pytest.mark.parametrize("read", [True, False], ids=["reading", "deaf"])
def test_a_ping_flood_costs_no_memory(read: bool, figure: Any) -> None:
    """A peer that pings as fast as it can, and reads the pongs or does not: the answers may not pile up."""

    def script(raw: Raw) -> None:
        raw.answer()
        pings = frame(b"p" * 125, first=0x89) * 1000
        if not read:
            raw.sock.setsockopt(6, 10, 4096)  # TCP_WINDOW_CLAMP: nothing fits into the receive buffer
        end = time.monotonic() + 5
        sent = 0
        raw.sock.settimeout(1)
        while time.monotonic() < end and sent < 400 * MEBI:
            try:
                raw.say(pings)
            except TimeoutError:
                break  # it does not read any more, which is one way to bound it
            sent += len(pings)
            if read:
                drain(raw)
        raw.sock.settimeout(5)
        raw.binary(msgpack.packb("over"))
        raw.say(frame(struct.pack(">H", 1001), first=0x88))
        raw.linger()

    seen = see(script, budget=48 * MEBI)
    assert seen["error"] == "ConnectionClosedError", seen
    assert seen["grown"] < 24 * MEBI
    figure(f"{seen['seconds']:.1f} s, {seen['grown'] / MEBI:.1f} MiB grown, {seen['events']}")


def drain(raw: Raw) -> None:
    raw.sock.setblocking(False)
    try:
        while raw.sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    finally:
        raw.sock.settimeout(1)
