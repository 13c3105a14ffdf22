"""The clients that are measured: a name, the module and class that drive it, and the packages it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["async", "sync", "process", "codec", "harness"]

WORKS: dict[Kind, tuple[str, ...]] = {
    "async": (
        *("roundtrip", "pipeline", "connections", "memory", "connect", "saturated", "mass"),
        *("sparse", "application", "idle", "blocked"),
    ),
    "harness": ("sparse",),
    "sync": ("roundtrip", "pipeline", "connect"),
    "process": ("roundtrip", "pipeline", "connections"),
    "codec": ("codec",),
}
"""What can be measured of each kind of client."""


@dataclass(frozen=True)
class Entry:
    """One client in one style of use."""

    name: str
    factory: str
    """`module:Class` inside `peers`; for another language or a codec, the function that measures it."""
    packages: tuple[str, ...] = ()
    kind: Kind = "async"
    environment: tuple[tuple[str, str], ...] = ()


_OURS = ("fal_realtime",)

PEERS: tuple[Entry, ...] = (
    Entry("fal-realtime/callback", "fal_realtime_peer:Callback", _OURS),
    Entry("fal-realtime/recv", "fal_realtime_peer:Recv", _OURS),
    Entry("fal-realtime/request", "fal_realtime_peer:Request", _OURS),
    Entry("fal-realtime/sync", "fal_realtime_peer:Sync", _OURS, kind="sync"),
    Entry(
        "fal-realtime/callback+spin",
        "fal_realtime_peer:Callback",
        _OURS,
        environment=(("FAL_REALTIME_SPIN_US", "50"),),
    ),
    Entry("picows/callback", "picows_peer:Callback", ("picows", "msgspec")),
    Entry("picows/await", "picows_peer:Await", ("picows", "msgspec")),
    Entry("picows/request", "picows_peer:Request", ("picows", "msgspec")),
    Entry("fal-client", "fal_client_peer:FalClient", ("fal_client", "websockets", "msgpack")),
    Entry("fal-client/sync", "fal_client_peer:FalClientSync", ("fal_client", "websockets", "msgpack"), kind="sync"),
    Entry("fal-client/compat", "compat_peer:Compat", _OURS),
    Entry("fal-client/compat-sync", "compat_peer:CompatSync", _OURS, kind="sync"),
    Entry("aiohttp", "aiohttp_peer:Aiohttp", ("aiohttp", "msgspec")),
    Entry("websockets", "websockets_peer:Websockets", ("websockets", "ormsgpack")),
    Entry("wreq", "wreq_peer:Wreq", ("wreq", "msgspec")),
    Entry("rnet", "rnet_peer:Rnet", ("rnet", "msgspec")),
    Entry("harness", "harness_peer:Harness", kind="harness"),
    Entry("sockets", "sockets_peer:Sockets", ("msgspec",), kind="harness"),
    Entry("node", "external:node", kind="process"),
    Entry("rust", "external:rust", kind="process"),
    Entry("codec/fal-realtime", "codecs:fal_realtime", _OURS, kind="codec"),
    Entry("codec/msgspec", "codecs:msgspec", ("msgspec",), kind="codec"),
    Entry("codec/ormsgpack", "codecs:ormsgpack", ("ormsgpack",), kind="codec"),
    Entry("codec/msgpack", "codecs:msgpack", ("msgpack",), kind="codec"),
)

BY_NAME = {entry.name: entry for entry in PEERS}
