"""Inputs that are encoded already: bytes-like ones go out as they are, as in the TypeScript client."""

from __future__ import annotations

import array

import msgpack
import pytest
from support import Peer, Session, result_of

from fal_realtime import EncodeError

APP = "fal-ai/fast-lcm-diffusion"
ENCODED = msgpack.packb({"prompt": "a cat", "number": 1})
LARGE = msgpack.packb({"image": bytes(100_000)})


class OwnBytes(bytes):
    """A subclass, as libraries have them."""


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, OwnBytes, lambda data: memoryview(bytearray(b"--" + data))[2:]]
)
async def test_a_bytes_like_input_goes_out_unchanged_as_a_binary_message(kind):
    with Peer(Session.wait_closed) as peer:
        async with peer.client().connect(APP) as connection:
            for message in (ENCODED, LARGE, b"\xc1 is no msgpack", b""):
                await connection.send(kind(message))
            connection.send_nowait(kind(ENCODED))
            await result_of(connection.drain())
            await peer.until(lambda: len(peer.sessions[0].messages) == 5)
        assert peer.sessions[0].messages == [ENCODED, LARGE, b"\xc1 is no msgpack", b"", ENCODED]


def test_the_blocking_client_sends_them_unchanged_too():
    with Peer() as peer:
        with peer.sync_client().connect(APP) as connection:
            connection.send(ENCODED)
            assert connection.recv(timeout=60) == {"prompt": "a cat", "number": 1}
        assert peer.sessions[0].messages == [ENCODED]


async def test_a_later_change_of_the_buffer_changes_nothing_that_was_sent():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            buffer = bytearray(LARGE)
            connection.send_nowait(buffer)
            buffer[:] = bytes(len(buffer))
            await peer.until(lambda: peer.sessions and peer.sessions[0].messages)
        assert peer.sessions[0].messages == [LARGE]


async def test_other_buffers_are_values_and_are_encoded():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send(array.array("B", b"pixels"))
            await peer.until(lambda: peer.sessions and peer.sessions[0].messages)
        assert msgpack.unpackb(peer.sessions[0].messages[0]) == b"pixels"


async def test_bytes_inside_of_an_input_are_values():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            await connection.send({"image": ENCODED})
            await peer.until(lambda: peer.sessions and peer.sessions[0].messages)
        assert msgpack.unpackb(peer.sessions[0].messages[0]) == {"image": ENCODED}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_request_refuses_them_and_says_why(kind):
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            with pytest.raises(EncodeError, match=f"cannot put a request_id into an encoded message.*{kind.__name__}"):
                await connection.request(kind(ENCODED))
            assert connection.stats()["accepted"] == 0


async def test_an_encoder_of_ones_own_gets_them_like_any_input():
    taken = []

    def encode(message):
        taken.append(message)
        return b"\xa4mine"

    with Peer() as peer:
        async with peer.client().connect(APP, encode_message=encode) as connection:
            await connection.send(ENCODED)
            await peer.until(lambda: peer.sessions and peer.sessions[0].messages)
        assert (taken, peer.sessions[0].messages) == ([ENCODED], [b"\xa4mine"])


async def test_a_released_memoryview_is_refused():
    with Peer() as peer:
        async with peer.client().connect(APP) as connection:
            view = memoryview(ENCODED)
            view.release()
            with pytest.raises(ValueError, match="released"):
                await connection.send(view)
