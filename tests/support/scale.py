"""How much a test does that counts: little by default, all of it with FAL_REALTIME_SCALE=10."""

from __future__ import annotations

import os
import random

SCALE = float(os.environ.get("FAL_REALTIME_SCALE", "1"))
"""A factor of all that is counted, and of the time it may take."""

SEED = int(os.environ.get("FAL_REALTIME_SEED") or random.SystemRandom().randrange(2**32))
"""What random tests start from: shown with their figures, and taken from the environment to repeat a run."""


def scaled(number: int) -> int:
    """So many, as the scale is."""
    return max(1, round(number * SCALE))
