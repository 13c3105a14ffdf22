"""What every reliability test asserts and measures with."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import KEY

from fal_realtime import RealtimeClient, RealtimeConnection, ReconnectPolicy

FAST = ReconnectPolicy(initial_delay=0.02, max_delay=0.1, stable_after=0.0)
"""Delays that a test can wait for."""


def connect(url: str, **options: Any) -> RealtimeConnection:
    """A connection without a token request, a throttle and a proxy, which reconnects fast."""
    tls = {name: options.pop(name) for name in ("ssl", "extra_ca", "client_cert") if name in options}
    # To another network namespace, too, without TLS: the key is none.
    client = RealtimeClient(KEY, base_url=url, trust_env=False, allow_cleartext=True, **tls)
    return client.connect("local/echo", **{"use_jwt": False, "throttle_interval": 0, "reconnect": FAST, **options})


def once_and_in_order(received: Iterable[int]) -> None:
    """No number came twice, and none before a smaller one."""
    numbers = list(received)
    wrong = [pair for pair in itertools.pairwise(numbers) if pair[0] >= pair[1]]
    assert not wrong, f"{len(wrong)} of {len(numbers)} came again or late, the first after {wrong[0][0]}: {wrong[0][1]}"


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def delays_of(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The seconds after which attempts were made again, as the log says."""
    found = (re.search(r"trying again in ([\d.]+) s", record.getMessage()) for record in caplog.records)
    return [float(each[1]) for each in found if each]


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir())) - 1


def threads() -> int:
    """How many threads this process has, native ones too."""
    return len(list(Path("/proc/self/task").iterdir()))


def is_within(now: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether there are no more descriptors, and no more threads, than before. Fewer is no leak."""
    return now[0] <= before[0] and now[1] <= before[1]
