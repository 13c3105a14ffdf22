"""Tokens: the default mint, its retries, providers, sharing, refresh, and doing without."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import gc
import json
import logging
import threading
import time
from urllib.parse import quote

import msgpack
import pytest
from support import KEY, LIMIT, Answer, Log, Peer, Records, Session, gather, result_of, until

from fal_realtime import (
    ApiError,
    AuthenticationError,
    ConnectionClosedError,
    FalRealtimeError,
    HandshakeError,
    RealtimeError,
    ReconnectPolicy,
    RequestTimeoutError,
    ValidationError,
)

APP = "fal-ai/fast-lcm-diffusion"
BUSY = [Answer(429, "slow down"), Answer(500, "oh"), Answer(503, "busy")]


async def opened(connection):
    """Open, within the limit."""

    async def wait():
        return await connection

    return await result_of(wait())


async def tokens_of(peer, connection):
    """Open and close, and give the tokens that were dialled with."""
    await opened(connection)
    await connection.aclose()
    return [session.token for session in peer.sessions]


# --- the default mint ---


@pytest.mark.parametrize("body", ["T0ken.abc-_", {"detail": "T0ken.abc-_"}, {"token": "T0ken.abc-_"}])
async def test_all_three_forms_of_the_answer_hold_the_token(body):
    with Peer(tokens=(Answer(body=body),)) as peer:
        assert await tokens_of(peer, peer.client().connect(APP)) == ["T0ken.abc-_"]


async def test_a_token_is_escaped_in_the_address():
    with Peer(tokens=(Answer(body="a+b/c=&d#e"),)) as peer:
        assert await tokens_of(peer, peer.client().connect(APP)) == ["a+b/c=&d#e"]


async def test_the_request_names_the_alias_and_carries_the_key_and_the_user_agent():
    with Peer() as peer:
        await tokens_of(peer, peer.client(user_agent="gateway/7").connect("workflows/owner/alias", path="/x"))
        [mint] = peer.mints
        assert mint.path == "/tokens/"
        assert mint.body == {"allowed_apps": ["alias"], "token_expiration": 120}
        assert mint.headers["authorization"] == "Key key-id:key-secret"
        assert mint.headers["content-type"] == "application/json"
        assert mint.headers["user-agent"] == "gateway/7"


async def test_the_expiration_that_was_asked_for_is_in_the_request():
    with Peer() as peer:
        await tokens_of(peer, peer.client().connect(APP, token_expiration_seconds=30))
        assert peer.mints[0].body["token_expiration"] == 30


async def test_the_endpoint_and_the_body_can_be_those_of_the_newer_documentation():
    body = {"allowed_apps": ["{app_path}"], "duration": "{token_expiration}", "note": "for {alias}"}
    with Peer(tokens=(Answer(body={"token": "new"}),)) as peer:
        connection = peer.client(token_path="/tokens/realtime").connect(APP, token_body=body)
        assert await tokens_of(peer, connection) == ["new"]
        [mint] = peer.mints
        assert mint.path == "/tokens/realtime"
        assert mint.body == {
            "allowed_apps": ["fal-ai/fast-lcm-diffusion/realtime"],
            "duration": 120,
            "note": "for fast-lcm-diffusion",
        }


@pytest.mark.parametrize("busy", BUSY, ids=lambda answer: str(answer.status))
async def test_a_busy_endpoint_is_asked_again_after_about_a_second(busy):
    with Peer(tokens=(busy, Answer(body="second"))) as peer:
        began = time.monotonic()
        assert await tokens_of(peer, peer.client().connect(APP)) == ["second"]
        assert 0.75 <= time.monotonic() - began < LIMIT
        assert len(peer.mints) == 2


@pytest.mark.parametrize("status", [400, 404])
async def test_another_refusal_is_an_api_error_with_its_status_and_body_and_is_not_retried(status):
    with Peer(tokens=(Answer(status, {"detail": "no such app"}),)) as peer:
        with pytest.raises(ApiError) as raised:
            await opened(peer.client().connect(APP))
        assert (raised.value.status, raised.value.body) == (status, {"detail": "no such app"})
        assert not isinstance(raised.value, ValidationError)
        assert raised.value.request_id == ""
        assert len(peer.mints) == 1
        assert peer.accepted == 0


async def test_a_request_that_is_not_understood_is_a_validation_error_with_its_fields():
    detail = [{"loc": ["body", "allowed_apps"], "msg": "must not be empty", "type": "value_error"}]
    with Peer(tokens=(Answer(422, {"detail": detail}),)) as peer:
        with pytest.raises(ValidationError) as raised:
            await opened(peer.client().connect(APP))
        assert raised.value.field_errors == detail
        assert raised.value.get_field_errors("allowed_apps") == detail


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_an_authentication_error_without_the_key_in_it(status):
    with Peer(tokens=(Answer(status, "bad key key-id:key-secret"),)) as peer:
        with pytest.raises(AuthenticationError, match=str(status)) as raised:
            await opened(peer.client().connect(APP))
        assert "key-secret" not in f"{raised.value!r} {raised.value} {raised.value.args}"
        assert len(peer.mints) <= 2


@pytest.mark.parametrize("body", ["", {}, {"token": 7}, [], None, "with space"])
async def test_an_answer_without_a_token_is_an_api_error(body):
    with Peer(tokens=(Answer(body=body),)) as peer, pytest.raises(ApiError, match="holds no token"):
        await opened(peer.client().connect(APP))


async def test_without_credentials_opening_is_an_authentication_error_that_says_what_to_set():
    with Peer() as peer:
        with pytest.raises(AuthenticationError, match="FAL_KEY"):
            await opened(peer.client(credentials=None).connect(APP))
        assert (peer.accepted, peer.mints) == (0, [])


async def test_with_a_proxy_url_the_token_request_goes_there_and_names_the_real_address():
    with Peer() as peer, Peer() as front:
        client = peer.client(proxy_url=f"{front.rest_url}/api/fal/proxy")
        assert await tokens_of(peer, client.connect(APP)) == ["token-1"]
        [mint] = front.mints
        assert mint.path == "/api/fal/proxy"
        assert mint.headers["x-fal-target-url"] == f"{peer.rest_url}/tokens/"
        assert "authorization" not in mint.headers, "it adds the key that it has"
        assert (peer.mints, front.sessions) == ([], [])


async def test_a_proxy_that_adds_the_key_needs_none_from_here():
    with Peer() as peer, Peer() as front:
        client = peer.client(credentials=None, proxy_url=f"{front.rest_url}/api/fal/proxy")
        assert await tokens_of(peer, client.connect(APP)) == ["token-1"]
        [mint] = front.mints
        assert "authorization" not in mint.headers


async def test_an_api_error_holds_the_id_by_which_fal_knows_the_request():
    refusal = Answer(404, {"detail": "no such app"}, headers=(("x-fal-request-id", "7f3c-request"),))
    with Peer(tokens=(refusal,)) as peer:
        with pytest.raises(ApiError) as raised:
            await opened(peer.client().connect(APP))
        assert raised.value.request_id == "7f3c-request"


# --- doing without ---


async def test_without_jwt_the_key_is_sent_in_the_handshake_and_nothing_is_minted():
    with Peer() as peer:
        await opened(connection := peer.client().connect(APP, use_jwt=False))
        await connection.aclose()
        [session] = peer.sessions
        assert session.headers["authorization"] == "Key key-id:key-secret"
        assert session.query == {}
        assert peer.mints == []


async def test_with_a_token_the_key_is_not_sent_in_the_handshake():
    with Peer() as peer:
        await tokens_of(peer, peer.client().connect(APP))
        assert "authorization" not in peer.sessions[0].headers


async def test_without_jwt_a_refused_key_is_an_authentication_error_at_once():
    with Peer(lambda session: session.refuse(401)) as peer:
        with pytest.raises(AuthenticationError):
            await opened(peer.client().connect(APP, use_jwt=False))
        assert len(peer.sessions) == 1


async def test_without_jwt_and_without_a_key_connect_says_what_is_missing(monkeypatch):
    for name in ("FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with Peer() as peer, pytest.raises(AuthenticationError, match=r"use_jwt=False .* set FAL_KEY"):
        peer.client(credentials=None).connect(APP, use_jwt=False)


# --- providers ---

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("CALLER", default="nobody")


async def test_a_plain_provider_runs_in_a_thread_of_its_own_with_the_contextvars_of_connect():
    seen = []

    def provide(app_path):
        seen.append((app_path, CALLER.get(), threading.current_thread() is threading.main_thread()))
        return "provided"

    with Peer() as peer:
        CALLER.set("user 7")
        connection = peer.client().connect(APP, token_provider=provide)
        CALLER.set("somebody else")
        assert await tokens_of(peer, connection) == ["provided"]
    assert seen == [("fal-ai/fast-lcm-diffusion/realtime", "user 7", False)]


async def test_an_async_provider_runs_on_the_loop_with_the_contextvars_of_connect():
    seen = []

    async def provide(app_path):
        await asyncio.sleep(0)
        seen.append((app_path, CALLER.get(), asyncio.get_running_loop()))
        return "provided"

    with Peer() as peer:
        CALLER.set("user 8")
        connection = peer.client().connect(APP, token_provider=provide)
        CALLER.set("somebody else")
        assert await tokens_of(peer, connection) == ["provided"]
    assert seen == [("fal-ai/fast-lcm-diffusion/realtime", "user 8", asyncio.get_running_loop())]


async def test_a_provider_that_blocks_does_not_block_the_loop():
    asked, answer = threading.Event(), threading.Event()

    def provide(_):
        asked.set()
        assert answer.wait(LIMIT)
        return "provided"

    with Peer() as peer:
        connection = peer.client().connect(APP, token_provider=provide)
        opening = asyncio.ensure_future(opened(connection))
        assert await asyncio.to_thread(asked.wait, LIMIT)
        assert connection.state == "authenticating"
        answer.set()
        await opening
        await connection.aclose()


@pytest.mark.parametrize("returned", [None, 7, b"token"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_provider_that_returns_no_str_is_an_authentication_error_that_says_so(returned, is_async):
    async def provide_async(_):
        return returned

    provider = provide_async if is_async else lambda _: returned
    with Peer() as peer:
        with pytest.raises(AuthenticationError, match=f"must return a str, not {type(returned).__name__}"):
            await opened(peer.client().connect(APP, token_provider=provider))
        assert peer.accepted == 0


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_provider_that_returns_nothing_is_an_authentication_error_and_no_socket(is_async):
    async def provide_async(_):
        return ""

    with Peer() as peer:
        with pytest.raises(AuthenticationError, match="must not return an empty str"):
            await opened(peer.client().connect(APP, token_provider=provide_async if is_async else lambda _: ""))
        assert peer.accepted == 0


async def test_one_plain_provider_is_asked_for_two_apps_at_once():
    together = threading.Barrier(2)

    def provide(app_path):
        together.wait(LIMIT)
        return f"{CALLER.get()} for {app_path}"

    with Peer() as peer:
        CALLER.set("user 9")
        client = peer.client()
        connections = [client.connect(app, token_provider=provide) for app in (APP, "fal-ai/other")]
        await gather(*connections)
        assert {session.token for session in peer.sessions} == {
            "user 9 for fal-ai/fast-lcm-diffusion/realtime",
            "user 9 for fal-ai/other/realtime",
        }
        await gather(*(connection.aclose() for connection in connections))


async def test_an_async_provider_that_raises_is_an_authentication_error_with_its_message():
    async def fail(_):
        await asyncio.sleep(0)
        message = "the vault is sealed"
        raise PermissionError(message)

    with Peer() as peer, pytest.raises(AuthenticationError, match="PermissionError: the vault is sealed"):
        await opened(peer.client().connect(APP, token_provider=fail))


async def test_a_provider_that_never_answers_is_given_up_after_open_timeout():
    cancelled = Log()

    async def hang(_):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled(True)

    with Peer() as peer:
        with pytest.raises(RequestTimeoutError, match="open_timeout"):
            await opened(peer.client().connect(APP, token_provider=hang, open_timeout=0.1))
        await cancelled.has(1)


async def test_a_plain_provider_that_hangs_is_not_called_in_ever_more_threads():
    calls, answer = [], threading.Event()

    def hang(app_path):
        calls.append(app_path)
        answer.wait(LIMIT)
        return "late"

    with Peer() as peer:
        client = peer.client()
        said = ""
        while "4 earlier calls of it have not returned" not in said:
            assert len(calls) <= 4
            with pytest.raises(FalRealtimeError) as failure:
                await opened(client.connect(APP, token_provider=hang, open_timeout=0.2))
            said = str(failure.value)
            del failure
            gc.collect()  # no connection is left that would keep the provider
        assert len(calls) == 4
        answer.set()
        await until(lambda: "fal-realtime-callable" not in {each.name for each in threading.enumerate()}, "returned")
        assert await tokens_of(peer, client.connect(APP, token_provider=hang)) == ["late"]


async def test_close_cancels_an_async_provider_under_way():
    began, cancelled = Log(), Log()

    async def hang(_):
        began(True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled(True)
            raise

    with Peer() as peer:
        connection = peer.client().connect(APP, token_provider=hang)
        connection.send_nowait({"prompt": "a cat"})
        await began.has(1)
        await connection.aclose()
        await cancelled.has(1)
        assert peer.accepted == 0


async def test_async_providers_that_take_their_time_hold_up_no_other():
    began, answer = Log(), asyncio.Event()

    def make():
        async def provide(_):
            began(True)
            await answer.wait()
            return "late"

        return provide

    with Peer() as peer:
        client = peer.client()
        slow = [client.connect(APP, token_provider=make()) for _ in range(50)]
        opening = asyncio.ensure_future(gather(*map(opened, slow)))
        await began.has(50)
        assert await tokens_of(peer, client.connect(APP, token_provider=lambda _: "at once")) == ["at once"]
        answer.set()
        await opening
        await gather(*(connection.aclose() for connection in slow))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_one_provider_may_be_asked_for_the_tokens_of_several_apps_at_once(is_async):
    both_asked = threading.Barrier(2)

    def provide(app_path):
        both_asked.wait(LIMIT)
        return app_path

    async def provide_async(app_path):
        return await asyncio.to_thread(provide, app_path)

    with Peer() as peer:
        client = peer.client()
        provider = provide_async if is_async else provide
        connections = [client.connect(app, token_provider=provider) for app in ("fal-ai/one", "fal-ai/two")]
        await gather(*map(opened, connections))
        assert sorted(session.token for session in peer.sessions) == ["fal-ai/one/realtime", "fal-ai/two/realtime"]
        await gather(*(connection.aclose() for connection in connections))


# --- sharing ---


async def test_connections_to_one_app_with_one_provider_share_a_token_fetched_once():
    asked, answer = Log(), asyncio.Event()

    async def provide(app_path):
        asked(app_path)
        await answer.wait()
        return f"token-{len(asked)}"

    with Peer() as peer:
        client = peer.client()
        connections = [client.connect(APP, token_provider=provide) for _ in range(5)]
        opening = asyncio.ensure_future(gather(*connections))
        await asked.has(1)
        while any(connection.state != "authenticating" for connection in connections):  # noqa: ASYNC110
            await asyncio.sleep(0)
        answer.set()
        await result_of(opening)
        later = client.connect(APP, token_provider=provide)
        await opened(later)
        assert [session.token for session in peer.sessions] == ["token-1"] * 6
        assert len(asked) == 1
        await gather(later.aclose(), *(connection.aclose() for connection in connections))


async def test_the_default_mint_is_shared_per_app_and_client():
    with Peer() as peer:
        client = peer.client()
        connections = [client.connect(app) for app in (APP, APP, "fal-ai/other")] + [peer.client().connect(APP)]
        await gather(*connections)
        assert sorted(mint.body["allowed_apps"][0] for mint in peer.mints) == [
            "fast-lcm-diffusion",
            "fast-lcm-diffusion",
            "other",
        ]
        await gather(*(connection.aclose() for connection in connections))


async def test_different_providers_do_not_share():
    with Peer() as peer:
        client = peer.client()
        connections = [client.connect(APP, token_provider=lambda _, name=name: name) for name in ("a", "b")]
        await gather(*connections)
        assert {session.token for session in peer.sessions} == {"a", "b"}
        await gather(*(connection.aclose() for connection in connections))


# --- refresh and refusal ---


async def test_a_failed_refresh_is_tried_again_after_a_twentieth_of_the_expiration():
    times = Log()

    async def provide(_):
        times(time.monotonic())
        if len(times) == 2:
            message = "a bad moment"
            raise ConnectionError(message)
        return f"token-{len(times)}"

    errors = Log()
    with Peer() as peer:
        connection = peer.client().connect(APP, token_provider=provide, token_expiration_seconds=2, on_error=errors)
        async with connection:
            await times.has(3)
            assert connection.state == "active"
    assert times[1] - times[0] >= 1.75
    assert times[2] - times[1] >= 0.09
    assert errors == []


async def test_a_refreshed_token_is_used_when_the_connection_opens_again():
    asked = Log()
    leave = threading.Event()

    async def provide(_):
        asked(True)
        return f"token-{len(asked)}"

    def until_told(session: Session) -> None:
        session.accept()
        assert leave.wait(LIMIT)
        session.drop()

    with Peer(until_told, Session.echo) as peer:
        options = {"token_provider": provide, "token_expiration_seconds": 1}
        async with peer.client().connect(APP, reconnect=ReconnectPolicy(initial_delay=0.001), **options):
            await asked.has(2)
            await asyncio.sleep(0.3)  # nothing announces that the provider's answer has arrived
            leave.set()
            await peer.until(lambda: len(peer.sessions) == 2)
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]


async def test_a_refusal_in_band_mints_once_more_and_then_is_an_authentication_error():
    def refuse(session: Session) -> None:
        session.recv()
        session.send_json(status="error", error="Unauthorized")
        session.wait_closed()

    errors = Log()
    with Peer(refuse) as peer:
        connection = peer.client().connect(APP, on_error=errors, throttle_interval=0)
        connection.send_nowait({"number": 0})
        connection.send_nowait({"number": 1})
        await peer.until(lambda: len(peer.sessions) == 2)
        # Where an earlier message has gone out again, the second session is refused before this one.
        with contextlib.suppress(AuthenticationError):
            connection.send_nowait({"number": 2})
        [error] = await errors.has(1)
        assert isinstance(error, AuthenticationError)
        assert connection.state == "closed"
        assert [session.token for session in peer.sessions] == ["token-1", "token-2"]
        with pytest.raises(AuthenticationError):
            await result_of(connection.recv())


async def test_after_a_refusal_and_an_accepted_token_another_refusal_has_a_new_mint_again():
    def refuse(session: Session) -> None:
        session.refuse(401)

    def answer_once(session: Session) -> None:
        session.send(session.recv())
        session.close(1000)

    with Peer(refuse, answer_once, refuse, answer_once) as peer:
        async with peer.client().connect(APP, throttle_interval=0) as connection:
            for number in range(2):
                await connection.send({"number": number})
                assert await result_of(connection.recv()) == {"number": number}
                # What is sent before the server's close is seen may be written, and lost with the session.
                await peer.until(lambda: connection.state == "idle")
        assert len(peer.sessions) == 4
        tokens = [session.token for session in peer.sessions]
        assert tokens[0] != tokens[1]
        assert tokens[2] != tokens[3]


async def test_no_token_is_in_any_message_or_repr():
    with Peer(lambda session: session.refuse(500, f"no entry for {session.token}")) as peer:
        connection = peer.client().connect(APP, token_provider=lambda _: "very-secret-token")
        with pytest.raises(Exception, match="500") as raised:
            await opened(connection)
        shown = f"{raised.value!r} {raised.value} {raised.value.args} {connection!r}"
        assert "very-secret-token" not in shown


@pytest.mark.parametrize("pack", [json.dumps, msgpack.packb], ids=["json", "msgpack"])
async def test_an_error_of_the_app_that_repeats_the_token_is_reported_without_it(pack):
    def repeat(session: Session) -> None:
        session.recv()
        said = {"reason": f"no {session.token}", "tokens": [session.token], "input": "very-public-text"}
        session.send_raw(pack({"type": "x-fal-error", "error": "E", **said}))
        session.wait_closed()

    with Peer(repeat) as peer:
        async with peer.client().connect(APP, token_provider=lambda _: "very-secret/token") as connection:
            await connection.send({"prompt": "a cat"})
            with pytest.raises(RealtimeError) as raised:
                await result_of(connection.recv())
    error = raised.value
    assert (error.error, error.reason) == ("E", "no ***")
    hidden = "*" * len("very-secret/token")
    said = {"reason": f"no {hidden}", "tokens": [hidden], "input": "very-public-text"}
    assert error.payload == {"type": "x-fal-error", "error": "E", **said}


KEYS = [KEY, "key-secret", base64.b64encode(KEY.encode()).decode(), quote(KEY, safe="")]
"""The key as a server may repeat it."""


async def told_by(script) -> tuple[FalRealtimeError, str]:
    """The error of a connection whose key was not sent to the server that runs the script, and all that is shown."""
    records, logger = Records(), logging.getLogger("fal_realtime")
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        with Peer(script) as peer:
            connection = peer.client().connect(APP, reconnect=None)
            connection.send_nowait({})
            with pytest.raises(FalRealtimeError) as raised:
                await result_of(connection.recv())
            [session] = peer.sessions
            assert KEY not in str(session.headers)
            await connection.aclose()
        errors = [raised.value, connection.last_error]
        shown = " ".join(f"{error} {error!r} {vars(error or ConnectionClosedError('', 0))}" for error in errors)
        return raised.value, f"{shown} {connection.close_reason} {list(records.log)}"
    finally:
        logger.removeHandler(records)
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("key", KEYS, ids=["plain", "secret", "base64", "percent"])
async def test_a_key_that_was_not_sent_is_not_repeated_after_a_server_that_knows_it(key):
    def refuse(session: Session) -> None:
        fields = {"location": f"/?key={key}", "www-authenticate": f"Key {key}", "x-fal-request-id": f"r {key}"}
        session.refuse(404, f"no entry for {key} here", fields)

    def report(session: Session) -> None:
        session.recv()
        session.send_json(type="x-fal-error", error="E", reason=f"no entry for {key} here", key=key)
        session.wait_closed()

    def close(session: Session) -> None:
        session.recv()
        session.close(1011, f"no entry for {key} here")

    for script, kind in ((refuse, HandshakeError), (report, RealtimeError), (close, ConnectionClosedError)):
        error, shown = await told_by(script)
        assert isinstance(error, kind)
        assert "no entry for ***" in shown
        for secret in KEYS:
            assert secret not in shown
