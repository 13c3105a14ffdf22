"""What every reliability test asserts and measures with."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fal_realtime import RealtimeClient, RealtimeConnection, ReconnectPolicy

KEY = "key-id:key-secret"

FAST = ReconnectPolicy(initial_delay=0.02, max_delay=0.1, stable_after=0.0)
"""Delays that a test can wait for."""

LIMIT = 10.0
"""Seconds after which a wait has failed."""


def connect(url: str, **options: Any) -> RealtimeConnection:
    """A connection without a token request, a throttle and a proxy, which reconnects fast."""
    tls = {name: options.pop(name) for name in ("ssl", "extra_ca", "client_cert") if name in options}
    # To another network namespace, too, without TLS: the key is none.
    client = RealtimeClient(KEY, base_url=url, trust_env=False, allow_cleartext=True, **tls)
    return client.connect("local/echo", **{"use_jwt": False, "throttle_interval": 0, "reconnect": FAST, **options})


def accounted(connection: RealtimeConnection) -> Mapping[str, int]:
    """The statistics, of which both equations hold."""
    stats = connection.stats()
    ways_out = ("written", "coalesced", "dropped", "failed", "withdrawn", "pending")
    ways_in = ("delivered", "received_dropped", "late", "received_pending")
    assert stats["accepted"] == sum(stats[way] for way in ways_out), stats  # type: ignore[literal-required]
    assert stats["received"] == sum(stats[way] for way in ways_in), stats  # type: ignore[literal-required]
    return stats


def once_and_in_order(received: Iterable[int]) -> None:
    """No number came twice, and none before a smaller one."""
    numbers = list(received)
    wrong = [pair for pair in itertools.pairwise(numbers) if pair[0] >= pair[1]]
    assert not wrong, f"{len(wrong)} of {len(numbers)} came again or late, the first after {wrong[0][0]}: {wrong[0][1]}"


async def until(condition: Callable[[], object], what: str, timeout: float = LIMIT) -> float:
    """Wait until the condition holds; the seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout, f"{what}: not within {timeout} s"
        await asyncio.sleep(0.002)
    return time.monotonic() - start


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir())) - 1


def threads() -> int:
    """How many threads this process has, native ones too."""
    return len(list(Path("/proc/self/task").iterdir()))
