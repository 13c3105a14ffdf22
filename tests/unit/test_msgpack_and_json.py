"""The msgpack and JSON codec of `fal_realtime._core`."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import enum
import gc
import json
import math
import pickle
import sys
import tracemalloc
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings, strategies as st

from fal_realtime import _core
from fal_realtime._core import ExtType
from fal_realtime._exceptions import DecodeError, EncodeError

MAX_DEPTH = 256
EXCEPTION_SIZE = 10_000  # what a DecodeError and its traceback take, generously
UTC = timezone.utc


def encode_error(value: object) -> str:
    """The message of the EncodeError that `value` raises."""
    with pytest.raises(EncodeError) as caught:
        _core.encode(value)
    return str(caught.value)


def decode_error(data: bytes) -> str:
    """The message of the DecodeError that `data` raises."""
    with pytest.raises(DecodeError) as caught:
        _core.decode(data)
    return str(caught.value)


def json_error(text: str) -> str:
    """The message of the DecodeError that `text` raises."""
    with pytest.raises(DecodeError) as caught:
        _core.decode_json(text)
    return str(caught.value)


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """A value of `levels` containers, made by `wrap`."""
    value: Any = None
    for _ in range(levels):
        value = wrap(value)
    return value


# Round trips against the reference implementation

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=40,
)
keys = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=40)


@given(values)
@settings(deadline=None, max_examples=150)
def test_msgpack_reads_what_we_write(value: object) -> None:
    encoded = _core.encode(value)
    assert msgpack.unpackb(encoded) == value
    assert encoded == msgpack.packb(value)  # the shortest forms, like the reference's


@given(values | st.dictionaries(keys, scalars, max_size=20))
@settings(deadline=None, max_examples=150)
def test_we_read_what_msgpack_writes(value: object) -> None:
    assert _core.decode(msgpack.packb(value)) == value


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes_decode_or_raise_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        _core.decode(data)


@given(values)
@settings(deadline=None, max_examples=50)
def test_every_truncation_is_a_decode_error(value: object) -> None:
    encoded = _core.encode(value)
    for length in range(min(len(encoded), 200)):
        assert "cut off" in decode_error(encoded[:length])


@pytest.mark.parametrize("power", [5, 7, 8, 15, 16, 31, 32, 63, 64])
def test_integers_at_every_boundary_take_the_shortest_form(power: int) -> None:
    for value in (2**power - 1, 2**power, 2**power + 1, -(2**power) - 1, -(2**power), -(2**power) + 1):
        if -(2**63) <= value < 2**64:
            assert _core.encode(value) == msgpack.packb(value)
            assert _core.decode(_core.encode(value)) == value


@pytest.mark.parametrize("length", [*range(36), 254, 255, 256, 65535, 65536, 70000])
def test_lengths_at_every_boundary_take_the_shortest_form(length: int) -> None:
    for value in ("x" * length, "é" * length, b"x" * length, [None] * length, {str(i): i for i in range(length)}):
        encoded = _core.encode(value)
        assert encoded == msgpack.packb(value)
        assert _core.decode(encoded) == value


@pytest.mark.parametrize("size", [1, 1000, 1024, 1025, 300_000, 5_000_000])
def test_bulk_bytes_come_through_wherever_they_are(size: int) -> None:
    value = {
        "a": bytes(size),
        "b": [{"c": b"x" * size}, "tail"],
        "d": bytearray(size),
        "e": "y" * size,
        "f": list(range(300)),
    }
    expected = value | {"d": bytes(size)}
    encoded = _core.encode(value)
    assert sys.getsizeof(encoded) - len(encoded) < 100
    assert msgpack.unpackb(encoded) == expected
    assert _core.decode(encoded) == expected


# Values with a form of their own


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Size(str, enum.Enum):
    SQUARE = "square_hd"


class Opaque:
    """Nothing that msgpack knows."""


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True)
class Slotted:
    __slots__ = ("label",)
    label: str


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


class Pair(NamedTuple):
    left: int
    right: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Size.SQUARE, "square_hd"),
        (Text("text"), "text"),
        (Text("größe"), "größe"),
        (Number(-70), -70),
        (Items([1, 2]), [1, 2]),
        (Pair(1, "b"), [1, "b"]),
        ((1, (2, 3)), [1, [2, 3]]),
        (OrderedDict(a=1), {"a": 1}),
        ({Size.SQUARE: 1, Text("t"): 2}, {"square_hd": 1, "t": 2}),
        (Point(1, Point(2, [Slotted("s")])), {"x": 1, "y": {"x": 2, "y": [{"label": "s"}]}}),
        (uuid.UUID("8f14e45f-ceea-467f-9d3c-9b1f6d2a7c11"), "8f14e45f-ceea-467f-9d3c-9b1f6d2a7c11"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(b"abcdef")[::-1], b"fedcba"),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        (memoryview(b""), b""),
    ],
)
def test_a_value_is_encoded_as_its_plain_counterpart(value: object, expected: object) -> None:
    assert _core.decode(_core.encode(value)) == expected
    assert _core.decode(_core.encode({"deep": [value]})) == {"deep": [expected]}


def test_an_ordered_dict_keeps_its_own_order() -> None:
    value = OrderedDict(a=1, b=2, c=3)
    value.move_to_end("a")
    assert list(_core.decode(_core.encode(value))) == ["b", "c", "a"]


def test_a_pydantic_model_is_encoded_as_its_dump() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", prompt=(str, ...), seed=(int, 4), when=(datetime, ...))
    when = datetime(2026, 1, 2, tzinfo=UTC)
    encoded = _core.encode([model(prompt="cat", when=when)])
    assert _core.decode(encoded) == [{"prompt": "cat", "seed": 4, "when": "2026-01-02T00:00:00Z"}]


def test_what_a_model_raises_is_raised() -> None:
    class Broken:
        def model_dump(self) -> dict[str, Any]:
            raise LookupError

    with pytest.raises(LookupError):
        _core.encode({"a": Broken()})


def test_a_model_that_dumps_itself_is_refused() -> None:
    class Loop:
        def model_dump(self) -> Loop:
            return self

    assert "nests deeper than 256" in encode_error(Loop())


def test_numpy_scalars_are_numbers_and_arrays_are_refused() -> None:
    numpy = pytest.importorskip("numpy")
    value = [numpy.int8(-5), numpy.uint64(2**64 - 1), numpy.float32(0.5), numpy.float64(0.25), numpy.bool_(True)]
    value += [numpy.str_("s"), numpy.bytes_(b"b"), numpy.longdouble(0.5), numpy.float16(2)]
    expected = [-5, 2**64 - 1, 0.5, 0.25, True, "s", b"b", 0.5, 2.0]
    decoded = _core.decode(_core.encode(value))
    assert decoded == expected
    assert [type(item) for item in decoded] == [type(item) for item in expected]
    message = encode_error({"mask": numpy.zeros(3)})
    assert message.startswith("input.mask: ")
    assert ".tobytes()" in message
    assert _core.decode(_core.encode(memoryview(numpy.arange(3, dtype="u1")))) == b"\0\1\2"
    for refused in (numpy.complex64(1), numpy.datetime64("2020-01-01"), numpy.timedelta64(1, "s")):
        encode_error(refused)


# Timestamps


zones = st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=30)), timezone(timedelta(hours=14))])


@given(st.datetimes(timezones=zones))
@settings(deadline=None)
def test_datetimes_round_trip_as_timestamps_in_both_directions(value: datetime) -> None:
    encoded = _core.encode(value, timestamps=True)
    assert encoded == msgpack.packb(value, datetime=True)
    if datetime.min.replace(tzinfo=UTC) <= value <= datetime.max.replace(tzinfo=UTC):
        decoded = _core.decode(encoded)
        assert decoded == value
        assert decoded.tzinfo is UTC


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999", "2000-02-29T00:00:00"]
)
def test_datetimes_at_the_edges_round_trip_as_timestamps(value: str) -> None:
    instant = datetime.fromisoformat(value + "+00:00")
    assert _core.decode(_core.encode(instant, timestamps=True)) == instant


def test_a_naive_datetime_is_no_timestamp() -> None:
    with pytest.raises(EncodeError, match=r"input\.when: .*timezone"):
        _core.encode({"when": datetime(2026, 1, 1)}, timestamps=True)  # noqa: DTZ001 (that is the point)


# Extensions


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 8, 12, 16, 17, 255, 256, 65535, 65536])
def test_extensions_round_trip(length: int) -> None:
    value = ExtType(5, bytes(length))
    encoded = _core.encode(value)
    assert encoded == msgpack.packb(msgpack.ExtType(5, bytes(length)))
    assert _core.decode(encoded) == value


def test_an_extension_type_is_a_value() -> None:
    value = ExtType(-128, b"x")
    assert value == ExtType(code=-128, data=b"x")
    assert value != ExtType(-127, b"x")
    assert value != (-128, b"x")
    assert len({value, ExtType(-128, b"x"), ExtType(-128, b"y")}) == 2
    assert repr(value) == "ExtType(code=-128, data=b'x')"
    assert pickle.loads(pickle.dumps(value)) == value
    match value:
        case ExtType(code, data):
            assert (code, data) == (-128, b"x")
    with pytest.raises(AttributeError):
        value.code = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="-128 to 127"):
        ExtType(128, b"")


# Refused inputs


def test_an_error_names_the_way_to_the_value() -> None:
    assert encode_error({"images": [1, 2, {"mask": Opaque()}]}).startswith(
        "input.images[2].mask: cannot encode object of type 'Opaque'; accepted are None, bool, int"
    )
    assert encode_error(Opaque()).startswith("input: cannot encode object of type 'Opaque'")
    assert encode_error(({"a b": 1j},)).startswith("input[0][\"a b\"]: cannot encode object of type 'complex'")
    assert encode_error(Point(1, Opaque())).startswith("input.y: ")


def test_a_connection_refuses_keys_that_are_no_str_with_their_place() -> None:
    for key, shown in (
        (7, "7 is of type 'int'"),
        (None, "None is of type 'NoneType'"),
        (b"k", "b'k' is of type 'bytes'"),
    ):
        with pytest.raises(EncodeError) as caught:
            _core.encode_input({"a": [{"ok": 1}, {key: 2}]})
        assert str(caught.value) == f"input.a[1]: map keys must be str; {shown}"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**100, Number(2**64)])
def test_integers_beyond_64_bits_are_refused(value: int) -> None:
    assert "64 bits" in encode_error([value])


def test_lone_surrogates_are_refused() -> None:
    assert encode_error({"a": "\ud800"}).startswith("input.a: the str holds a lone surrogate")
    assert "lone surrogate" in encode_error({"\udfff": 1})


@pytest.mark.parametrize(
    "wrap", [lambda it: [it], lambda it: (it,), lambda it: {"k": it}, Point], ids=["list", "tuple", "dict", "dataclass"]
)
def test_nesting_is_limited_to_256_levels(wrap: Callable[[Any], Any]) -> None:
    assert _core.encode(nested(MAX_DEPTH, wrap))
    assert "nests deeper than 256" in encode_error(nested(MAX_DEPTH + 1, wrap))


def test_cycles_are_refused() -> None:
    items: list[Any] = []
    items.append(items)
    entries: dict[str, Any] = {}
    entries["self"] = {"again": entries}
    for value in (items, entries):
        assert "contains itself" in encode_error(value)


def test_a_released_memoryview_raises_what_python_raises() -> None:
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(ValueError, match="released"):
        _core.encode(view)


# Inputs that change while they are being encoded


class Meddler:
    """Runs `action` when it is encoded."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def model_dump(self) -> None:
        self.action()
        gc.collect()


@pytest.mark.parametrize(
    "change",
    [dict.clear, dict.popitem, lambda it: it.update({str(i): i for i in range(1000)})],
    ids=["0", "-1", "+1000"],
)
def test_a_dict_that_changes_its_size_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    entries: dict[str, Any] = {}
    entries.update({"a": Meddler(lambda: change(entries)), "b": 1, "z": 2})
    assert encode_error(entries) == "input: the dict was changed while it was being encoded"


@pytest.mark.parametrize(
    "change", [list.clear, list.pop, lambda it: it.extend(range(100_000))], ids=["0", "-1", "+100000"]
)
def test_a_list_that_changes_its_size_is_refused(change: Callable[[list[Any]], object]) -> None:
    items: list[Any] = []
    items.extend([Meddler(lambda: change(items)), 1, 2])
    assert encode_error([items]) == "input[0]: the list was changed while it was being encoded"


def test_a_value_that_removes_itself_and_fails_still_has_a_path() -> None:
    class Vanishing:
        def model_dump(self) -> object:
            entries.clear()
            gc.collect()
            return Opaque()

    entries = {"k" * 3: Vanishing()}
    assert encode_error(entries).startswith("input.kkk: cannot encode object of type 'Opaque'")


def test_a_replaced_value_is_harmless() -> None:
    entries: dict[str, Any] = {}
    entries.update({"a": Meddler(lambda: entries.update(b="new")), "b": [object()] * 10})
    assert _core.decode(_core.encode(entries)) == {"a": None, "b": "new"}


# Hostile messages


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "offset 0 needs 1 more bytes, 0 are there"),
        (b"\x01\x02", "1 bytes follow the object, at offset 1"),
        (b"\xc1", "0xc1 at offset 0"),
        (b"\x91\xc1", "0xc1 at offset 1"),
        (b"\xc6\xff\xff\xff\xffabc", "offset 5 needs 4294967295 more bytes, 3 are there"),
        (b"\xdb\xff\xff\xff\xffabc", "cut off"),
        (b"\xc9\xff\xff\xff\xff\x01abc", "cut off"),
        (b"\xdd\xff\xff\xff\xff\xc0", "cut off"),
        (b"\xdf\xff\xff\xff\xff\xc0\xc0", "cut off"),
    ],
)
def test_an_invalid_message_is_a_decode_error_that_says_where(data: bytes, reason: str) -> None:
    assert reason in decode_error(data)


@pytest.mark.parametrize("unit", [b"\x91", b"\x81\xa0", b"\x81"], ids=["lists", "maps", "maps as keys"])
def test_deep_nesting_is_refused_before_the_stack_is_used(unit: bytes) -> None:
    assert "nests deeper than 256" in decode_error(unit * 100_000 + b"\xc0" * 200_000)


def test_256_levels_decode() -> None:
    assert _core.decode(b"\x91" * MAX_DEPTH + b"\xc0") == nested(MAX_DEPTH, lambda it: [it])
    assert "nests deeper" in decode_error(b"\x91" * (MAX_DEPTH + 1) + b"\xc0")


@pytest.fixture
def traced() -> Iterator[None]:
    """Traces allocations during the test."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def growth_of(decode: Callable[[Any], object], message: bytes | str) -> int:
    """The most bytes of memory that Python takes while `decode` reads or refuses `message`."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    with contextlib.suppress(DecodeError):
        decode(message)
    _, peak = tracemalloc.get_traced_memory()
    return peak - before


def array_of(count: int, unit: bytes) -> bytes:
    """An array of `count` times `unit`."""
    return b"\xdd" + count.to_bytes(4, "big") + unit * count


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "unit",
    [b"\x80", b"\x90", b"\x81\xc0\xc0", b"\x91\xc0", b"\xe0", b"\xa0", b"\xd4\x05\x00", b"\x81\x90\xc0"],
    ids=["empty maps", "empty lists", "maps", "lists", "ints", "strings", "extensions", "unhashable keys"],
)
def test_a_few_megabytes_never_become_hundreds(unit: bytes) -> None:
    data = array_of(4_000_000 // len(unit), unit)
    assert growth_of(_core.decode, data) < 64 * 1024 * 1024 + 16 * len(data) + EXCEPTION_SIZE


def test_megabytes_of_empty_containers_are_refused() -> None:
    for unit in (b"\x80", b"\x90", b"\x81\xc0\xc0"):
        assert "bytes of Python objects" in decode_error(array_of(4_000_000, unit))


@pytest.mark.usefixtures("traced")
def test_declared_lengths_are_not_trusted_for_allocation() -> None:
    for header in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"):
        assert growth_of(_core.decode, header + b"\x7f\xff\xff\xff" + bytes(1000)) < 100_000


def test_large_honest_messages_are_accepted() -> None:
    floats = [i / 7 for i in range(1_000_000)]
    assert _core.decode(_core.encode(floats)) == floats
    detections = [{"box": [1, 2, 3, 4], "label": "cat", "score": 0.5}] * 50_000
    assert _core.decode(_core.encode(detections)) == detections


# Decoding


def test_the_last_of_equal_keys_wins() -> None:
    assert _core.decode(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}
    assert _core.decode_json('{"a": 1, "a": 2}') == {"a": 2}


def test_keys_of_every_hashable_type_decode() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    data = b"\x86\xc0\x01\xc3\x02\xcb\x40\x04\x00\x00\x00\x00\x00\x00\x03\xc4\x01b\x04"
    data += b"\xd4\x05x\x05\xd6\xff\x00\x00\x00\x00\x06"
    decoded = _core.decode(data)
    assert decoded == {None: 1, True: 2, 2.5: 3, b"b": 4, ExtType(5, b"x"): 5, epoch: 6}


def test_cached_keys_are_the_right_ones() -> None:
    # More keys than the cache holds, in all lengths around its limit, twice.
    names = {f"{'k' * (i % 35)}{i}": i for i in range(5000)}
    for _ in range(2):
        assert _core.decode(_core.encode(names)) == names


def test_floats_of_32_bits_and_special_values_decode() -> None:
    assert _core.decode(b"\xca\x3f\x00\x00\x00") == 0.5
    assert math.isnan(_core.decode(_core.encode(math.nan)))
    assert _core.decode(_core.encode([math.inf, -math.inf])) == [math.inf, -math.inf]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda it: array.array("B", it)])
def test_all_bytes_like_objects_decode(kind: Callable[[bytes], Any]) -> None:
    assert _core.decode(kind(b"\x93\x01\x02\x03")) == [1, 2, 3]


def test_decoding_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        _core.decode("text")  # type: ignore[arg-type]


def test_decoded_objects_are_not_kept_alive_or_leaked() -> None:
    data = _core.encode({"a": [object.__name__, 1.5, b"x" * 10, {"b": "c" * 50}]})

    def blocks() -> int:
        for _ in range(1000):
            _core.encode(_core.decode(data))
            with pytest.raises(DecodeError):
                _core.decode(data[:-1])
            with pytest.raises(EncodeError):
                _core.encode({"a": [1, Opaque()]})
        gc.collect()
        return sys.getallocatedblocks()

    blocks()
    before = blocks()
    assert abs(blocks() - before) < 200


# JSON

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=40), inner, max_size=10),
    max_leaves=30,
)


@given(json_values, st.booleans(), st.sampled_from([None, 2]))
@settings(deadline=None, max_examples=150)
def test_json_decodes_as_the_standard_library_does(value: object, ensure_ascii: bool, indent: int | None) -> None:
    decoded = _core.decode_json(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent))
    assert decoded == value
    assert repr(decoded) == repr(value)  # int stays int, -0.0 stays -0.0


@given(st.text(alphabet='{}[]":,0123456789.eE+-\\utrfalsnNI \n\x00édcDC', max_size=30))
@settings(deadline=None, max_examples=500)
def test_json_accepts_what_the_standard_library_accepts(text: str) -> None:
    try:
        expected: Any = json.loads(text)
    except ValueError:
        json_error(text)
        return
    assert repr(_core.decode_json(text)) == repr(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a JSON value at offset 0 of the JSON text, where it ends"),
        ("01", "expected the end of the JSON text at offset 1"),
        ("1.", "expected a digit"),
        ("-", "expected a digit"),
        ('"a', "expected the closing quote"),
        ('"\n"', "control character"),
        ('"\\x"', "expected an escape sequence"),
        ('"\\u12é4"', "four hexadecimal digits"),
        ("[1,]", "expected a JSON value at offset 3"),
        ('{"a"}', "expected ':'"),
        ('{"a":1,}', "expected a name"),
        ("{1:2}", "expected a name"),
        ("[1 2]", "expected ',' or ']'"),
        ("trué", "expected a JSON value"),
        ("9" * 4301, "more than 4300 digits"),
    ],
)
def test_invalid_json_is_a_decode_error_that_says_where(text: str, reason: str) -> None:
    assert reason in json_error(text)


@pytest.mark.parametrize("unit", ["[", '{"a":'])
def test_deeply_nested_json_is_refused_before_the_stack_is_used(unit: str) -> None:
    assert "nests deeper than 256" in json_error(unit * 100_000)


def test_json_of_256_levels_decodes() -> None:
    assert _core.decode_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) == nested(
        MAX_DEPTH - 1, lambda it: [it] if it else [[]]
    )


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("unit", ["{}", "[]", '{"":0}'])
def test_a_few_megabytes_of_json_never_become_hundreds(unit: str) -> None:
    text = "[" + ",".join([unit] * (3_000_000 // (len(unit) + 1))) + "]"
    assert growth_of(_core.decode_json, text) < 64 * 1024 * 1024 + 16 * len(text) + EXCEPTION_SIZE


def test_json_text_with_lone_surrogates_is_refused() -> None:
    assert "lone surrogate" in json_error('"\ud800"')
