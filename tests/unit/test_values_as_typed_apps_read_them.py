"""What becomes of the values that users send: as pydantic writes them in JSON, and as a typed app of fal reads them."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from functools import partial
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgpack as reference  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings, strategies as st
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fal_realtime import EncodeError, ExtType, _core, msgpack
from fal_realtime.testing import LocalServer

UTC = timezone.utc
HALF_HOURS = timezone(timedelta(hours=-9, minutes=-30))


def sent(value: Any) -> Any:
    """What a peer reads, by the reference implementation."""
    return reference.unpackb(_core.encode_input({"value": value}))["value"]


def dumped(value: Any) -> Any:
    """What pydantic writes for it in JSON."""
    return pydantic.TypeAdapter(Any).dump_python(value, mode="json")


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, 1000, tzinfo=HALF_HOURS),
        datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 1, 2),  # noqa: DTZ001
        date(5, 1, 2),
        time(1, 2),
        time(1, 2, 3, 4, tzinfo=HALF_HOURS),
        time(1, 2, tzinfo=UTC),
        timedelta(0),
        timedelta(days=400, hours=5, seconds=1.5),
        timedelta(days=-1, seconds=2, microseconds=3),
        timedelta.max,
        timedelta.min,
        uuid.UUID(int=5),
        Colour.RED,
        decimal.Decimal("1.50"),
        decimal.Decimal("1E+5"),
        fractions.Fraction(1, 3),
        pathlib.Path("a") / "b",
        ipaddress.ip_address("::1"),
        ipaddress.ip_interface("10.0.0.1/8"),
        ipaddress.ip_network("10.0.0.0/8"),
        pydantic.HttpUrl("https://fal.ai/x"),
        pydantic.PostgresDsn("postgres://u@h/d"),
        re.compile("a+"),
        {1},
        frozenset((1,)),
        collections.deque((1, 2)),
        {uuid.UUID(int=5): 1, date(2026, 1, 2): 2, Colour.RED: 3, pathlib.Path("p"): 4},
    ],
    ids=repr,
)
def test_a_value_is_sent_as_pydantic_writes_it_in_json(value: Any) -> None:
    assert sent(value) == dumped(value)


@given(st.datetimes(timezones=st.timezones() | st.none()) | st.times(timezones=st.timezones()) | st.timedeltas())
@settings(deadline=None, max_examples=200)
def test_any_moment_is_read_back_by_a_typed_field(value: datetime | time | timedelta) -> None:
    read = pydantic.TypeAdapter(type(value)).validate_python(sent(value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        # Zones of long ago have offsets of seconds, which ISO 8601 has no form for: the instant is kept.
        assert abs(read - value) < timedelta(microseconds=1)
    elif isinstance(value, time):
        # A time without a date has no offset in most zones.
        assert read.replace(tzinfo=None) == value.replace(tzinfo=None)
    else:
        assert read == value


def test_an_offset_of_seconds_is_sent_as_the_same_instant_in_utc() -> None:
    odd = datetime(1890, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=30)))
    assert sent(odd) == "1889-12-31T22:59:30Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pathlib.PureWindowsPath("c:/x"), "c:\\x"),
        (collections.UserDict(a=1), {"a": 1}),
        (collections.UserList([1]), [1]),
        (collections.UserString("text"), "text"),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (collections.Counter("aa"), {"a": 2}),
    ],
    ids=repr,
)
def test_other_collections_and_paths_are_sent(value: Any, expected: Any) -> None:
    assert sent(value) == expected


class Headers(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return len(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "bb"))

    def __len__(self) -> int:
        return 2


def test_a_mapping_of_ones_own_can_carry_a_request_id() -> None:
    assert sent(Headers()) == {"a": 1, "bb": 2}


# Models


class Inner(pydantic.BaseModel):
    image_bytes: bytes = pydantic.Field(alias="imageBytes")
    when: datetime


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    guidance: decimal.Decimal = pydantic.Field(alias="guidanceScale")
    source: pydantic.HttpUrl
    inner: Inner
    tags: set[str]
    any_model: Any = None


def test_a_model_is_sent_by_the_names_of_the_wire_and_the_same_model_reads_it() -> None:
    inner = Inner(imageBytes=b"\xff\x00", when=datetime(2026, 1, 2, tzinfo=UTC))
    outer = Outer(guidance=decimal.Decimal("1.5"), source="https://fal.ai/", inner=inner, tags={"a"}, any_model=inner)
    on_the_wire = {"imageBytes": b"\xff\x00", "when": "2026-01-02T00:00:00Z"}
    read = sent(outer)
    assert read == {
        "guidanceScale": "1.5",
        "source": "https://fal.ai/",
        "inner": on_the_wire,
        "tags": ["a"],
        "any_model": on_the_wire,
    }
    assert Outer(**read) == outer.model_copy(update={"any_model": on_the_wire})
    assert sent([inner]) == [on_the_wire]


def test_a_model_of_pydantic_1_is_sent_by_the_names_of_the_wire() -> None:
    v1 = pytest.importorskip("pydantic.v1")
    model = v1.create_model("Model", prompt=(str, v1.Field(alias="promptText")))
    assert sent(model(promptText="cat")) == {"promptText": "cat"}


@pydantic_dataclass
class PydanticPoint:
    x: int = pydantic.Field(serialization_alias="X")


class Struct(msgspec.Struct, rename="camel", tag="kind"):
    image_size: int
    absent: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, array_like=True):
    left: int
    right: str


def test_fields_of_other_kinds_of_classes_are_sent_by_the_names_of_the_wire() -> None:
    assert sent(PydanticPoint(1)) == {"X": 1}
    assert sent(Struct(3)) == msgspec.to_builtins(Struct(3)) == {"type": "kind", "imageSize": 3}
    assert sent(Row(1, "a")) == msgspec.to_builtins(Row(1, "a")) == [1, "a"]


def test_attrs_classes_are_sent_as_their_fields() -> None:
    attrs = pytest.importorskip("attrs")
    assert sent(attrs.make_class("Point", ["x", "y"])(1, b"2")) == {"x": 1, "y": b"2"}


def test_a_secret_is_not_sent_unasked() -> None:
    with pytest.raises(EncodeError, match=r"^input\.value: a secret .*get_secret_value") as caught:
        sent(pydantic.SecretStr("hunter2"))
    assert "hunter2" not in str(caught.value)


# Extensions


@pytest.mark.parametrize(
    "value",
    [
        ExtType(5, b"x"),
        reference.ExtType(5, b"x"),
        msgspec.msgpack.Ext(5, b"x"),
        msgspec.msgpack.Ext(5, bytearray(b"x")),
    ],
)
def test_extension_types_of_all_packages_are_extensions(value: Any) -> None:
    assert sent(value) == reference.ExtType(5, b"x")


def test_a_timestamp_of_msgpack_is_a_timestamp() -> None:
    assert sent(reference.Timestamp(1, 2)) == reference.Timestamp(1, 2)


# The public functions


def test_the_public_codec_takes_keys_of_any_scalar_type() -> None:
    value = {7: 2, None: 3, b"a": 4, True: 5, 1.5: 6, -(2**63): 7, Colour.RED: 8}
    expected = {7: 2, None: 3, b"a": 4, True: 5, 1.5: 6, -(2**63): 7, "red": 8}
    assert msgpack.decode(msgpack.encode(value)) == expected
    with pytest.raises(EncodeError, match=r"map keys must be a str or another scalar; \(1,\) is of type 'tuple'"):
        msgpack.encode({(1,): 2})


def test_the_public_codec_sends_datetimes_as_timestamps_if_told() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert msgpack.decode(msgpack.encode({"when": when}, timestamps=True)) == {"when": when}
    assert msgpack.decode(msgpack.encode({"when": when})) == {"when": "2026-01-02T03:04:05.000006Z"}


class Image:
    pixels = b"pixels"


def test_the_hook_is_asked_for_what_has_no_form_and_its_answer_is_encoded() -> None:
    def hook(value: Any) -> Any:
        return {"pixels": value.pixels, "also": [1j]} if isinstance(value, Image) else str(value)

    value = {"a": [Image()], "b": np.zeros(1), "c": pydantic.SecretStr("x")}
    expected = {"a": [{"pixels": b"pixels", "also": ["1j"]}], "b": "[0.]", "c": "**********"}
    assert msgpack.decode(msgpack.encode(value, default=hook)) == expected


def test_what_the_hook_raises_is_raised_and_a_hook_that_gives_back_its_value_ends() -> None:
    def refuse(value: Any) -> Any:
        raise LookupError(type(value).__name__)

    with pytest.raises(LookupError, match="Image"):
        msgpack.encode([Image()], default=refuse)
    with pytest.raises(EncodeError, match="nests deeper than 256"):
        msgpack.encode([Image()], default=lambda value: value)


def test_the_hook_serves_a_connection_as_its_encoder() -> None:
    encode = partial(msgpack.encode, default=lambda image: image.pixels)
    with (
        LocalServer() as server,
        server.sync_client().connect("local/echo", encode_message=encode, throttle_interval=0) as connection,
    ):
        connection.send({"image": Image()})
        assert connection.recv(timeout=60) == {"image": b"pixels"}


# Odd values in what comes


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x81\x92\x01\x91\x02\xc0", {(1, (2,)): None}),
        (b"\x81\x81\xa1a\x90\xc0", {(("a", ()),): None}),
        (b"\xa2\xff\xfe", b"\xff\xfe"),
        (b"\x81\xa1\xff\xa3\xed\xa0\x80", {b"\xff": b"\xed\xa0\x80"}),
        (reference.packb(reference.Timestamp(253402300800, 0)), ExtType(-1, bytes(7) + b"\x3a\xff\xf4\x41\x80")),
        (reference.packb(reference.Timestamp(-(2**63), 0)), ExtType(-1, b"\0\0\0\0\x80" + bytes(7))),
        (b"\xd4\xff\x00", ExtType(-1, b"\0")),
        (b"\xd7\xff" + b"\xff" * 8, ExtType(-1, b"\xff" * 8)),
    ],
)
def test_an_odd_value_does_not_cost_the_message(message: bytes, expected: Any) -> None:
    before_and_after = [1, expected, "after"]
    assert _core.decode(b"\x93\x01" + message + b"\xa5after") == before_and_after


class Texts:
    odd: ClassVar = {
        "[1, Infinity, -Infinity, 1e999, -1e999]": [1, float("inf"), float("-inf"), float("inf"), float("-inf")],
        r'["\ud800", "\udc00\ud800", "a\ud800\u0041\ud83d\ude00"]': ["\ud800", "\udc00\ud800", "a\ud800A\U0001f600"],
        r'{"\udfff": 1}': {"\udfff": 1},
    }


@pytest.mark.parametrize("text", Texts.odd)
def test_what_pythons_json_writes_is_read(text: str) -> None:
    assert _core.decode_json(text) == Texts.odd[text]


def test_nan_is_read_in_json() -> None:
    value = _core.decode_json('{"a": NaN, "b": "NaN"}')
    assert value["a"] != value["a"]
    assert value["b"] == "NaN"


@dataclasses.dataclass
class Meddler:
    entries: dict[Any, Any]

    def model_dump(self) -> str:
        self.entries.clear()
        return "gone"


def test_a_key_that_changes_the_dict_is_refused() -> None:
    class Key:
        def __fspath__(self) -> str:
            return "x"

        def __str__(self) -> str:
            return "x"

        def model_dump(self) -> str:
            entries.clear()
            return "key"

    entries: dict[Any, Any] = {}
    entries.update({Key(): [1], "b": 2})
    with pytest.raises(EncodeError, match="changed"):
        _core.encode(entries)
