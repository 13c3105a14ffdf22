"""Against the real server side of fal, served on loopback (see `fal_app.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from fal_realtime import (
    AuthenticationError,
    ConnectionClosedError,
    ConnectionLostError,
    RealtimeClient,
    RealtimeConnection,
    RealtimeError,
    SyncRealtimeClient,
)

APP = "local/interop"
IDLE_AFTER = 0.5  # as in `fal_app.py`, which only its own process imports
PATIENCE = 60.0
"""Seconds; far more than anything here takes."""

T = TypeVar("T")
Connect = Callable[..., RealtimeConnection]


async def soon(awaitable: Awaitable[T]) -> T:
    """What is awaited must come; if not, the test fails instead of hanging."""
    return await asyncio.wait_for(awaitable, PATIENCE)


async def receive(connection: RealtimeConnection, count: int) -> list[Any]:
    return [await soon(connection.recv()) for _ in range(count)]


async def results_of(connection: RealtimeConnection) -> list[Any]:
    """All results up to the end of the iteration."""

    async def collect() -> list[Any]:
        return [result async for result in connection]

    return await soon(collect())


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what it looks at has no event
            await asyncio.sleep(0.005)

    await soon(poll())


@pytest.fixture
def connect(fal_server_url: str) -> Connect:
    """Make a connection to a route; the raw server looks at no credentials, so the key is made up."""
    client = RealtimeClient("key-id:key-secret", base_url=fal_server_url, trust_env=False)

    def connect(path: str, **options: Any) -> RealtimeConnection:
        authentication = {} if "token_provider" in options else {"use_jwt": False}
        return client.connect(APP, path=path, **{"throttle_interval": 0, **authentication, **options})

    return connect


class Held:
    """A handler of the app that is kept busy, so that what is sent to it piles up at the server."""

    def __init__(self, control: RealtimeConnection) -> None:
        self._control = control
        self.name = uuid4().hex

    async def reached(self) -> None:
        await soon(self._control.request({"gate": self.name, "open": False}))

    async def release(self) -> None:
        await soon(self._control.request({"gate": self.name, "open": True}))


# --- unary ---


async def test_a_unary_route_answers_each_input_in_order(connect: Connect) -> None:
    async with connect("/realtime") as connection:
        for n in range(20):
            await connection.send({"n": n})
        assert [result["echo"]["n"] for result in await receive(connection, 20)] == list(range(20))


async def test_a_frame_of_image_bytes_comes_back_unchanged(connect: Connect) -> None:
    content = os.urandom(60_000)
    frame = {"images": [{"content": content, "content_type": "image/jpeg", "width": 512}], "seed": 2**64 - 1}
    async with connect("/realtime") as connection:
        await connection.send(frame)
        assert (await receive(connection, 1)) == [{"echo": frame}]


async def test_the_path_defaults_to_realtime_and_the_token_provider_is_asked_for_it_once(
    fal_server_url: str,
) -> None:
    asked: list[str] = []

    async def provide(app: str) -> str:
        asked.append(app)
        return "a-token"

    client = RealtimeClient(base_url=fal_server_url, trust_env=False)
    async with client.connect(APP, token_provider=provide, throttle_interval=0) as connection:
        await connection.send("text is msgpack too")
        assert await receive(connection, 1) == [{"echo": "text is msgpack too"}]
    assert asked == ["local/interop/realtime"]


async def test_a_handler_that_is_a_plain_function_runs_in_a_thread_and_answers(connect: Connect) -> None:
    async with connect("/threaded") as connection:
        await connection.send([1, 2.5, None, True, b"\x00"])
        assert await receive(connection, 1) == [{"echo": [1, 2.5, None, True, b"\x00"], "in_main_thread": False}]


def test_the_blocking_client_talks_to_the_real_server(fal_server_url: str) -> None:
    client = SyncRealtimeClient("key-id:key-secret", base_url=fal_server_url, trust_env=False)
    with client.connect(APP, use_jwt=False, throttle_interval=0) as connection:
        connection.send({"n": 1}, timeout=PATIENCE)
        assert connection.recv(timeout=PATIENCE) == {"echo": {"n": 1}}


# --- a busy handler ---


async def test_a_session_whose_handler_is_busy_goes_on_though_uvicorn_answers_no_ping(connect: Connect) -> None:
    """With one input unread uvicorn stops reading, pings too. That the second session is lost shows that it does."""
    patience = {"ping_interval": 0.1, "ping_timeout": 0.1, "streaming": True}
    no_patience = {"ping_interval": 0.6, "ping_timeout": 0.6, "streaming": True, "busy_timeout": 0}
    async with connect("/control") as control, connect("/busy", **patience) as connection:
        handler, other_handler = Held(control), Held(control)
        cut = connect("/busy", reconnect=None, **no_patience)
        for each, held in ((connection, handler), (cut, other_handler)):
            await each.send({"n": 0, "hold": held.name})
            await held.reached()
            for n in range(1, 5):
                await each.send({"n": n})
        with pytest.raises(ConnectionClosedError, match="did not answer a ping in time"):
            await soon(cut.recv())
        assert connection.state == "active"
        await handler.release()
        assert [result["n"] for result in await receive(connection, 5)] == list(range(5))
        assert connection.stats()["reconnects"] == 0
        await other_handler.release()


# --- buffering and batching ---


async def test_a_server_buffer_of_two_keeps_the_newest_two_of_eight(connect: Connect) -> None:
    async with connect("/buffered") as connection, connect("/control") as control:
        handler = Held(control)
        await connection.send({"n": 0, "hold": handler.name})
        await handler.reached()
        for n in range(1, 9):
            await connection.send({"n": n})
        await soon(connection.drain())
        await handler.release()
        assert [result["n"] for result in await receive(connection, 3)] == [0, 7, 8]

        # Nothing else comes: the answer to a later input is the next result.
        await connection.send({"n": 9})
        assert await receive(connection, 1) == [{"n": 9}]
        assert connection.stats()["received"] == 4


async def test_ten_waiting_inputs_are_answered_in_batches_of_four_four_and_two(connect: Connect) -> None:
    async with connect("/batched") as connection, connect("/control") as control:
        handler = Held(control)
        await connection.send({"n": 0, "hold": handler.name})
        await handler.reached()
        for n in range(1, 11):
            await connection.send({"n": n})
        await soon(connection.drain())
        await handler.release()
        batches = [result["batch"] for result in await receive(connection, 4)]
        assert batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_results_that_the_server_sends_out_of_order_reach_their_own_requests(connect: Connect) -> None:
    async with connect("/disordered") as connection, connect("/control") as control:
        handler = Held(control)
        arrived: list[int] = []

        async def ask(n: int) -> tuple[int, int]:
            message = {"n": n, "hold": handler.name} if n == 0 else {"n": n}
            answer = await connection.request(message, timeout=PATIENCE)
            arrived.append(answer["n"])
            return n, answer["n"]

        first = asyncio.create_task(ask(0))
        await handler.reached()
        others = [asyncio.create_task(ask(n)) for n in range(1, 8)]
        await until(lambda: connection.stats()["written"] == 8)
        await handler.release()
        pairs = await soon(asyncio.gather(first, *others))
    assert arrived != sorted(arrived), "the server was to send them out of order"
    assert pairs == [(n, n) for n in range(8)]


# --- streaming ---


async def test_a_server_stream_ends_the_iteration_and_the_next_input_begins_another(connect: Connect) -> None:
    async with connect("/server-stream", streaming=True) as connection:
        for prompt in ("a cat", "a dog"):
            await connection.send({"prompt": prompt, "count": 5})
            assert await results_of(connection) == [{"n": n, "prompt": prompt} for n in range(5)]
        await until(lambda: connection.state == "idle")


async def test_a_client_stream_gives_one_result_and_ends_the_iteration(connect: Connect) -> None:
    chunks = [bytes([n]) * 3840 for n in range(6)]
    async with connect("/client-stream", streaming=True) as connection:
        for chunk in chunks:
            await connection.send({"audio": chunk})
        assert await results_of(connection) == [{"audio": b"".join(chunks), "chunks": 6}]


async def test_a_bidi_stream_answers_along_the_way_and_ends_the_iteration(connect: Connect) -> None:
    async with connect("/bidi", streaming=True) as connection:
        for n in (1, 2):
            await connection.send({"n": n})
        totals = [result["total"] for result in await receive(connection, 2)]
        await connection.send({"n": 3})
        totals += [result["total"] for result in await results_of(connection)]
        assert totals == [1, 3, 6]


@pytest.mark.parametrize("path", ["/bidi", "/client-stream"])
async def test_none_ends_the_inputs_and_with_them_the_stream(connect: Connect, path: str) -> None:
    async with connect(path, streaming=True) as connection:
        if path == "/bidi":
            await connection.send({"n": 1})
            assert await receive(connection, 1) == [{"total": 1}]
        else:
            await connection.send({"audio": b"ab"})
        await connection.send(None)
        assert await results_of(connection) == ([] if path == "/bidi" else [{"audio": b"ab", "chunks": 1}])
        assert connection.stats()["unanswered"] == 0


async def test_json_null_ends_the_inputs_of_a_route_with_json_and_asks_for_nothing(connect: Connect) -> None:
    def encode(message: Any) -> bytes:
        return json.dumps(message).encode()

    options = {"encode_message": encode, "decode_message": json.loads}
    async with connect("/json-stream", streaming=True, **options) as connection:
        await connection.send({"n": 1})
        assert await receive(connection, 1) == [{"echo": {"n": 1}}]
        await connection.send(None)
        assert await results_of(connection) == []
        assert connection.stats()["unanswered"] == 0


async def test_without_streaming_the_end_of_a_servers_stream_leaves_the_iteration_waiting(connect: Connect) -> None:
    async with connect("/server-stream") as connection:
        await connection.send({"prompt": "", "count": 1})
        await receive(connection, 1)
        await until(lambda: connection.state == "idle")
        waiting = asyncio.ensure_future(connection.recv())
        await connection.send({"prompt": "", "count": 1})
        assert await soon(waiting) == {"n": 0, "prompt": ""}


# --- codecs ---


async def test_a_route_with_json_in_binary_frames_works_with_custom_codecs(connect: Connect) -> None:
    def encode(message: Any) -> bytes:
        return json.dumps(message).encode()

    async with connect("/json", encode_message=encode, decode_message=json.loads) as connection:
        await connection.send({"prompt": "ein Käfer"})
        assert await receive(connection, 1) == [{"echo": {"prompt": "ein Käfer"}, "request_id": None}]

        answer = await soon(connection.request({"n": 1}))
        assert answer["echo"] == {"n": 1, "request_id": answer["request_id"]}


async def test_a_route_with_json_in_binary_frames_works_with_async_codecs(connect: Connect) -> None:
    async def encode(message: Any) -> bytes:
        await asyncio.sleep(0)
        return json.dumps(message).encode()

    async def decode(message: bytes | str) -> Any:
        await asyncio.sleep(0)
        return json.loads(message)

    async with connect("/json", encode_message=encode, decode_message=decode) as connection:
        for n in range(5):
            await connection.send({"n": n})
        assert [result["echo"]["n"] for result in await receive(connection, 5)] == list(range(5))


async def test_a_text_frame_is_reported_as_the_internal_error_that_the_server_makes_of_it(connect: Connect) -> None:
    errors: list[Exception] = []
    async with connect("/realtime", encode_message=json.dumps, on_error=errors.append) as connection:
        await connection.send({"prompt": "a cat"})
        await until(lambda: connection.state == "idle")
    assert [(type(error), getattr(error, "error", None)) for error in errors] == [(RealtimeError, "INTERNAL_ERROR")]


# --- sessions that end ---


async def test_an_idle_session_goes_to_idle_and_the_next_send_opens_another(connect: Connect) -> None:
    states: list[str] = []
    errors: list[Exception] = []
    async with connect("/idle", on_state_change=states.append, on_error=errors.append) as connection:
        for n in range(2):
            await connection.send({"n": n})
            assert await receive(connection, 1) == [{"echo": n, "request_id": None}]
            await until(lambda: connection.state == "idle")
        stats = connection.stats()
        await until(lambda: states.count("idle") == 2)
    assert states[:6] == ["connecting", "active", "idle", "connecting", "active", "idle"]
    assert errors == []
    assert (stats["reconnects"], stats["written"], stats["failed"]) == (1, 2, 0)


async def test_requests_around_the_servers_close_are_answered_or_raise_and_none_hangs(connect: Connect) -> None:
    async def ask_around_the_close(offset: float) -> str:
        async with connect("/idle") as connection:
            await soon(connection.request({"n": 1}))
            await asyncio.sleep(IDLE_AFTER + offset)
            try:
                answer = await soon(connection.request({"n": 2}))
            except ConnectionClosedError:
                # Written when the server had already given up: whether it was processed cannot be known.
                outcome = "raised"
            else:
                assert answer["echo"] == 2
                outcome = "answered"
            # Either way a later one is answered, by another session if need be. Where the machine is busy the server
            # may give up that one, too, before it has come to the request.
            while True:
                with contextlib.suppress(ConnectionLostError):
                    assert (await soon(connection.request({"n": 3})))["echo"] == 3
                    return outcome

    offsets = [n / 1000 for n in range(-8, 8)]
    outcomes = await soon(asyncio.gather(*map(ask_around_the_close, [-IDLE_AFTER, *offsets, IDLE_AFTER])))
    assert (outcomes[0], outcomes[-1]) == ("answered", "answered")


async def test_an_app_that_raises_is_an_internal_error_with_its_reason_and_the_connection_stays_usable(
    connect: Connect,
) -> None:
    async with connect("/raising") as connection:
        await connection.send({"raise": "no such model"})
        with pytest.raises(RealtimeError) as caught:
            await receive(connection, 1)
        assert (caught.value.error, caught.value.reason) == ("INTERNAL_ERROR", "no such model")
        assert caught.value.payload["type"] == "x-fal-error"

        await connection.send({"n": 1})
        assert await receive(connection, 1) == [{"echo": {"n": 1}, "request_id": None}]


async def test_a_request_to_an_app_that_raises_raises_its_reason(connect: Connect) -> None:
    async with connect("/raising") as connection:
        with pytest.raises(RealtimeError, match="INTERNAL_ERROR: out of memory"):
            await soon(connection.request({"raise": "out of memory"}))
        assert (await soon(connection.request({"n": 1})))["echo"]["n"] == 1


async def test_input_that_fails_validation_is_an_internal_error_that_names_the_field(connect: Connect) -> None:
    async with connect("/validated") as connection:
        await connection.send({"prompt": "a cat", "num_inference_steps": 50})
        with pytest.raises(RealtimeError) as caught:
            await receive(connection, 1)
        assert caught.value.error == "INTERNAL_ERROR"
        assert "num_inference_steps" in caught.value.reason

        await connection.send({"prompt": "a cat", "num_inference_steps": 3})
        assert await receive(connection, 1) == [{"steps": 3}]


async def test_an_unknown_route_is_refused_at_once_since_the_server_answers_403(connect: Connect) -> None:
    with pytest.raises(AuthenticationError, match="403"):
        await soon(connect("/no-such-route"))


# --- timings ---


async def test_the_timings_of_each_unary_result_reach_on_timings(connect: Connect) -> None:
    timings: list[float] = []
    async with connect("/timed", on_timings=timings.append) as connection:
        for takes in (0.05, 0.0):
            await connection.send({"takes": takes})
            assert await receive(connection, 1) == [{"echo": {"takes": takes}}]
        await until(lambda: len(timings) == 2)
    assert 0.049 <= timings[0] < PATIENCE
    assert 0 <= timings[1] < PATIENCE


async def test_the_timings_of_a_stream_come_once_and_are_no_result(connect: Connect) -> None:
    timings: list[float] = []
    async with connect("/timed-stream", streaming=True, on_timings=timings.append) as connection:
        await connection.send({"count": 3, "takes": 0.01})
        assert await results_of(connection) == [{"n": 0}, {"n": 1}, {"n": 2}]
        await until(lambda: len(timings) == 1)
    assert 0.029 <= timings[0] < PATIENCE
