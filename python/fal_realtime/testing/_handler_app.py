"""A Python app of a `LocalServer`: its handler, its options, and what its inputs and results are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

AppKind = Literal["unary", "server_stream", "client_stream", "bidi"]


@dataclass(frozen=True)
class App:
    """A Python handler and its options, as `LocalServer.app` takes them."""

    handler: Callable[..., Any]
    kind: AppKind
    input_type: Callable[..., Any] | None
    session_timeout: float | None
    buffering: int | None
    max_batch_size: int
    emit_timings: bool
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes | str]

    def input(self, message: bytes) -> Any:
        """The input that a message is; raises what its decoder or its type raises."""
        value = self.decode(message)
        return self.input_type(**value) if self.input_type is not None else value

    def output(self, result: Any) -> bytes | str:
        """The message for what a handler gave; raises `TypeError` for what is neither a dict nor a model."""
        return self.encode(_as_dict(result))


def _as_dict(result: Any) -> dict[str, Any]:
    if isinstance(result, dict):
        return cast("dict[str, Any]", result)
    if hasattr(result, "dict"):
        # What `dict()` gives without its warning of deprecation: names of the fields, not aliases.
        dump = result.model_dump if hasattr(result.__class__, "__pydantic_serializer__") else result.dict
        return cast("dict[str, Any]", dump())
    explanation = f"Expected a dict or pydantic model as output, got {type(result)}"
    raise TypeError(explanation)
