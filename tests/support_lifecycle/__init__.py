"""What the lifecycle tests share: a peer that does what it is told, and waits that are bounded."""

from __future__ import annotations

from .books import Watcher, check
from .ending import end_all_tasks
from .peer import Peer
from .waiting import LOOPS, run_in, until, until_sync

__all__ = ["LOOPS", "Peer", "Watcher", "check", "end_all_tasks", "run_in", "until", "until_sync"]
