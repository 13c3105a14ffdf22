"""The columns that say what became of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fal_realtime import msgpack
from fal_realtime._exceptions import EncodeError

from ._libraries import load
from ._plan import RESULT

if TYPE_CHECKING:
    from fal_realtime.pool import Outcome


def added(table: Any, outcomes: Iterable[Outcome], fields: Mapping[str, tuple[str, Any]] | None) -> Any:
    """The table with the outcomes of its rows beside them."""
    arrow = load("pyarrow")
    wanted = {RESULT: ("", arrow.binary())} if fields is None else fields
    account = {"status": arrow.string(), "error": arrow.string(), "attempts": arrow.int32(), "latency": arrow.float64()}
    types = {**{name: kind for name, (_, kind) in wanted.items()}, **account}
    values: dict[str, list[Any]] = {name: [] for name in types}
    for outcome in outcomes:
        error = None if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"
        found: dict[str, Any] = {}
        if error is None:
            try:
                found = _found(arrow, outcome.result, wanted)
            except (EncodeError, ValueError) as raised:
                error = f"{type(raised).__name__}: {raised}"
        for name in wanted:
            values[name].append(found.get(name))
        values["status"].append("ok" if error is None else "error")
        values["error"].append(error)
        values["attempts"].append(outcome.attempts)
        values["latency"].append(outcome.latency)
    for name, kind in types.items():
        table = table.append_column(name, arrow.array(values[name], kind))
    return table


def _found(arrow: Any, result: Any, wanted: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """What is wanted of a result, by the names of the columns.

    Raises:
        ValueError: It is not there, or of another type.
        EncodeError: The whole of it has no encoding.
    """
    found: dict[str, Any] = {}
    for name, (path, kind) in wanted.items():
        if not path:
            found[name] = msgpack.encode(result)
            continue
        value = _at(result, path)
        try:
            arrow.array([value], kind)
        except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
            message = f"{path} of the result is no {kind}: {error}"
            raise ValueError(message) from error
        found[name] = value
    return found


def _at(result: Any, path: str) -> Any:
    """What is at a path such as `images.0.content`."""
    here = result
    try:
        for step in path.split("."):
            here = here[step if hasattr(here, "keys") else int(step)]
    except (KeyError, IndexError, TypeError, ValueError):
        message = f"the result has no {path}"
        raise ValueError(message) from None
    return here
