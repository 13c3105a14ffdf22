"""Answers to the handshake that break the rules: a typed error, bounded memory, no hang."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hostile import MEBI, see
from support.raw_server import Raw, Script


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
    assert seen["connections"] == 1
    assert seen["grown"] < 16 * MEBI
    figure(f"{seen['seconds'] * 1000:.0f} ms, {seen['grown'] / MEBI:.1f} MiB grown: {seen['message'][:110]}")


def test_a_header_a_byte_at_a_time_ends_with_open_timeout(figure: Any) -> None:
    def dribble(raw: Raw) -> None:
        raw.read_request()
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" * 100:
            raw.say(bytes([byte]))
            time.sleep(0.1)

    seen = see(dribble, open_timeout=1.5)
    assert seen["error"] == "RequestTimeoutError", seen
    assert seen["seconds"] > 1.4
    figure(f"open_timeout 1.5 s: {seen['seconds']:.2f} s")
