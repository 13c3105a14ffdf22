"""The client's msgpack codec, for programs that encode or decode by themselves.

```python
from functools import partial

from fal_realtime import msgpack

data = msgpack.encode({"prompt": "a cat", "seeds": {7: 1}})
value = msgpack.decode(data)

# A hook for values of your own, on a connection:
client.connect(app, encode_message=partial(msgpack.encode, default=lambda image: image.tobytes()))
```

A connection encodes its inputs in the same way, but for two things: there, keys must be `str` (or of a type that is
encoded as one), since fal's server refuses others, and there is no `default`.

| Python | msgpack |
|---|---|
| `None`, `bool`, `int`, `float`, `str`, NumPy's scalars | themselves; integers from -2**63 to 2**64 - 1 |
| `bytes`, `bytearray`, `memoryview`, other buffers | bin |
| `list`, `tuple`, `set`, `frozenset`, `deque`, other sequences and sets | array |
| `dict`, other mappings | map |
| dataclasses, attrs and msgspec classes | map of the fields; msgspec's by their encoded names |
| pydantic models and dataclasses | map of `model_dump(by_alias=True)`; `bytes` stay bin |
| `datetime`, `date`, `time`, `timedelta` | str in ISO 8601, as pydantic writes it in JSON |
| `Enum` | its value |
| `UUID`, `Decimal`, `Fraction`, paths, IP addresses, the URLs of pydantic, yarl and httpx, `re.Pattern` | str |
| `ExtType`, and that of msgpack and msgspec; `msgpack.Timestamp` | extension |

| msgpack | Python |
|---|---|
| timestamp | an aware `datetime` in UTC; one that `datetime` cannot hold: `ExtType` with code -1 |
| other extensions | `ExtType` |
| a str that is not UTF-8 | `bytes` |
| an array or a map as a key | a tuple: of the items, or of the pairs |

Containers nest at most 256 levels deep.

Encoding takes 0.8 to 1.3 times as long as with `msgspec.msgpack`, and 0.5 to 1.0 times as long as with `ormsgpack`;
decoding 0.9 to 1.0 times as long as with either. What was measured, and how, is in `docs/performance.md`.
"""

from __future__ import annotations

from ._core import ExtType, decode, encode
from ._exceptions import DecodeError, EncodeError

__all__ = ["DecodeError", "EncodeError", "ExtType", "decode", "encode"]
