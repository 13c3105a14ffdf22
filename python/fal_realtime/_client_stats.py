"""What a client counts."""

from __future__ import annotations

from ._core import LatencyHistogram
from ._types import Stats


class ClientStats(Stats):
    """What `client.stats()` counts: the sums of `Stats` over all connections of the client, and this.

    What waited when its connection was let go counts as `failed`, or as `received_dropped`. The durations are measured
    by the system's monotonic clock.
    """

    openings: int
    """Times that a connection became `active`."""
    opening_failures: int
    """Attempts to open that failed. Not those that the caller ended by closing."""
    request_latency: LatencyHistogram
    """Of `request`: from when its message was given to the socket to when its answer was read from it. Not counted:
    requests that failed, timed out or were cancelled, and whose answer is thus an error, late, or none."""
    opening_time: LatencyHistogram
    """Of each opening: from the beginning of the attempt that succeeded, with `before_attempt`, the token, the
    handshake and `on_open`, to the state `active`. Its `count` is `openings`."""
    ping_latency: LatencyHistogram
    """Of each answered ping: from when it was given to the system to when its pong was read."""
