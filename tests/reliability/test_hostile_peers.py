"""A peer that breaks every rule: a typed error, bounded memory, no hang.

The client runs in a process of its own whose address space is limited, so that memory without bound is a failure and
not an opinion. It prints what its user sees.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from typing import Any

import msgpack
import pytest
from scripted import Raw, Script, ScriptedServer, frame

MEBI = 1 << 20

CLIENT = """
import asyncio, json, resource, sys, time
from pathlib import Path

from fal_realtime import RealtimeClient

url, mode, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
budget = options.pop("budget")

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10

async def main():
    client = RealtimeClient("key-id:key-secret", base_url=url, trust_env=False)
    options.setdefault("reconnect", None)
    connection = client.connect("local/app", use_jwt=False, throttle_interval=0, close_timeout=1, **options)
    started, seen = time.monotonic(), {}
    try:
        async with connection:
            # What the threads and buffers of an open connection reserve is there now; data must not add much.
            limit = status("VmSize") + budget
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resident = status("VmRSS")
            while True:
                received = await asyncio.wait_for(connection.recv(), 15)
                seen.setdefault("received", []).append(repr(received)[:80])
    except Exception as error:
        seen |= {"error": type(error).__name__, "message": str(error), "code": getattr(error, "code", None),
                 "status": getattr(error, "status", None)}
        if mode == "stay":
            pass
    seen |= {"seconds": time.monotonic() - started, "peak": status("VmHWM")}
    seen["grown"] = seen["peak"] - resident if "resident" in locals() else 0
    seen["state"] = connection.state
    seen["stats"] = connection.stats()
    print(json.dumps(seen))

asyncio.run(main())
"""


def see(script: Script, *, budget: int = 256 * MEBI, timeout: float = 25, **options: Any) -> dict[str, Any]:
    """What a client sees that connects to the script; `budget` bytes of address space for what comes."""
    with ScriptedServer(script) as server:
        ran = subprocess.run(
            [sys.executable, "-c", CLIENT, server.url, "once", json.dumps({"budget": budget, **options})],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    seen["connections"] = server.connections
    return seen


# --- the handshake ---


def plain(*lines: str) -> Script:
    def script(raw: Raw) -> None:
        raw.read_request()
        raw.say("\r\n".join(lines).encode() + b"\r\n\r\n")
        raw.linger()

    return script


def endless_headers(raw: Raw) -> None:
    raw.read_request()
    raw.say(b"HTTP/1.1 101 Switching Protocols\r\n")
    raw.flood(b"x-more: " + b"y" * 1000 + b"\r\n")


def endless_header_line(raw: Raw) -> None:
    raw.read_request()
    raw.say(b"HTTP/1.1 101 Switching Protocols\r\nx-more: ")
    raw.flood(b"y" * 10_000)


def endless_interim_answers(raw: Raw) -> None:
    raw.read_request()
    raw.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_body(raw: Raw) -> None:
    raw.read_request()
    raw.say(b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n")
    raw.flood(b"ffffffff\r\n" + b"z" * 10_000)


def many_headers(raw: Raw) -> None:
    raw.answer(*(f"x-{n}: 1" for n in range(500)))
    raw.linger()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            lambda raw: (raw.answer(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), raw.linger()), "Accept", id="accept"
        ),
        pytest.param(
            lambda raw: (raw.answer("Sec-WebSocket-Extensions: permessage-deflate"), raw.linger()),
            "extension",
            id="extension",
        ),
        pytest.param(
            lambda raw: (raw.answer("Sec-WebSocket-Protocol: chat"), raw.linger()), "subprotocol", id="subprotocol"
        ),
        pytest.param(
            plain("HTTP/1.1 302 Found", "Location: http://127.0.0.1:1/", "Content-Length: 0"), "redirect", id="302"
        ),
        pytest.param(plain("HTTP/1.1 308 Permanent", "Location: ws://127.0.0.1:1/"), "redirect", id="308"),
        pytest.param(plain("HTTP/1.1 200 OK", "Content-Length: 5", "", "hello"), "no upgrade", id="200"),
        pytest.param(plain("HTTP/1.1 101 Switching Protocols"), "Upgrade", id="bare-101"),
        pytest.param(plain("SSH-2.0-OpenSSH_9.2"), "not HTTP", id="ssh"),
        pytest.param(endless_headers, "larger than|more than", id="endless-headers"),
        pytest.param(endless_header_line, "larger than", id="endless-line"),
        pytest.param(many_headers, "more than", id="many-headers"),
        pytest.param(endless_interim_answers, "larger than", id="endless-100"),
        pytest.param(endless_body, "503", id="endless-body"),
    ],
)
def test_a_handshake_that_breaks_the_rules_is_refused(script: Script, words: str, figure: Any) -> None:
    seen = see(script)
    assert seen["error"] == "HandshakeError", seen
    assert any(word in seen["message"] for word in words.split("|")), seen
    assert seen["seconds"] < 5
    assert seen["connections"] == 1
    figure(f"{seen['seconds'] * 1000:.0f} ms: {seen['message'][:110]}")


def test_a_header_a_byte_at_a_time_ends_with_open_timeout(figure: Any) -> None:
    def dribble(raw: Raw) -> None:
        raw.read_request()
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
            raw.say(bytes([byte]))
            time.sleep(0.1)

    seen = see(dribble, open_timeout=1.5)
    assert seen["error"] == "RequestTimeoutError", seen
    assert 1.4 < seen["seconds"] < 2.5
    figure(f"open_timeout 1.5 s: {seen['seconds']:.2f} s")


# --- frames ---


def after_opening(*pieces: bytes) -> Script:
    def script(raw: Raw) -> None:
        raw.answer()
        for piece in pieces:
            raw.say(piece)
        raw.linger()

    return script


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
    assert seen["received"] == ["{'n': 1}"], "what came before is not lost"
    assert seen["seconds"] < 5
    assert seen["grown"] < 32 * MEBI
    figure(f"{seen['error']}: {seen['message']}")


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
    assert seen["seconds"] < 10
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
    figure(f"{seen['seconds']:.1f} s, {seen['grown'] / MEBI:.1f} MiB grown, {seen.get('received')}")


def drain(raw: Raw) -> None:
    raw.sock.setblocking(False)
    try:
        while raw.sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    finally:
        raw.sock.settimeout(1)


# --- messages ---


def array_of(item: bytes, count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + item * count


@pytest.mark.parametrize(
    "payload",
    [
        array_of(b"\x80", 8_000_000),
        array_of(b"\x90", 8_000_000),
        b"\x91" * 8_000_000 + b"\x90",
        b"\x81\xa1a" * 2_000_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xdf\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xc6\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xdb\xff\xff\xff\xff" + b"\x01" * 100,
        b"\xc9\xff\xff\xff\xff\x05" + b"\x01" * 100,
        b"\xdd\xff\xff\xff\xff" * 1000,
        b"\xc1",
        b"",
        b"\x81\xa1a\x01\x02",
    ],
    ids=[
        "empty-maps",
        "empty-arrays",
        "nested-arrays",
        "nested-maps",
        "huge-array",
        "huge-map",
        "huge-bin",
        "huge-str",
        "huge-ext",
        "huge-nested",
        "reserved",
        "empty",
        "trailing",
    ],
)
def test_a_hostile_msgpack_message_is_an_error_and_the_next_one_is_not(payload: bytes, figure: Any) -> None:
    """The error is raised by one `recv`; the connection goes on."""
    seen = see_errors(after_opening(frame(payload), frame(msgpack.packb({"n": 2})), frame(b"\x03\xe8", first=0x88)))
    assert [event[0] for event in seen["events"]] == ["DecodeError", "result"], seen
    assert seen["events"][1][1] == "{'n': 2}"
    assert seen["grown"] < allowance(payload)
    figure(f"{len(payload) / 1e6:.1f} MB: {seen['grown'] / MEBI:.0f} MiB grown: {seen['events'][0][1]}")


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"x-fal-error","error":"OTHER","reason":"r","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":[' + b"{}," * 4_000_000 + b"{}]}",
        b'{"a":' + b"9" * 5_000_000 + b"}",
        b"{",
        b"",
    ],
    ids=["arrays", "maps", "in-type", "in-an-error", "empty-maps", "number", "half", "empty"],
)
def test_a_hostile_json_message_is_an_error_and_the_next_one_is_not(payload: bytes, figure: Any) -> None:
    hostile = frame(payload, first=0x81)
    seen = see_errors(after_opening(hostile, frame(msgpack.packb({"n": 2})), frame(b"\x03\xe8", first=0x88)))
    assert seen["events"][0][0] in ("DecodeError", "RealtimeError"), seen
    assert seen["events"][1:] == [["result", "{'n': 2}"]], seen
    assert seen["grown"] < allowance(payload)
    figure(f"{len(payload) / 1e6:.1f} MB: {seen['grown'] / MEBI:.0f} MiB grown: {' '.join(seen['events'][0])[:100]}")


def test_of_a_duplicate_key_the_last_counts() -> None:
    """As in every decoder; and what the connection reads of a message is what the caller gets."""
    twice = b"\x82\xa1a\x01\xa1a\x02"
    refused = b'{"type":"x-fal-error","error":"TIMEOUT","type":"mine","error":"mine"}'
    script = after_opening(frame(twice), frame(refused, first=0x81), frame(b"\x03\xe8", first=0x88))
    seen = see_errors(script)
    assert seen["events"][:2] == [["result", "{'a': 2}"], ["result", "{'type': 'mine', 'error': 'mine'}"]], seen


def allowance(payload: bytes) -> int:
    """What a message may become: itself, 64 MiB and sixteen times its length of objects, and a little."""
    return 64 * MEBI + 17 * len(payload) + 16 * MEBI


ERRORS = CLIENT.replace(
    """                received = await asyncio.wait_for(connection.recv(), 15)
                seen.setdefault("received", []).append(repr(received)[:80])
""",
    """                try:
                    event = "result", repr(await asyncio.wait_for(connection.recv(), 15))[:80]
                except (DecodeError, RealtimeError) as error:
                    event = type(error).__name__, str(error)[:200]
                seen.setdefault("events", []).append(event)
                if len(seen["events"]) == 2:
                    break
""",
).replace("import RealtimeClient", "import DecodeError, RealtimeClient, RealtimeError")


def see_errors(script: Script, budget: int = 256 * MEBI) -> dict[str, Any]:
    """What a client sees that goes on after an error of a message."""
    assert ERRORS != CLIENT
    with ScriptedServer(script) as server:
        ran = subprocess.run(
            [sys.executable, "-c", ERRORS, server.url, "errors", json.dumps({"budget": budget})],
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    assert "error" not in seen, seen
    return seen
