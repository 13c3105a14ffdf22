"""Right uses of the package: mypy and pyright, both strict, have nothing to say about them (`test_typing.py`)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypedDict, TypeVar

import msgspec
import pydantic
from typing_extensions import assert_type

from fal_realtime import (
    ConnectHandler,
    ConnectionState,
    EncodedResult,
    ErrorCallback,
    RawConnection,
    RealtimeClient,
    RealtimeConnection,
    ReconnectPolicy,
    ResultCallback,
    Stats,
    SyncRawConnection,
    SyncRealtimeClient,
    SyncRealtimeConnection,
    Validator,
    batch,
    create_realtime_client,
    ws_run,
)
from fal_realtime.pool import Outcome, PoolStats
from fal_realtime.testing import LocalServer

T = TypeVar("T")


class Model(pydantic.BaseModel):
    text: str


class Struct(msgspec.Struct):
    text: str


class Box(msgspec.Struct, Generic[T]):
    content: T


@dataclass
class Data:
    text: str


class Prompt(TypedDict):
    prompt: str


async def provide(app: str) -> str:
    return app


def show(result: Any) -> None:
    print(result)


def show_data(result: Data) -> None:
    print(result.text)


async def log(error: Exception) -> None:
    print(error)


# --- without types: what there always was ---


async def untyped(client: RealtimeClient) -> None:
    connection = client.connect(
        "fal-ai/app",
        on_result=show,
        on_error=log,
        throttle_interval=timedelta(milliseconds=64),
        token_provider=provide,
        reconnect=ReconnectPolicy(max_attempts=3),
    )
    assert_type(connection, RealtimeConnection[Any, Any])
    opened: RealtimeConnection = await connection
    receiving: asyncio.Task[Any] = asyncio.create_task(opened.recv())
    sending: asyncio.Task[None] = asyncio.create_task(opened.send({"prompt": "a cat"}))
    async with asyncio.timeout(1):
        await asyncio.gather(receiving, sending, opened.drain())
    answer: Any = await asyncio.wait_for(opened.request({"prompt": "a dog"}, timeout=60), 6)
    async with client.connect("fal-ai/app", on_state_change=print) as entered:
        async for result in entered:
            print(result, answer)
    state: ConnectionState = entered.state
    stats: Stats = entered.stats()
    print(state, stats["coalesced"])


def blocking() -> None:
    with SyncRealtimeClient().connect("fal-ai/app") as connection:
        assert_type(connection, SyncRealtimeConnection[Any, Any])
        connection.send({"prompt": "a cat"}, timeout=1)
        for result in connection:
            print(result, connection.recv(timeout=1))


def served() -> None:
    with LocalServer(tls=True) as server:

        @server.app("me/upper")
        async def upper(inputs: dict[str, Any]) -> dict[str, Any]:
            return inputs

        print(upper)
        asyncio.run(untyped(server.client()))


def with_a_handler(client: RealtimeClient) -> None:
    handler: ConnectHandler = {"onResult": show, "throttleInterval": 64, "open_timeout": 5}
    assert_type(client.connect("fal-ai/app", handler), RealtimeConnection[Any, Any])
    client.connect("fal-ai/app", {"onError": log, "maxBuffering": 2}, path="/other")
    taken: ResultCallback = show
    failed: ErrorCallback = log
    client.connect("fal-ai/app", on_result=taken, on_error=failed)


# --- with types ---


async def typed(client: RealtimeClient) -> None:
    async with client.connect("fal-ai/app", result_type=Model) as of_models:
        assert_type(of_models, RealtimeConnection[Any, Model])
        assert_type(await of_models.recv(timeout=1), Model)
        assert_type(await of_models.latest(), Model)
        assert_type(await of_models.request({"prompt": "a cat"}), Model)
        async for result in of_models:
            assert_type(result, Model)
            print(result.text)
    assert_type(client.connect("fal-ai/app", result_type=Struct), RealtimeConnection[Any, Struct])
    assert_type(client.connect("fal-ai/app", result_type=Box[int]), RealtimeConnection[Any, Box[int]])
    assert_type(client.connect("fal-ai/app", result_type=Prompt), RealtimeConnection[Any, Prompt])
    connection = client.connect("fal-ai/app", result_type=Data, input_type=Prompt, on_result=show_data)
    assert_type(connection, RealtimeConnection[Prompt, Data])
    await connection.send({"prompt": "a cat"})
    connection.send_nowait({"prompt": "a cat"})
    assert_type(client.connect("fal-ai/app", input_type=Data), RealtimeConnection[Data, Any])


async def typed_by_a_union(client: RealtimeClient, adapter: pydantic.TypeAdapter[Model | Data]) -> None:
    connection = client.connect("fal-ai/app", result_type=adapter)
    assert_type(await connection.recv(), Model | Data)


async def typed_by_hooks(client: RealtimeClient) -> None:
    async def greet(connection: RealtimeConnection[Data, Struct]) -> None:
        await connection.send(Data("hello"))
        connection.set_callbacks(on_result=None, on_error=log, on_timings=None, on_state_change=None)

    connection = client.connect("fal-ai/app", result_type=Struct, input_type=Data, on_open=greet)
    assert_type(connection, RealtimeConnection[Data, Struct])


def annotated_with_less(connection: RealtimeConnection[Data, Struct]) -> None:
    anything: RealtimeConnection = connection
    any_result: RealtimeConnection[Data] = connection
    wider: RealtimeConnection[Data, object] = connection
    print(anything, any_result, wider)


async def decoded(client: RealtimeClient) -> None:
    def to_data(message: bytes | str) -> Data:
        return Data(**json.loads(message))

    async def to_struct(message: bytes | str) -> Struct:
        return Struct(**json.loads(message))

    assert_type(await client.connect("a/b", decode_message=to_data).recv(), Data)
    assert_type(await client.connect("a/b", decode_message=to_struct).recv(), Struct)
    decoder = msgspec.msgpack.Decoder(list[int])
    assert_type(await client.connect("a/b", decode_message=decoder.decode).recv(), list[int])
    undecoded = client.connect("a/b", decode=False, input_type=Data)
    assert_type(undecoded, RealtimeConnection[Data, EncodedResult])
    print((await undecoded.recv()).payload)


def blocking_typed(client: SyncRealtimeClient, validator: Validator[Data]) -> None:
    with client.connect("a/b", result_type=Data, input_type=Prompt) as connection:
        assert_type(connection, SyncRealtimeConnection[Prompt, Data])
        connection.send({"prompt": "a cat"})
        assert_type(connection.recv(timeout=1), Data)
        assert_type(connection.request({"prompt": "a cat"}, 1), Data)
        for result in connection:
            assert_type(result, Data)
    assert_type(client.connect("a/b", result_type=validator).recv(), Data)
    assert_type(client.connect("a/b", decode=False).recv(), EncodedResult)
    assert_type(client.connect("a/b", decode_message=bytes.decode).recv(), str)


# --- raw ---


async def raw(client: RealtimeClient, sync_client: SyncRealtimeClient) -> None:
    connection = client.connect("a/b", raw=True, on_error=log)
    assert_type(connection, RawConnection)
    async with connection:
        await connection.send("text")
        async for message in connection:
            assert_type(message, bytes | str)
    assert_type(client.connect_raw("wss://example.org"), RawConnection)
    assert_type(sync_client.connect("a/b", raw=True), SyncRawConnection)
    with sync_client.connect_raw("wss://example.org") as blocking_raw:
        assert_type(blocking_raw, SyncRawConnection)
        blocking_raw.send(b"binary", timeout=1)
        assert_type(blocking_raw.recv(), bytes | str)
    general: RealtimeConnection[bytes, bytes | str] = connection
    print(general)
    async with ws_run.connect(client, "a/b") as endpoint:
        assert_type(endpoint, ws_run.Endpoint)


# --- pools and batches ---


async def many(client: RealtimeClient, sync_client: SyncRealtimeClient) -> None:
    async with client.pool("a/b", size=4, max_age=600, use_jwt=False, result_type=Model) as pool:
        async for outcome in pool.map([{"seed": 1}], ordered=False):
            assert_type(outcome, Outcome)
            assert_type(outcome.error, Exception | None)
            print(outcome.unwrap())
        assert_type(pool.stats(), PoolStats)
        assert_type(pool.stats()["messages"], Stats)
        print(await pool.request({"seed": 2}, timeout=60))
    with sync_client.pool("a/b", size=4) as blocking:
        for outcome in blocking.map({"seed": seed} for seed in range(9)):
            print(outcome.index, blocking.request({"seed": 1}, timeout=60))
    summary = await batch.run("a/b", [{"seed": 1}], journal="a.journal", key=lambda given: int(given["seed"]))
    assert_type(summary, batch.Summary)
    assert_type([record.id for record in batch.results("a.journal")], list[int | str])


if __name__ == "__main__":
    asyncio.run(untyped(create_realtime_client({"credentials": "id:secret"})))
