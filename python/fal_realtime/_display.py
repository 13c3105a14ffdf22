"""Shows how far a session of the command line is: a bar, a line redrawn in place, or a line a second."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO


class Display(Protocol):
    """Where progress is shown."""

    interval: float
    """Seconds between two updates that make sense here."""

    def update(self, done: int, text: str) -> None:
        """Show that `done` results came, and `text`."""

    def finish(self) -> None:
        """Leave the place tidy for what is printed next."""


def display_for(total: int | None, stream: TextIO | None = None) -> Display:
    """The best display that `stream` can have: `rich`'s where it is installed and the stream is a terminal.

    `total` is None where nobody knows it. The stream is stderr unless given.
    """
    out: TextIO = sys.stderr if stream is None else stream
    if not out.isatty():
        return _Lines(total, out)
    try:
        return _Rich(total)
    except ImportError:
        return _RedrawnLine(total, out)


class _Lines:
    interval = 1.0

    def __init__(self, total: int | None, stream: TextIO) -> None:
        self._of = "" if total is None else f"/{total}"
        self._stream = stream

    def update(self, done: int, text: str) -> None:
        self._stream.write(f"{done}{self._of} results  {text}\n")
        self._stream.flush()

    def finish(self) -> None:
        pass


class _RedrawnLine:
    interval = 0.1

    def __init__(self, total: int | None, stream: TextIO) -> None:
        self._of = "" if total is None else f"/{total}"
        self._stream = stream

    def update(self, done: int, text: str) -> None:
        # "Erase to the end of the line" (ECMA-48, EL), for when the line gets shorter.
        self._stream.write(f"\r{done}{self._of} results  {text}\x1b[K")
        self._stream.flush()

    def finish(self) -> None:
        self._stream.write("\n")
        self._stream.flush()


class _Rich:
    interval = 0.1

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("results  {task.fields[text]}"))
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total, text="")
        self._progress.start()

    def update(self, done: int, text: str) -> None:
        self._progress.update(self._task, completed=done, text=text)

    def finish(self) -> None:
        self._progress.stop()
