"""What commands write: JSON lines and rows on stdout, progress on stderr."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time as clock_time
from typing import Any, TextIO, cast

Keep = Callable[["bytes | str", str], "str | None"]
"""Takes bytes, or a str that may be a data URI, and where it stands; gives what stands there instead, None: itself."""


def json_text(value: Any, keep: Keep | None = None) -> str:
    """One line of JSON, in ASCII, of whatever a result holds.

    Bytes are data URIs unless `keep` puts them elsewhere. NaN and infinities, which JSON has not, are null.
    """
    return json.dumps(_plain(value, "", keep or _inline), allow_nan=False, separators=(", ", ": "))


class Lines:
    """Writes JSON lines to stdout, each of which is there at once for whoever reads them."""

    def __init__(self, keep: Keep | None = None, stream: TextIO | None = None) -> None:
        # Now, not later: a display of `rich` puts a stream of its own in the place of `sys.stdout`.
        self._stream = sys.stdout if stream is None else stream
        self._keep = keep

    def write(self, value: Mapping[str, Any]) -> None:
        """Write a line.

        Raises:
            BrokenPipeError: Nobody reads them any more.
        """
        self._stream.write(json_text(value, self._keep) + "\n")
        self._stream.flush()


def rows(named: Iterable[tuple[str, str]]) -> str:
    """Lines of a name and a text each."""
    return "\n".join(f"{name:<14} {text}" for name, text in named)


def _inline(data: bytes | str, _place: str) -> str | None:
    if isinstance(data, str):
        return None
    from ._media import kind_of

    return f"data:{kind_of(data)[0]};base64,{base64.b64encode(data).decode()}"


def _plain(value: Any, place: str, keep: Keep) -> Any:
    if value is None or isinstance(value, (bool, int)):
        plain: Any = value
    elif isinstance(value, float):
        plain = value if math.isfinite(value) else None
    elif isinstance(value, str):
        plain = keep(value, place) or value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        plain = keep(bytes(cast("bytes", value)), place)
    elif isinstance(value, Mapping):
        pairs = cast("Mapping[object, Any]", value).items()
        plain = {str(name): _plain(each, f"{place}.{name}", keep) for name, each in pairs}
    elif isinstance(value, Sequence):
        each_of = cast("Sequence[object]", value)
        plain = [_plain(each, f"{place}.{number}", keep) for number, each in enumerate(each_of)]
    elif isinstance(value, (date, clock_time)):
        plain = value.isoformat()
    else:
        plain = _plain_extension(value, place, keep)
    return plain


def _plain_extension(value: object, place: str, keep: Keep) -> Any:
    from fal_realtime.msgpack import ExtType

    if isinstance(value, ExtType):
        return {"code": value.code, "data": keep(value.data, f"{place}.data")}
    return str(value)
