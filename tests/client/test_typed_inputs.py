"""`input_type`: inputs are checked where they are given, and go out as they would without it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import numpy as np
import pydantic
import pytest
from support import LIMIT, Peer, Session

from fal_realtime import EncodeError

APP = "fal-ai/fast-lcm-diffusion"


class StyleModel(pydantic.BaseModel, revalidate_instances="always"):
    name: Literal["photo", "drawing"] = "photo"


class InputModel(pydantic.BaseModel, revalidate_instances="always"):
    prompt: str
    steps: int = 3
    style: StyleModel = StyleModel()


class StyleStruct(msgspec.Struct):
    name: Literal["photo", "drawing"] = "photo"


class InputStruct(msgspec.Struct):
    prompt: str
    steps: int = 3
    style: StyleStruct = msgspec.field(default_factory=StyleStruct)


@dataclass
class StyleData:
    name: Literal["photo", "drawing"] = "photo"


@dataclass
class InputData:
    prompt: str
    steps: int = 3
    style: StyleData = field(default_factory=StyleData)


class StyleDict(TypedDict):
    name: Literal["photo", "drawing"]


class InputDict(TypedDict, total=False):
    prompt: str
    steps: int
    style: StyleDict


def as_dict(prompt: Any, steps: Any = 3, style: Any = None) -> Any:
    return {"prompt": prompt, "steps": steps, "style": {"name": "photo"} if style is None else style}


def unchecked(prompt: Any, steps: Any = 3, style: Any = None) -> InputModel:
    return InputModel.model_construct(prompt=prompt, steps=steps, style=StyleModel() if style is None else style)


MAKERS: dict[str, tuple[Any, Any, Any]] = {
    "pydantic": (InputModel, unchecked, StyleModel.model_construct),
    "Struct": (InputStruct, InputStruct, StyleStruct),
    "dataclass": (InputData, InputData, StyleData),
    "TypedDict": (InputDict, as_dict, dict),
}
makers = pytest.mark.parametrize(("kind", "make", "style"), MAKERS.values(), ids=MAKERS)

SENT = {"prompt": "a cat", "steps": 3, "style": {"name": "photo"}}


def quiet(session: Session) -> None:
    session.accept()
    session.wait_closed()


@makers
async def test_an_input_of_the_type_goes_out_as_it_would_without(kind, make, style):
    with Peer() as peer:
        async with peer.client().connect(APP, input_type=kind, throttle_interval=0) as connection:
            connection.send_nowait(make("a cat"))
            await connection.send(make("a cat"))
            answer = await connection.request(make("a cat"), timeout=LIMIT)
            assert answer == {**SENT, "request_id": answer["request_id"]}
            await connection.drain()
        assert peer.inputs == [SENT, SENT, answer]


@makers
async def test_one_that_does_not_fit_is_an_encode_error_of_the_call_and_is_not_sent(kind, make, style):
    with Peer(quiet) as peer:
        async with peer.client().connect(APP, input_type=kind) as connection:
            for wrong, path in (
                (make(7), r"input\.prompt: .*int \(7\)|input\.prompt: .*`int` \(7\)"),
                (make("a cat", "many"), r"input\.steps: "),
                (make("a cat", 3, style(name="oil")), r"input\.style\.name: .*oil"),
                ("a cat", r"input: it must be of type Input\w+, not str \('a cat'\)"),
                (b"encoded", r"input: it must be of type Input\w+, not bytes of 7"),
                (None, r"input: it must be of type Input\w+, not None"),
            ):
                with pytest.raises(EncodeError, match=path):
                    connection.send_nowait(wrong)
                with pytest.raises(EncodeError, match=path):
                    await connection.send(wrong)
                with pytest.raises(EncodeError, match=path):
                    await connection.request(wrong, timeout=LIMIT)
            assert connection.stats()["accepted"] == 0


@makers
def test_the_blocking_client_checks_too(kind, make, style):
    with Peer() as peer, peer.sync_client().connect(APP, input_type=kind) as connection:
        for call in (connection.send_nowait, connection.send, connection.request):
            with pytest.raises(EncodeError, match=r"input\.prompt: "):
                call(make(7))
        assert connection.request(make("a cat"), timeout=LIMIT)["prompt"] == "a cat"


async def test_objects_that_the_library_does_not_know_are_sent_as_ever():
    @dataclass
    class Rich:
        file: Path
        when: dt.datetime
        anything: Any

    def rich(file: Any) -> Rich:
        when = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)
        return Rich(file, when, [b"\x00", np.float32(1.5)])

    with Peer(quiet) as peer:
        async with peer.client().connect(APP, input_type=Rich) as connection:
            await connection.send(rich(Path("a/b")))
            with pytest.raises(EncodeError, match=r"input\.file: expected `Path`, got `str` \('a/b'\)"):
                await connection.send(rich("a/b"))
            with pytest.raises(EncodeError, match=r"input\.file: expected `Path`, got `Fraction`"):
                await connection.send(rich(Fraction(1)))
            await connection.drain()
            await peer.until(lambda: peer.sessions[0].messages)
        [sent] = peer.inputs
        assert sent["file"] == "a/b"
        assert sent["anything"] == [b"\x00", 1.5]


async def test_a_missing_field_of_a_typed_dict_is_named_and_one_too_many_goes_out():
    class Needs(TypedDict):
        prompt: str
        seed: int

    with Peer() as peer:
        async with peer.client().connect(APP, input_type=Needs) as connection:
            with pytest.raises(EncodeError, match=r"input\.seed: it is missing; there is prompt"):
                await connection.send({"prompt": "a cat"})
            answer = await connection.request({"prompt": "a cat", "seed": 1, "more": True}, timeout=LIMIT)
            assert answer["more"] is True


async def test_a_type_adapter_decides_what_goes_out():
    adapter = pydantic.TypeAdapter(InputModel | StyleModel)
    with Peer() as peer:
        async with peer.client().connect(APP, input_type=adapter) as connection:
            answer = await connection.request({"prompt": "a cat", "steps": "4"}, timeout=LIMIT)
            assert answer["steps"] == 4
            with pytest.raises(EncodeError, match=r"input"):
                await connection.send({"prompt": 1, "name": 2})


async def test_inputs_and_results_are_checked_together():
    with Peer() as peer:
        async with peer.client().connect(APP, input_type=InputDict, result_type=InputStruct) as connection:
            assert await connection.request(as_dict("a cat"), timeout=LIMIT) == InputStruct("a cat")


async def test_what_on_open_sends_is_checked_too():
    seen: list[BaseException] = []

    async def greet(connection):
        try:
            await connection.send(InputData(7))
        except EncodeError as error:
            seen.append(error)
        await connection.send(InputData("first"))

    with Peer(quiet) as peer:
        async with peer.client().connect(APP, input_type=InputData, on_open=greet) as connection:
            await connection.send(InputData("second"))
            await connection.drain()
            await peer.until(lambda: len(peer.sessions[0].messages) == 2)
        assert [message["prompt"] for message in peer.inputs] == ["first", "second"]
    assert len(seen) == 1
