"""Mistakes that users make: mypy and pyright, both strict, report each marked line and no other (`test_typing.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import msgspec
import pydantic

from fal_realtime import (
    ConnectHandler,
    NoopConnection,
    RealtimeClient,
    RealtimeConnection,
    ReconnectPolicy,
    SyncRealtimeClient,
    SyncRealtimeConnection,
)


class Model(pydantic.BaseModel):
    text: str


class Struct(msgspec.Struct):
    text: str


@dataclass
class Data:
    text: str


class Prompt(TypedDict):
    prompt: str


def show_model(result: Model) -> None:
    print(result.text)


async def encode_later(message: object) -> bytes:
    return str(message).encode()


async def provide_later(app: str) -> str:
    return app


def options(client: RealtimeClient, blocking: SyncRealtimeClient) -> None:
    client.connect("a/b", onResult=print)  # MISTAKE: a name of the TypeScript client as a keyword
    client.connect("a/b", max_buffering="5")  # MISTAKE: a number as a str
    client.connect("a/b", throttle_interval="128ms")  # MISTAKE: an interval as a str
    client.connect("a/b", busy_timeout="never")  # MISTAKE: a word that it does not know
    client.connect("a/b", reconnect=False)  # MISTAKE: None is "never"
    client.connect("a/b", headers=[("a", "b")])  # MISTAKE: pairs instead of a mapping
    client.connect("a/b", on_error=lambda: None)  # MISTAKE: a callback that takes nothing
    client.connect(b"a/b")  # MISTAKE: the app as bytes
    client.connect()  # MISTAKE: no app
    client.connect("a/b", token_provider="the token itself")  # MISTAKE: a token instead of its provider
    RealtimeClient(side="browser")  # MISTAKE: a side that there is not
    RealtimeClient(credential="id:secret")  # MISTAKE: a misspelt option of the client
    client.with_options(proxi="http://host")  # MISTAKE: a misspelt option of the client
    ReconnectPolicy(max_attempts="3")  # MISTAKE: a number as a str
    blocking.connect("a/b", encode_message=encode_later)  # MISTAKE: the blocking client awaits nothing
    blocking.connect("a/b", token_provider=provide_later)  # MISTAKE: likewise


def handlers(client: RealtimeClient) -> None:
    client.connect("a/b", {"onResults": print})  # MISTAKE: a misspelt option of the handler
    client.connect("a/b", {"maxBuffering": "2"})  # MISTAKE: a number as a str
    handler: ConnectHandler = {"openTimeout": 5}  # MISTAKE: no name of the TypeScript client
    print(handler["onStart"])  # MISTAKE: an option that there is not


def contradictions(client: RealtimeClient) -> None:
    client.connect("a/b", raw=True, result_type=Model)  # MISTAKE: raw messages are of no type
    client.connect("a/b", raw=True, streaming=True)  # MISTAKE: raw messages have no meaning here
    client.connect("a/b", decode=False, result_type=Model)  # MISTAKE: results as they came are of no type
    client.connect("a/b", result_type=Model, decode_message=bytes.decode)  # MISTAKE: two types of one result


async def results(client: RealtimeClient) -> None:
    connection = client.connect("a/b", result_type=Model)
    print((await connection.recv()).txt)  # MISTAKE: a misspelt field
    print((await connection.request({}))["text"])  # MISTAKE: a model is no dict
    print(connection.recv().text)  # MISTAKE: not awaited
    async for result in connection:
        print(result + 1)  # MISTAKE: a model is no number
    print(list(connection))  # MISTAKE: not asynchronous
    other: RealtimeConnection[Prompt, Struct] = connection  # MISTAKE: results of another type
    print(other)
    client.connect("a/b", result_type=Struct, on_result=show_model)  # MISTAKE: a callback for another type
    client.connect("a/b", result_type=Model(text="a"))  # MISTAKE: an object instead of its type
    client.connect("a/b", result_type="Model")  # MISTAKE: a name instead of the type


async def inputs(client: RealtimeClient, blocking: SyncRealtimeConnection[Data, Model]) -> None:
    connection = client.connect("a/b", input_type=Prompt)
    await connection.send({"promt": "a cat"})  # MISTAKE: a misspelt field
    connection.send_nowait({"prompt": 7})  # MISTAKE: a field of another type
    await connection.request("a cat")  # MISTAKE: a str is no mapping
    blocking.send({"text": "a cat"})  # MISTAKE: a dict is no dataclass
    blocking.send(Data("a cat"), 1, 2)  # MISTAKE: one argument too many


async def raw(client: RealtimeClient, blocking: SyncRealtimeClient) -> None:
    connection = client.connect("a/b", raw=True)
    await connection.send({"prompt": "a cat"})  # MISTAKE: raw messages are bytes or str
    print((await connection.recv())["text"])  # MISTAKE: likewise
    blocking.connect_raw("wss://example.org").send(7)  # MISTAKE: likewise
    client.connect_raw("wss://example.org", use_jwt=False)  # MISTAKE: there is no token


async def what_is_there(client: RealtimeClient, idle: NoopConnection) -> None:
    connection = client.connect("a/b")
    print(connection.state == "open")  # MISTAKE: a state that there is not
    print(connection.stats()["sent"])  # MISTAKE: a count that there is not
    connection.finish(5)  # MISTAKE: not awaited
    connection.set_callbacks(on_result=None)  # MISTAKE: all four are replaced
    await idle.recv(5)  # MISTAKE: the timeout is a keyword


async def many(client: RealtimeClient) -> None:
    client.pool("a/b", size=1, maxAge=1)  # MISTAKE: an option that there is not
    client.pool("a/b")  # MISTAKE: how many
    async with client.pool("a/b", size=1) as pool:
        print(pool.stats()["sent"])  # MISTAKE: a count that there is not
        pool.request({"prompt": "a cat"}, 5)  # MISTAKE: the timeout is a keyword, and it is not awaited
