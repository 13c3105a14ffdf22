"""What a server repeats of what it was told is in no error, close reason, log record or recording."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from support import Answer, Peer, Records, Session, result_of

from fal_realtime import ApiError, FalRealtimeError, RealtimeError

APP = "fal-ai/fast-lcm-diffusion"
SECRET = 'canary/"4 w+'
WORD = "canary.secret-0123"
LOGIN = "me:canary-value"
LOGIN_BASE64 = base64.b64encode(LOGIN.encode()).decode()


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def shown(error: BaseException | None) -> str:
    return f"{error} {error!r} {vars(error) if error else ''} {error.args if error else ''}"


@pytest.mark.parametrize(
    "spell",
    [str, in_json, escaped, quote, quote_plus, lambda text: base64.b64encode(text.encode()).decode()],
    ids=["plain", "json", "escaped", "percent", "form", "base64"],
)
@pytest.mark.parametrize("by", ["close", "error"])
async def test_a_value_of_the_query_is_not_repeated(tmp_path: Path, spell: Any, by: str) -> None:
    def repeat(session: Session) -> None:
        session.recv()
        if by == "close":
            session.close(1011, f"told: {spell(SECRET)}")
        else:
            session.send_raw(
                f'{{"type":"x-fal-error","error":"E","reason":"told: {in_json(SECRET)}","p":"{spell(WORD)}"}}'
            )
            session.close(1000, "")

    records = Records()
    logger = logging.getLogger("fal_realtime")
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    recording = tmp_path / "recording.mcap"
    try:
        with Peer(repeat) as peer:
            options: dict[str, Any] = {"query": {"a": SECRET, "b": WORD}, "reconnect": None, "use_jwt": False}
            connection = peer.client().connect(APP, **options)
            with connection.record(recording):
                connection.send_nowait({})
                with pytest.raises(FalRealtimeError, match=r"told: \*\*\*") as raised:
                    await result_of(connection.recv())
                await connection.aclose()
    finally:
        logger.removeHandler(records)
        logger.setLevel(logging.NOTSET)
    told = f"{shown(raised.value)} {shown(connection.last_error)} {connection.close_reason} {list(records.log)}"
    if by == "close":  # what a message holds may be anybody's words
        told += recording.read_bytes().decode("latin-1")
    for secret in (SECRET, WORD):
        for spelled in (secret, in_json(secret), spell(secret)):
            assert spelled not in told
    if isinstance(raised.value, RealtimeError):
        assert "***" in raised.value.payload["p"]


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ({"X-Own": "correct horse canary"}, ["correct horse canary"]),
        ({"X-Own": "usr:canary7"}, ["usr:canary7"]),
        ({"Cookie": "session=canary-value; x=1"}, ["canary-value"]),
        ({"X-Own": '{"token": "canary-value"}'}, ["canary-value", '{"token": "canary-value"}']),
        ({"Authorization": f"Basic {LOGIN_BASE64}"}, [LOGIN, "canary-value"]),
    ],
)
async def test_neither_a_header_nor_a_part_of_it_is_repeated(
    tmp_path: Path, header: dict[str, str], parts: list[str]
) -> None:
    recording = tmp_path / "recording.mcap"
    for part in parts:

        def close(session: Session, part: str = part) -> None:
            session.recv()
            session.send_raw(f"{part} {escaped(part)} {quote(part, safe='')} query-value")
            session.close(4000, f"told: {part}")

        with Peer(close) as peer:
            url = f"{peer.base_url}/?word=query-value"
            connection = peer.client().connect_raw(url, headers=header, reconnect=None)
            recorded = connection.record(recording)
            connection.send_nowait(b"x")
            assert part in str(await result_of(connection.recv()))
            with pytest.raises(FalRealtimeError, match=r"told: \*\*\*") as raised:
                await result_of(connection.recv())
            assert part not in shown(raised.value)
            await connection.aclose()
            recorded.close()
        content = recording.read_bytes().decode("latin-1")
        assert "query-value" in content
        assert not [each for each in (part, escaped(part), quote(part, safe="")) if each in content]


async def test_a_query_without_values_is_not_repeated() -> None:
    def refuse(session: Session) -> None:
        session.refuse(400, "told: /x?canary-value")

    with Peer(refuse) as peer:
        connection = peer.client().connect_raw(f"{peer.base_url}/x?canary-value", reconnect=None)
        with pytest.raises(FalRealtimeError, match=r"told: /x\?\*\*\*"):
            await result_of(connection.open())


async def test_a_token_that_was_replaced_is_not_repeated() -> None:
    tokens = iter(["canary-token-1", "canary-token-2", "canary-token-3"])

    def refuse(session: Session) -> None:
        session.recv()
        session.close(1008, "told: canary-token-1, canary-token-2")

    with Peer(refuse) as peer:
        connection = peer.client().connect(APP, token_provider=lambda _: next(tokens))
        connection.send_nowait({})
        with pytest.raises(FalRealtimeError, match=r"told: \*\*\*, \*\*\*") as raised:
            await result_of(connection.recv())
        assert "canary-token" not in shown(raised.value) + shown(connection.last_error)


async def test_neither_query_of_a_token_request_is_repeated() -> None:
    answers = tuple(Answer(status, json.dumps({"detail": "told: canary-value, canary-proxy"})) for status in (404, 400))
    with Peer(tokens=answers) as peer:
        options: dict[str, Any] = {"token_path": "/tokens/?admin=canary-value"}
        for options["proxy_url"] in (None, f"{peer.rest_url}/proxy?key=canary-proxy"):
            with pytest.raises(ApiError) as raised:
                await result_of(peer.client(**options).connect(APP, reconnect=None).open())
            assert "told: ***" in str(raised.value.body)
            assert "canary-value" not in shown(raised.value)
    assert "canary-proxy" not in shown(raised.value)
