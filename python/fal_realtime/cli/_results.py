"""The outcomes of inputs: each is a line on stdout, and at the end it is said how it went."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import RequestTimeoutError

from ._advice import advice_for
from ._output import Lines
from ._progress import Progress, is_terminal
from ._status import FAILED, OK

if TYPE_CHECKING:
    from fal_realtime._connection import RealtimeConnection

    from ._media import Folder

_END = object()
"""What stands for the end of a stream."""


class Results:
    """Writes outcomes, and counts them."""

    def __init__(self, options: argparse.Namespace, folder: Folder | None) -> None:
        self.more: dict[str, Any] = {}
        """What a program is told at the end beside the counts."""
        self.more_in_words = ""
        """What a person is told there."""
        self._options = options
        self._folder = folder
        self._lines = Lines(None if folder is None else folder.keep)
        self._ok = self._failed = 0
        self._first_failure = ""
        self._began = time.monotonic()

    @property
    def status(self) -> int:
        """The exit status that they come to."""
        return FAILED if self._failed else OK

    def tell(self, index: int, seconds: float, result: Any, error: Exception | None) -> None:
        """Write an outcome."""
        if error is None:
            self.line(index, seconds, result, None)
            return
        advice = advice_for(error, self._options.app)
        self.line(index, seconds, None, {"type": type(error).__name__, "message": str(error), "advice": advice})

    def line(self, index: int, seconds: float, result: Any, error: dict[str, str] | None) -> None:
        """Write an outcome whose error, if there is one, is in words."""
        line: dict[str, Any] = {"index": index, "seconds": round(seconds, 6)}
        if error is None:
            self._ok += 1
            line["result"] = result
        else:
            self._failed += 1
            line["error"] = error
            self._first_failure = self._first_failure or f"input {index}: {_words(error)}"
        if self._folder is not None:
            self._folder.begin(f"{index:06}")
        self._lines.write(line)

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        seconds = time.monotonic() - self._began
        done = self._ok + self._failed
        progress.show(done, f"{self._failed} failed, {done / seconds if seconds else 0:,.1f} a second")

    @contextmanager
    def summed_up(self, *, if_it_fails: bool = True) -> Iterator[None]:
        """Say at the end how it went; also, unless something else says it, where it was stopped."""
        try:
            yield
        except BrokenPipeError:
            raise
        except BaseException as error:
            if if_it_fails:
                interrupted = isinstance(error, (KeyboardInterrupt, asyncio.CancelledError))
                self._sum_up("interrupted: " if interrupted else "")
            raise
        self._sum_up()

    def _sum_up(self, why: str = "") -> None:
        """Say it to a person, or where something failed."""
        if self._options.json:
            summary: dict[str, Any] = {"ok": self._ok, "failed": self._failed}
            if self._folder is not None:
                summary["saved"] = self._folder.saved
            print(json.dumps(summary | self.more), file=sys.stderr)
            return
        if self._failed or why or is_terminal(sys.stderr):
            saved = "" if self._folder is None else f", {self._folder.saved} files saved"
            seconds = time.monotonic() - self._began
            say(f"{why}{self._ok} results, {self._failed} failed{saved}, in {seconds:.1f} s{self.more_in_words}")
        if self._first_failure:
            say(f"the first that failed is {self._first_failure}")


async def stream_of(
    connection: RealtimeConnection[Any, Any], given: dict[str, Any], timeout: float
) -> AsyncIterator[Any]:
    """The results of an input that is answered with a stream, `timeout` seconds for each."""
    await connection.send(given)
    results = aiter(connection)
    while True:
        # Before Python 3.12 `asyncio.wait_for` forgets that it was cancelled where a result comes at that moment.
        coming: asyncio.Future[Any] = asyncio.ensure_future(anext(results, _END))
        try:
            done, _ = await asyncio.wait({coming}, timeout=timeout)
        finally:
            coming.cancel()
        if not done:
            message = f"no result of the stream came within {timeout:g} s"
            raise RequestTimeoutError(message)
        if (result := coming.result()) is _END:
            return
        yield result


def as_error(text: str | None) -> dict[str, str] | None:
    """An error of a journal, `Class: message`, as it is written."""
    if text is None:
        return None
    kind, _, message = text.partition(": ")
    return {"type": kind, "message": message, "advice": ""}


def say(text: str) -> None:
    """Say something on stderr."""
    print(f"fal-realtime: {text}", file=sys.stderr)


def _words(error: dict[str, str]) -> str:
    advice = f"\nfal-realtime: what to do: {error['advice']}" if error["advice"] else ""
    return f"{error['type']}: {error['message']}{advice}"
