"""Shows how far a command is, where a person looks and nothing else is written."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fal_realtime._display import Display


def is_terminal(stream: object) -> bool:
    """Whether a stream, which a process may lack, is a terminal."""
    return stream is not None and getattr(stream, "isatty", bool)()


class Progress:
    """Redraws a display, no more often than makes sense; without one it does nothing."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._next = 0.0
        self._newest: tuple[int, str] | None = None

    def show(self, done: int, text: str) -> None:
        """Show it, or keep it until it is time."""
        if self._display is None:
            return
        self._newest = done, text
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._display.interval
            self._display.update(done, text)

    def finish(self) -> None:
        """Show the newest state, and leave the place tidy."""
        if self._display is None:
            return
        if self._newest is not None:
            self._display.update(*self._newest)
        self._display.finish()
        self._display = None


@contextmanager
def progress_for(total: int | None, *, for_programs: bool = False) -> Iterator[Progress]:
    """Progress on stderr where that is a terminal and stdout is none, on which the results say how far it is."""
    display = None
    if is_terminal(sys.stderr) and not is_terminal(sys.stdout) and not for_programs:
        from fal_realtime._display import display_for

        display = display_for(total)
    progress = Progress(display)
    try:
        yield progress
    finally:
        progress.finish()


def note(text: str) -> None:
    """Say something to a person who looks on; to nobody where stderr is no terminal."""
    if is_terminal(sys.stderr):
        print(text, file=sys.stderr)
