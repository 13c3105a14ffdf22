"""Shows how far a batch is, where somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fal_realtime._display import Display, display_for

from ._summary import Summary


class Bar:
    """Redraws a display, no more often than makes sense."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._next = 0.0
        self._newest: Summary | None = None

    def show(self, summary: Summary) -> None:
        """Show it, or keep it until it is time."""
        self._newest = summary
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._display.interval
            self._draw(summary)

    def finish(self) -> None:
        """Show the newest state, and leave the place tidy."""
        if self._newest is not None:
            self._draw(self._newest)
        self._display.finish()

    def _draw(self, summary: Summary) -> None:
        done = summary.known + summary.ok + summary.failed
        rate = (summary.ok + summary.failed) / summary.seconds if summary.seconds else 0.0
        self._display.update(done, f"{summary.failed} failed, {rate:,.1f} a second")


@contextmanager
def bar_for(total: int | None, wanted: bool | None) -> Iterator[Bar | None]:
    """A bar on stderr, if that is wanted; by default where it is a terminal."""
    if wanted is False or (wanted is None and (sys.stderr is None or not sys.stderr.isatty())):
        yield None
        return
    bar = Bar(display_for(total))
    try:
        yield bar
    finally:
        bar.finish()
