"""What a journal raises."""

from __future__ import annotations

from fal_realtime._exceptions import FalRealtimeError


class JournalError(FalRealtimeError):
    """The journal of a batch cannot be read or written, or belongs to another one; what it holds is kept."""
