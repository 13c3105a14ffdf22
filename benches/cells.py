"""What is measured: each cell is one kind of work on one transport with one size of message."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 64
"""Messages in flight when pipelined."""


@dataclass(frozen=True)
class Cell:
    """One table of the report."""

    work: str
    scheme: str
    size: str
    window: int = 1
    connections: int = 1
    callback_us: int = 0
    think_ms: float = 0.0
    seconds: float | None = None
    """Fixed length of the measurement, where the work defines it."""
    rounds: int | None = None
    """At most this many rounds, where one takes very long."""

    @property
    def id(self) -> str:
        """Stable name, for JSON and for the targets."""
        parts = [self.work, self.scheme, self.size]
        if self.work in ("connections", "mass", "sparse", "application", "idle"):
            parts.append(str(self.connections))
        if self.callback_us:
            parts.append(f"{self.callback_us}us")
        return "/".join(parts)

    @property
    def title(self) -> str:
        """For people."""
        words = {
            "roundtrip": "round trips, one at a time",
            "pipeline": f"pipelined, {self.window} in flight",
            "connections": f"{self.connections:,} connections, one in flight each",
            "sparse": f"{self.connections:,} connections, each thinks for {self.think_ms:g} ms on average",
            "application": f"{self.connections:,} connections, {self.callback_us} µs of Python on the loop a result",
            "blocked": "pongs while Python does not let the loop run",
            "idle": f"{self.connections:,} connections without traffic, {self.seconds or 0:g} s",
            "memory": f"memory a connection, over {self.connections:,}",
            "connect": "from connect to the first result",
            "saturated": f"a loop saturated with callbacks of {self.callback_us} µs, {self.seconds or 0:g} s",
            "mass": f"{self.connections:,} connections: open, echo, close",
            "codec": "codec alone",
        }[self.work]
        return f"{words} · {self.size}" + ("" if self.work == "codec" else f" · {self.scheme}")


SPARSE = (
    ("200B", 1, 1000.0),
    ("200B", 100, 100.0),
    ("200B", 1_000, 200.0),
    ("image", 50, 100.0),
)
"""Size, connections, and the time that each thinks, in milliseconds."""
SPARSE_SECONDS = 3.0

FULL_SIZES = ("200B", "10KB", "100KB", "1MB", "image")
SCHEMES = ("ws", "wss")


def cells(*, quick: bool) -> list[Cell]:
    """All cells, or a selection that takes a few minutes."""
    sizes = ("200B", "100KB") if quick else FULL_SIZES
    many = (100,) if quick else (100, 1_000)
    seconds = 1.0 if quick else 3.0
    found = [Cell("codec", "-", size) for size in sizes]
    for scheme in SCHEMES:
        found += [Cell("pipeline", scheme, size, window=WINDOW) for size in sizes]
        found += [Cell("roundtrip", scheme, size) for size in sizes]
        found += [Cell("connections", scheme, "200B", connections=count) for count in many]
        found.append(Cell("memory", scheme, "200B", connections=200 if quick else 1_000, rounds=3))
        found.append(Cell("connect", scheme, "200B"))
        found.append(Cell("mass", scheme, "200B", connections=1_000 if quick else 10_000, rounds=1))
    for scheme in SCHEMES:
        found += [
            Cell("sparse", scheme, size, connections=count, think_ms=think_ms, seconds=SPARSE_SECONDS)
            for size, count, think_ms in SPARSE
            if not quick or count == 100
        ]
    found.append(Cell("application", "ws", "200B", connections=100, callback_us=20))
    found.append(Cell("blocked", "ws", "200B", rounds=3))
    if not quick:
        found += [Cell("idle", scheme, "200B", connections=100, seconds=20.0, rounds=3) for scheme in SCHEMES]
        found.append(Cell("idle", "ws", "200B", connections=10_000, seconds=20.0, rounds=1))
    found += [Cell("saturated", "ws", "200B", callback_us=us, seconds=seconds) for us in (300, 2_000)]
    return found


METRICS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "roundtrip": (("p50_us", "p50 µs", 1), ("p99_us", "p99 µs", 1), ("loop_us", "loop µs", 2), ("cpu_us", "cpu µs", 2)),
    "pipeline": (("rate", "messages/s", 0), ("loop_us", "loop µs", 2), ("cpu_us", "cpu µs", 2)),
    "sparse": (
        ("cpu_us", "cpu µs", 1),
        ("p50_us", "p50 µs", 1),
        ("p99_us", "p99 µs", 1),
        ("loop_us", "loop µs", 1),
        ("wakes", "wakes a message", 3),
    ),
    "application": (("rate", "messages/s", 0), ("loop_us", "loop µs", 2), ("cpu_us", "cpu µs", 2)),
    "blocked": (
        ("first_ms", "blocked 2 s: first ms", 1),
        ("later_ms", "then p99 ms", 2),
        ("computing_ms", "computing: max ms", 1),
        ("lost", "lost", 0),
    ),
    "idle": (("cpu_percent", "cpu % of a core", 4),),
    "connections": (("rate", "messages/s", 0), ("loop_us", "loop µs", 2), ("cpu_us", "cpu µs", 2)),
    "memory": (("idle_kb", "idle KB", 1), ("warm_kb", "warm KB", 1)),
    "connect": (("cold_ms", "cold ms", 2), ("warm_ms", "warm ms", 2)),
    "saturated": (("completed", "completed", 0), ("load", "loop load", 2)),
    "mass": (
        ("open_s", "open s", 2),
        ("echo_s", "echo s", 2),
        ("close_s", "close s", 2),
        ("idle_kb", "idle KB", 1),
        ("warm_kb", "warm KB", 1),
    ),
    "codec": (("encode_ns", "encode ns", 0), ("decode_ns", "decode ns", 0)),
}
"""For each work the columns: key of the result, title, decimals. The first is the one that ratios are made of."""
