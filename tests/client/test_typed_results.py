"""`result_type`: results as objects of the caller's types, checked where they are taken."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar

import msgpack
import msgspec
import pydantic
import pytest
import typing_extensions
from support import LIMIT, Log, Peer, Session, gather, result_of

from fal_realtime import DecodeError, RealtimeClient, RealtimeError, SyncRealtimeClient
from fal_realtime._codec import AsyncEncodedConnection
from fal_realtime.testing import LocalServer

APP = "fal-ai/fast-lcm-diffusion"
T = TypeVar("T")


class ImageModel(pydantic.BaseModel):
    content: bytes
    width: int
    kind: Literal["jpeg", "png"] = "jpeg"


class ResultModel(pydantic.BaseModel):
    images: list[ImageModel]
    seed: int | None = None


class ImageStruct(msgspec.Struct):
    content: bytes
    width: int
    kind: Literal["jpeg", "png"] = "jpeg"


class ResultStruct(msgspec.Struct):
    images: list[ImageStruct]
    seed: int | None = None


@dataclass
class ImageData:
    content: bytes
    width: int
    kind: Literal["jpeg", "png"] = "jpeg"


@dataclass
class ResultData:
    images: list[ImageData]
    seed: int | None = None
    timings: dict[str, float] = field(default_factory=dict)


class ImageDict(TypedDict):
    content: bytes
    width: int


class ResultDict(TypedDict, total=False):
    images: list[ImageDict]
    seed: int | None


class OtherImageDict(typing_extensions.TypedDict):
    content: bytes
    width: int


class OtherResultDict(typing_extensions.TypedDict):
    images: list[OtherImageDict]
    seed: typing_extensions.NotRequired[int]


@pydantic.dataclasses.dataclass
class PydanticImage:
    content: bytes
    width: int


@pydantic.dataclasses.dataclass
class PydanticData:
    images: list[PydanticImage]
    seed: int | None = None


class BoxStruct(msgspec.Struct, Generic[T]):
    images: list[T]
    seed: int | None = None


class BoxModel(pydantic.BaseModel, Generic[T]):
    images: list[T]
    seed: int | None = None


RESULT = {
    "images": [{"content": b"\xff\xd8\x00", "width": 512, "content_type": "image/jpeg"}],
    "seed": 7,
    "timings": {"inference": 0.5},
    "num_inference_steps": 3,
    "request_id": "",
}
"""As a real app answers, with fields that the types do not have."""

KINDS = {
    "pydantic model": ResultModel,
    "generic pydantic model": BoxModel[ImageModel],
    "pydantic dataclass": PydanticData,
    "Struct": ResultStruct,
    "generic Struct": BoxStruct[ImageStruct],
    "dataclass": ResultData,
    "TypedDict": ResultDict,
    "TypedDict of typing_extensions": OtherResultDict,
    "TypeAdapter": pydantic.TypeAdapter(ResultModel | list[int]),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def sends(*messages: Any):
    def script(session: Session) -> None:
        session.recv()
        for message in messages:
            if isinstance(message, str):
                session.send_raw(message)
            else:
                session.send(message)
        session.wait_closed()

    return script


def of(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


def check(result: Any, kind: Any) -> None:
    """It is an object of the type, down to its parts."""
    if isinstance(kind, type) and not issubclass(kind, dict):
        assert isinstance(result, kind)
    [image] = of(result, "images")
    assert of(image, "content") == b"\xff\xd8\x00"
    assert of(image, "width") == 512
    assert of(result, "seed") == 7
    assert type(image).__name__.startswith("Image" if not isinstance(image, dict) else "dict") or kind is PydanticData


# --- what is taken is of the type ---


@kinds
async def test_recv_iteration_latest_and_request_give_objects_of_the_type(kind):
    def script(session: Session) -> None:
        session.recv()
        for _ in range(3):
            session.send(RESULT)
        message = session.recv()
        session.send({**RESULT, "request_id": message["request_id"]})
        session.wait_closed()

    with Peer(script) as peer:
        async with peer.client().connect(APP, result_type=kind) as connection:
            await connection.send({})
            check(await connection.recv(timeout=LIMIT), kind)
            async for result in connection:
                check(result, kind)
                break
            check(await connection.latest(timeout=LIMIT), kind)
            check(await connection.request({}, timeout=LIMIT), kind)
            assert connection.stats()["delivered"] == 4


@kinds
def test_so_do_those_of_the_blocking_client(kind):
    def script(session: Session) -> None:
        session.recv()
        for _ in range(3):
            session.send(RESULT)
        message = session.recv()
        session.send({**RESULT, "request_id": message["request_id"]})
        session.wait_closed()

    with Peer(script) as peer, peer.sync_client().connect(APP, result_type=kind) as connection:
        connection.send({})
        check(connection.recv(timeout=LIMIT), kind)
        check(next(connection), kind)
        check(connection.latest(timeout=LIMIT), kind)
        check(connection.request({}, timeout=LIMIT), kind)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_on_result_gets_objects_and_on_error_what_does_not_fit(is_async):
    results, errors = Log(), Log()

    async def show(result):
        await asyncio.sleep(0)
        results(result)

    with Peer(sends(RESULT, {"images": 3}, RESULT)) as peer:
        options = {"on_result": show if is_async else results, "on_error": errors, "result_type": ResultData}
        async with peer.client().connect(APP, **options) as connection:
            await connection.send({})
            for result in await results.has(2):
                check(result, ResultData)
            [error] = await errors.has(1)
            assert (type(error), error.path, error.result) == (DecodeError, "images", {"images": 3})


def test_the_callbacks_of_the_blocking_client_do_too():
    results, errors = [], []
    with Peer(sends({"images": 3}, RESULT)) as peer:
        options = {"on_result": results.append, "on_error": errors.append, "result_type": ResultModel}
        with peer.sync_client().connect(APP, **options) as connection:
            connection.send({})
            peer.wait(lambda: connection.stats()["received"] == 2)
    [result], [error] = results, errors
    check(result, ResultModel)
    assert error.path == "images"


async def test_requests_are_matched_by_their_ids_and_each_gets_its_own():
    class Echo(msgspec.Struct):
        number: int
        request_id: str

    def script(session: Session) -> None:
        messages = [session.recv() for _ in range(20)]
        for message in reversed(messages):
            session.send(message)
        session.wait_closed()

    with Peer(script) as peer:
        async with peer.client().connect(APP, result_type=Echo) as connection:
            answers = await gather(*(connection.request({"number": n}, timeout=LIMIT) for n in range(20)))
            assert [answer.number for answer in answers] == list(range(20))
            assert len({answer.request_id for answer in answers}) == 20


async def test_a_text_result_is_converted_as_a_binary_one():
    class Said(msgspec.Struct):
        text: str

    with Peer(sends('{"text": "grüße", "more": 1}')) as peer:
        async with peer.client().connect(APP, result_type=Said) as connection:
            await connection.send({})
            assert await result_of(connection.recv()) == Said("grüße")


async def test_an_asynchronous_encoder_does_not_keep_results_from_their_type():
    async def encode(message):
        return msgpack.packb(message)

    with Peer(sends(RESULT)) as peer:
        async with peer.client().connect(APP, encode_message=encode, result_type=ResultData) as connection:
            assert isinstance(connection, AsyncEncodedConnection)
            await connection.send({})
            check(await result_of(connection.recv()), ResultData)


async def test_a_pool_gives_objects_of_the_type_too():
    with LocalServer() as server:
        async with server.client().pool(
            "local/echo", size=2, result_type=ResultStruct, input_type=ResultStruct
        ) as pool:
            assert await pool.request(ResultStruct([], 1), timeout=LIMIT) == ResultStruct([], 1)
            inputs = [ResultStruct([], 2), ResultStruct([], "three")]
            first, second = [outcome async for outcome in pool.map(inputs, timeout=LIMIT)]
            assert first.result == ResultStruct([], 2)
            assert str(second.error) == "input.seed: expected `int | null`, got `str` ('three')"


async def test_control_messages_and_errors_are_what_they_always_are():
    timings, seconds = Log(), '{"type": "x-fal-message", "action": "timings", "timing": 0.5}'
    error = '{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "why"}'
    with Peer(sends(seconds, error)) as peer:
        async with peer.client().connect(APP, result_type=ResultModel, on_timings=timings) as connection:
            await connection.send({})
            with pytest.raises(RealtimeError, match="INTERNAL_ERROR: why"):
                await result_of(connection.recv())
            assert await timings.has(1) == [0.5]


# --- what does not fit ---


def wrong(**fields: Any) -> dict[str, Any]:
    return {**RESULT, "images": [RESULT["images"][0], {**RESULT["images"][0], **fields}]}


MISMATCHES = {
    "another type": (wrong(width="wide"), "images[1].width", ("int", "'wide'")),
    "none": (wrong(width=None), "images[1].width", ("expected `int`", "got `null`")),
    "bytes": (wrong(content=7), "images[1].content", ("expected `bytes`", "got `int` (7)")),
    "no list": ({"images": {}}, "images", ("array", "object")),
    "another literal": (wrong(kind="gif"), "images[1].kind", ("gif",)),
    "a missing field": (
        {"images": [{"width": 1, "height": 2}]},
        "images[0].content",
        ("missing; there is width, height",),
    ),
    "no object": ([1, 2], "", ("object", "array")),
    "bytes for an object": (b"\x00", "", ("object", "bytes")),
    "nothing": (None, "", ("object", "null")),
}


@pytest.mark.parametrize("kind", [ResultStruct, ResultData], ids=["Struct", "dataclass"])
@pytest.mark.parametrize(("result", "path", "words"), MISMATCHES.values(), ids=MISMATCHES)
async def test_a_mismatch_says_where_it_is_what_was_expected_and_what_is_there(result, path, words, kind):
    with Peer(sends(result, RESULT)) as peer:
        async with peer.client().connect(APP, result_type=kind) as connection:
            await connection.send({})
            with pytest.raises(DecodeError) as raised:
                await result_of(connection.recv())
            error = raised.value
            assert error.path == path
            assert error.result == result
            start = f"the result does not fit {kind.__name__}: " + (f"{path}: " if path else "")
            assert str(error).startswith(start)
            assert all(word in str(error) for word in words), str(error)
            assert isinstance(error.__cause__, msgspec.ValidationError)
            # Delivery goes on.
            check(await result_of(connection.recv()), kind)
            assert connection.stats()["delivered"] == 2


@pytest.mark.parametrize(
    ("result", "path", "words"),
    [
        (wrong(width="wide"), "images[1].width", "unable to parse string as an integer, got str ('wide')"),
        (wrong(content=7), "images[1].content", "should be a valid bytes, got int (7)"),
        ({"images": [{"width": 1}]}, "images[0].content", "it is missing; there is width"),
        ({"images": [{}, {"width": []}]}, "images[0].content", "it is missing; there is nothing (and 3 more)"),
        ([1, 2], "", "got list of 2"),
        ({"images": 3, "seed": 1}, "images", "should be a valid list, got int (3)"),
    ],
)
async def test_a_mismatch_of_a_pydantic_model_says_so_too(result, path, words):
    with Peer(sends(result, RESULT)) as peer:
        async with peer.client().connect(APP, result_type=ResultModel) as connection:
            await connection.send({})
            with pytest.raises(DecodeError) as raised:
                await result_of(connection.recv())
            error = raised.value
            assert (error.path, error.result) == (path, result)
            assert words in str(error), str(error)
            assert isinstance(error.__cause__, pydantic.ValidationError)
            check(await result_of(connection.recv()), ResultModel)


async def test_the_path_of_a_mismatch_in_a_union_names_no_types():
    adapter = pydantic.TypeAdapter(dict[str, list[int | list[int]]])
    with Peer(sends({"a": [1, "x"]})) as peer:
        async with peer.client().connect(APP, result_type=adapter) as connection:
            await connection.send({})
            with pytest.raises(DecodeError, match=r"does not fit TypeAdapter\(.*: a\[1\]: ") as raised:
                await result_of(connection.recv())
            assert raised.value.path == "a[1]"


async def test_a_request_whose_answer_does_not_fit_raises_and_the_next_one_is_its_own():
    with Peer() as peer:
        async with peer.client().connect(APP, result_type=ResultDict) as connection:
            with pytest.raises(DecodeError, match=r"images: expected `array`, got `int` \(1\)"):
                await connection.request({"images": 1}, timeout=LIMIT)
            assert await connection.request({"images": []}, timeout=LIMIT) == {"images": []}


async def test_an_apps_own_error_is_named_and_not_lost():
    answer = {"type": "error", "error": "no such model", "request_id": "1"}
    for kind in (ResultData, ResultModel):
        with Peer(sends(answer)) as peer:
            async with peer.client().connect(APP, result_type=kind) as connection:
                await connection.send({})
                with pytest.raises(DecodeError, match="its error is 'no such model'") as raised:
                    await result_of(connection.recv())
                assert raised.value.result == answer


async def test_a_message_that_cannot_be_decoded_has_no_result():
    with Peer(sends("{not JSON")) as peer:
        async with peer.client().connect(APP, result_type=ResultData) as connection:
            await connection.send({})
            with pytest.raises(DecodeError) as raised:
                await result_of(connection.recv())
            assert (raised.value.path, raised.value.result) == ("", None)


async def test_what_a_validator_of_the_users_raises_is_the_cause():
    class Odd(msgspec.Struct):
        number: int

        def __post_init__(self):
            1 // self.number

    with Peer(sends({"number": 0}, {"number": 1})) as peer:
        async with peer.client().connect(APP, result_type=Odd) as connection:
            await connection.send({})
            with pytest.raises(DecodeError, match="does not fit Odd: ZeroDivisionError") as raised:
                await result_of(connection.recv())
            assert isinstance(raised.value.__cause__, ZeroDivisionError)
            assert await result_of(connection.recv()) == Odd(1)


async def test_a_mismatch_can_be_pickled_and_copied():
    with Peer(sends({"images": 3})) as peer:
        async with peer.client().connect(APP, result_type=ResultData) as connection:
            await connection.send({})
            with pytest.raises(DecodeError) as raised:
                await result_of(connection.recv())
    for made in (pickle.loads(pickle.dumps(raised.value)), copy.copy(raised.value)):
        assert (str(made), made.path, made.result) == (str(raised.value), "images", {"images": 3})


async def test_a_long_value_is_not_shown_in_full():
    with Peer(sends({"images": "x" * 100_000})) as peer:
        async with peer.client().connect(APP, result_type=ResultModel) as connection:
            await connection.send({})
            with pytest.raises(DecodeError) as raised:
                await result_of(connection.recv())
            assert len(str(raised.value)) < 300


# --- fields that the type does not have ---


async def test_a_type_that_forbids_unknown_fields_decides_that_by_its_own_configuration():
    class StrictStruct(msgspec.Struct, forbid_unknown_fields=True):
        number: int

    class StrictModel(pydantic.BaseModel, extra="forbid"):
        number: int

    class WithExtras(pydantic.BaseModel, extra="allow"):
        number: int

    message = {"number": 1, "request_id": "a"}
    for kind in (StrictStruct, StrictModel):
        with Peer(sends(message)) as peer:
            async with peer.client().connect(APP, result_type=kind) as connection:
                await connection.send({})
                with pytest.raises(DecodeError, match="request_id: the type forbids fields") as raised:
                    await result_of(connection.recv())
                assert raised.value.path == "request_id"
    with Peer(sends(message)) as peer:
        async with peer.client().connect(APP, result_type=WithExtras) as connection:
            await connection.send({})
            assert (await result_of(connection.recv())).model_extra == {"request_id": "a"}


async def test_a_typed_dict_holds_no_more_than_its_fields():
    with Peer(sends(RESULT)) as peer:
        async with peer.client().connect(APP, result_type=ResultDict) as connection:
            await connection.send({})
            image = {"content": b"\xff\xd8\x00", "width": 512}
            assert await result_of(connection.recv()) == {"images": [image], "seed": 7}


# --- what is accepted as a type ---

REFUSED = {
    "a builtin": (dict, "not the type dict"),
    "a generic": (list[int], r"not the type list"),
    "a union": (ResultStruct | None, "must be a pydantic model, a msgspec.Struct, a dataclass or a TypedDict"),
    "an object": (ResultStruct([]), "must be a pydantic model"),
    "a class of no kind": (Log, "not the type Log"),
    "a name": ("ResultModel", "not 'ResultModel'"),
}


@pytest.mark.parametrize(("kind", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("option", ["result_type", "input_type"])
def test_what_is_no_type_that_can_be_checked_is_refused(kind, why, option):
    for client in (RealtimeClient("key"), SyncRealtimeClient("key")):
        with pytest.raises(TypeError, match=f"^{option} must be .*" if why.startswith("not") else why) as raised:
            client.connect(APP, **{option: kind})
        assert str(raised.value).startswith(option)


def test_a_type_that_its_library_does_not_take_is_refused_in_connect():
    @dataclass
    class Unknown:
        image: NoSuchThing  # noqa: F821

    class Ambiguous(msgspec.Struct):
        either: ResultStruct | ImageStruct

    for kind in (Unknown, Ambiguous):
        with pytest.raises(TypeError, match=r"^result_type cannot be checked: "):
            RealtimeClient("key").connect(APP, result_type=kind)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"result_type": ResultData, "decode": False}, "result_type has no use with decode=False, which gives"),
        ({"result_type": ResultData, "raw": True}, "result_type has no use with raw=True, where messages"),
        ({"result_type": ResultData, "decode_message": json.loads}, "with decode_message, whose own result is what"),
        ({"input_type": ResultData, "raw": True}, "input_type has no use with raw=True, where messages"),
        ({"input_type": ResultData, "encode_message": json.dumps}, "with encode_message, which is given each input"),
    ],
)
def test_it_contradicts_what_says_otherwise_what_a_message_is(options, why):
    for client in (RealtimeClient("key"), SyncRealtimeClient("key")):
        with pytest.raises(ValueError, match=f"{why}.*: leave out one of them"):
            client.connect(APP, **options)


def test_a_reused_connection_keeps_its_type():
    client = RealtimeClient("key")
    first = client.connect(APP, connection_key="a", result_type=ResultData)
    assert client.connect(APP, connection_key="a", result_type=ResultData) is first
    with pytest.raises(ValueError, match=r"result_type=.*ResultData.*, which cannot become .*ResultStruct"):
        client.connect(APP, connection_key="a", result_type=ResultStruct)
    first.close()


def test_it_may_be_given_in_the_handler():
    with Peer(sends(RESULT)) as peer, peer.sync_client().connect(APP, {"result_type": ResultData}) as connection:
        connection.send({})
        check(connection.recv(timeout=LIMIT), ResultData)


# --- what is imported ---


def run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_without_a_type_neither_library_is_imported_and_with_one_only_that_whose_it_is():
    program = """
import sys
from dataclasses import dataclass
from fal_realtime import RealtimeClient
client = RealtimeClient("id:secret")
client.connect("a/b").close()
print("pydantic" in sys.modules, "msgspec" in sys.modules, "fal_realtime._typed" in sys.modules)
@dataclass
class Result:
    text: str
client.connect("a/b", result_type=Result, input_type=Result).close()
print("pydantic" in sys.modules, "msgspec" in sys.modules)
"""
    assert run(program).split() == ["False", "False", "False", "False", "True"]


def test_a_dataclass_without_msgspec_is_refused_with_what_to_install():
    program = """
import sys
sys.modules["msgspec"] = None
from dataclasses import dataclass
import pydantic
from fal_realtime import RealtimeClient
@dataclass
class Result:
    text: str
class Model(pydantic.BaseModel):
    text: str
client = RealtimeClient("id:secret")
client.connect("a/b", result_type=Model).close()
client.connect("a/b", result_type=pydantic.TypeAdapter(Result)).close()
try:
    client.connect("a/b", result_type=Result)
except TypeError as error:
    print(error)
"""
    said = run(program)
    assert said.startswith("result_type: dataclasses and TypedDicts are checked by msgspec, which is not installed")
    assert "pip install msgspec" in said
