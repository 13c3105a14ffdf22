"""Figures of many durations."""

from __future__ import annotations

import math
from collections.abc import Sequence


def milliseconds(seconds: Sequence[float], percent: float) -> float | None:
    """The percentile (nearest rank) of durations; None of none."""
    if not (ordered := sorted(seconds)):
        return None
    return round(ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1] * 1000, 3)
