"""What came in a session, compared with what was recorded of it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from fal_realtime.testing._recording import NO_CLOSE_FRAME, decoded

if TYPE_CHECKING:
    from fal_realtime.testing._recording import RecordedSession, Step

_NANOSECONDS = 1e-9
_SHOWN = 60
_SESSION_OVER = ("x-fal-error", "TIMEOUT")


@dataclass(frozen=True)
class _Result:
    message: bytes | str
    content: Any
    request_id: str | None
    seconds: float | None
    """Since its input."""


@dataclass
class Compared:
    """How a session differs from the recorded one."""

    inputs: int
    results: int
    recorded: int
    """Results."""
    equal: int = 0
    differences: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Which of the recorded results, from 1 on, and what is different."""
    missing: int = 0
    extra: int = 0
    latencies: list[float] = field(default_factory=list[float])
    """Seconds."""
    recorded_latencies: list[float] = field(default_factory=list[float])
    ending: str = ""
    """How it ended, if that is another way."""


def compare(recorded: RecordedSession, came: RecordedSession, ignored: Sequence[str]) -> Compared:
    """Compare two sessions; a result is compared with that of its `request_id`, without one with the next."""
    expected, seen = _results(recorded), _results(came)
    compared = Compared(sum(step.what == "input" for step in came.steps), len(seen), len(expected))
    compared.latencies = [result.seconds for result in seen if result.seconds is not None]
    compared.recorded_latencies = [result.seconds for result in expected if result.seconds is not None]
    left: defaultdict[str | None, deque[_Result]] = defaultdict(deque)
    for result in seen:
        left[result.request_id].append(result)
    for number, result in enumerate(expected, 1):
        if not left[result.request_id]:
            compared.missing += 1
            continue
        other = left[result.request_id].popleft()
        # Bytes first: what is not equal to itself, such as NaN, is the same all the same.
        different = other.message != result.message and _difference(
            _without(result.content, ignored), _without(other.content, ignored)
        )
        if different:
            compared.differences.append((number, different))
        else:
            compared.equal += 1
    compared.extra = sum(len(results) for results in left.values())
    if (here := _ending(came)) != (there := _ending(recorded)):
        compared.ending = f"{here}, recorded: {there}"
    return compared


def is_result(message: bytes | str) -> bool:
    """Whether a message is a result or an error: timings, and that a session is over, are none."""
    content = decoded(message)
    if not (isinstance(message, str) and isinstance(content, dict)):
        return True
    said = cast("dict[str, Any]", content)
    return said.get("type") != "x-fal-message" and (said.get("type"), said.get("error")) != _SESSION_OVER


def _results(session: RecordedSession) -> list[_Result]:
    """Its results, with the time since the input of the same `request_id`, or since the last one."""
    sent: dict[str | None, int] = {}
    results: list[_Result] = []
    for step in session.steps:
        if step.what == "close" or (step.what == "answer" and not is_result(step.message)):
            continue
        content = decoded(step.message)
        request_id = cast("dict[str, Any]", content).pop("request_id", None) if isinstance(content, dict) else None
        request_id = request_id if isinstance(request_id, str) else None
        if step.what == "input":
            sent[request_id] = sent[None] = step.time
        else:
            began = sent.get(request_id, sent.get(None))
            seconds = None if began is None else (step.time - began) * _NANOSECONDS
            results.append(_Result(step.message, content, request_id, seconds))
    return results


def closed_by_server(session: RecordedSession) -> Step | None:
    """How the server ended it, if it did."""
    closes = [step for step in session.steps if step.what == "close" and step.by == "server"]
    return closes[-1] if closes else None


def _ending(session: RecordedSession) -> str:
    if (close := closed_by_server(session)) is None:
        return "closed by the client"
    if close.code == NO_CLOSE_FRAME:
        return "broken off"
    return f"closed by the server with {close.code}"


def _without(value: Any, names: Sequence[str]) -> Any:
    """The value without the fields of these names."""
    if not names:
        return value
    if isinstance(value, dict):
        pairs = cast("dict[object, Any]", value).items()
        return {name: _without(each, names) for name, each in pairs if name not in names}
    if isinstance(value, list):
        return [_without(each, names) for each in cast("list[object]", value)]
    return value


def _difference(recorded: Any, came: Any, place: str = "") -> str:
    """Where they differ first, and how; empty where they do not."""
    if recorded == came:
        return ""
    if isinstance(recorded, dict) and isinstance(came, dict):
        return _of_fields(cast("dict[object, Any]", recorded), cast("dict[object, Any]", came), place)
    if isinstance(recorded, list) and isinstance(came, list):
        items, others = cast("list[object]", recorded), cast("list[object]", came)
        if len(items) == len(others):
            return _of_fields(dict(enumerate(items)), dict(enumerate(others)), place)
    where = f"{place}: " if place else ""
    return f"{where}{_shown(came)}, recorded: {_shown(recorded)}"


def _of_fields(recorded: Mapping[Any, Any], came: Mapping[Any, Any], place: str) -> str:
    before = f"{place}." if place else ""
    for name, value in recorded.items():
        if name not in came:
            return f"{before}{name}: is not there"
        if different := _difference(value, came[name], f"{before}{name}"):
            return different
    return next((f"{before}{name}: is new" for name in came if name not in recorded), "")


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, (dict, list)):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(cast('list[object]', value))}"
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
