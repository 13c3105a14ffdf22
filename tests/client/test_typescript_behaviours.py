"""The twelve behaviours that the realtime tests of `@fal-ai/client` assert."""

from __future__ import annotations

import json
import time

import msgpack
import pytest
from support import Log, Peer, Session

from fal_realtime import AuthenticationError


def answer_ok(session: Session) -> None:
    """Answer every input with the same result."""
    while session.recv() is not None:
        session.send({"status": "ok"})


async def send_one(peer, app="123-myapp", message=None, **options):
    """Connect with callbacks, send one message lazily, wait for its result, close."""
    results = Log()
    connection = peer.client().connect(app, on_result=results, **options)
    assert peer.accepted == 0, "it opened before the first send"
    connection.send_nowait({"prompt": "a cat"} if message is None else message)
    await results.has(1)
    await connection.aclose()
    return results


async def test_1_a_legacy_app_id_with_a_custom_path_dials_that_path_with_one_minted_token():
    with Peer() as peer:
        await send_one(peer, "123-myapp", path="/custom/path")
        [session] = peer.sessions
        assert session.path == "/123/myapp/custom/path"
        assert session.query == {"fal_jwt_token": "token-1"}
        assert len(peer.mints) == 1


async def test_2_an_object_goes_out_as_binary_msgpack_that_decodes_equal():
    message = {"prompt": "a cat", "seed": 7, "nested": {"values": [1.5, None, True]}, "image": b"\x00\xff"}
    with Peer() as peer:
        await send_one(peer, message=message)
        [raw] = peer.sessions[0].messages
        assert isinstance(raw, bytes)
        assert msgpack.unpackb(raw) == message


async def test_3_a_string_goes_out_as_msgpack_and_not_as_a_text_frame():
    with Peer() as peer:
        await send_one(peer, message="a cat")
        assert peer.sessions[0].messages == [msgpack.packb("a cat")]


async def test_4_a_custom_encoders_text_goes_out_as_it_is_and_json_text_reaches_on_result_through_the_decoder():
    def answer_in_json(session: Session) -> None:
        session.recv()
        session.send_raw('{"status":"ok","value":3}')
        session.wait_closed()

    with Peer(answer_in_json) as peer:
        results = await send_one(peer, encode_message=json.dumps, decode_message=json.loads)
        assert peer.sessions[0].messages == ['{"prompt": "a cat"}']
        assert results == [{"status": "ok", "value": 3}]


async def test_5_a_custom_decoder_gets_binary_messages_too():
    with Peer(answer_ok) as peer:
        results = await send_one(peer, decode_message=lambda message: ("decoded", message))
        assert results == [("decoded", msgpack.packb({"status": "ok"}))]


async def test_6_a_failing_decoder_calls_on_error_once_with_status_400():
    def fail(message):
        raise ValueError(message)

    with Peer(answer_ok) as peer:
        results, errors = Log(), Log()
        connection = peer.client().connect("123-myapp", on_result=results, on_error=errors, decode_message=fail)
        connection.send_nowait({"prompt": "a cat"})
        [error] = await errors.has(1)
        await connection.aclose()
        assert error.status == 400
        assert isinstance(error.__cause__, ValueError)
        assert (len(errors), len(results)) == (1, 0)


@pytest.mark.parametrize(
    ("app", "asked_for"),
    [
        pytest.param("123-myapp", "123/myapp/realtime", id="test_7"),
        pytest.param("456/otherapp", "456/otherapp/realtime", id="test_8"),
    ],
)
async def test_7_and_8_a_token_provider_is_asked_once_with_the_app_path_and_its_token_is_in_the_address(app, asked_for):
    asked = []

    def provide(app_path):
        asked.append(app_path)
        return "provided-token"

    with Peer() as peer:
        await send_one(peer, app, token_provider=provide)
        assert asked == [asked_for]
        assert peer.mints == []
        assert peer.sessions[0].token == "provided-token"


async def test_9_a_failing_token_provider_is_asked_once_and_no_socket_is_opened():
    asked = []

    def fail(app_path):
        asked.append(app_path)
        raise LookupError(app_path)

    with Peer() as peer:
        errors = Log()
        connection = peer.client().connect("123-myapp", on_result=Log(), on_error=errors, token_provider=fail)
        connection.send_nowait({"prompt": "a cat"})
        [error] = await errors.has(1)
        assert isinstance(error, AuthenticationError)
        assert connection.state == "closed"
        assert asked == ["123/myapp/realtime"]
        assert (peer.accepted, peer.mints) == (0, [])


async def test_10_without_a_provider_the_default_mint_is_asked_once_for_the_alias():
    with Peer() as peer:
        await send_one(peer, "456/otherapp")
        [mint] = peer.mints
        assert mint.body == {"allowed_apps": ["otherapp"], "token_expiration": 120}
        assert mint.headers["authorization"] == "Key key-id:key-secret"


async def test_11_a_provider_without_an_expiration_is_never_asked_again_while_one_with_it_is():
    asked = {"lasting": Log(), "expiring": Log()}

    async def provide_lasting(app_path):
        asked["lasting"](app_path)
        return "lasting"

    async def provide_expiring(app_path):
        asked["expiring"](app_path)
        return "expiring"

    with Peer() as peer:
        client = peer.client()
        async with (
            client.connect("123-myapp", token_provider=provide_lasting),
            client.connect("123-myapp", token_provider=provide_expiring, token_expiration_seconds=1),
        ):
            await asked["expiring"].has(2)
        assert len(asked["lasting"]) == 1


async def test_12_the_token_is_refreshed_when_nine_tenths_of_its_expiration_have_passed():
    times = Log()

    async def provide(app_path):
        times(time.monotonic())
        return "token"

    with Peer() as peer:
        connection = peer.client().connect("123-myapp", token_provider=provide, token_expiration_seconds=2)
        async with connection:
            first, second = await times.has(2)
        # A busy machine makes it later, and nothing sooner; to the moment it is a test of `net/token/shared`.
        assert second - first >= 1.79
        assert len(times) == 2
