"""A run of many inputs: each has one outcome, which is a line on stdout."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import (
    DecodeError,
    EncodeError,
    MessageTooLargeError,
    RealtimeError,
    RequestTimeoutError,
)

from . import _background
from ._advice import advice_for
from ._output import Lines
from ._progress import Progress, is_terminal, progress_for
from ._status import FAILED, OK, CommandError

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient

    from ._inputs import Inputs
    from ._media import Folder

_OF_ONE_INPUT = (DecodeError, EncodeError, MessageTooLargeError, RealtimeError, RequestTimeoutError)
"""Errors after which the next input may have results all the same."""

_END = object()
"""What stands for the end of a stream."""


class Job:
    """One run of the command."""

    def __init__(
        self, options: argparse.Namespace, client: RealtimeClient, inputs: Inputs, folder: Folder | None
    ) -> None:
        self._options = options
        self._client = client
        self._inputs = inputs
        self._folder = folder
        self._lines = Lines(None if folder is None else folder.keep)
        self._ok = self._failed = 0
        self._first_failure = ""
        self._began = time.monotonic()

    def run(self) -> int:
        """Send all inputs; the exit status.

        Raises:
            FalRealtimeError: The app cannot be reached at all.
            UsageError: An input is none; what came before it has its outcome.
        """
        try:
            if self._options.resume is not None:
                asyncio.run(self._resumable())
            elif self._options.stream:
                asyncio.run(self._streams())
            else:
                asyncio.run(self._requests())
        except BrokenPipeError:
            raise
        except BaseException as error:
            # A journal says itself what it holds.
            if self._options.resume is None:
                self._sum_up("interrupted: " if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)) else "")
            raise
        self._sum_up()
        return FAILED if self._failed else OK

    # --- the ways to ask ---

    async def _requests(self) -> None:
        options = self._options
        size = options.connections if self._inputs.total is None else min(options.connections, self._inputs.total)
        pool = self._client.pool(options.app, size=size, path=options.path)
        with progress_for(self._inputs.total, for_programs=options.json) as progress:
            async with pool:
                outcomes = pool.map(
                    self._given(), ordered=not options.unordered, timeout=options.timeout, retries=options.retries
                )
                async with outcomes:
                    async for outcome in outcomes:
                        self._tell(outcome.index, outcome.latency, outcome.result, outcome.error)
                        self._show(progress)

    async def _streams(self) -> None:
        index = 0
        with progress_for(None, for_programs=self._options.json) as progress:
            async for given in self._given():
                began = time.monotonic()
                try:
                    async for result in self._stream_of(given):
                        self._tell(index, time.monotonic() - began, result, None)
                        self._show(progress)
                except _OF_ONE_INPUT as error:
                    self._tell(index, time.monotonic() - began, None, error)
                index += 1

    async def _stream_of(self, given: dict[str, Any]) -> AsyncIterator[Any]:
        timeout = self._options.timeout
        async with self._client.connect(self._options.app, streaming=True, path=self._options.path) as connection:
            await connection.send(given)
            results = aiter(connection)
            try:
                while (result := await asyncio.wait_for(anext(results, _END), timeout)) is not _END:
                    yield result
            except asyncio.TimeoutError:
                message = f"no result of the stream came within {timeout:g} s"
                raise RequestTimeoutError(message) from None

    async def _resumable(self) -> None:
        from fal_realtime import batch

        options = self._options
        try:
            summary = await batch.run(
                options.app,
                self._given(),
                journal=options.resume,
                client=self._client,
                size=options.connections,
                timeout=options.timeout,
                retries=options.retries,
                retry_failed=options.retry_failed,
                progress=False if options.json else None,
                **({} if options.path is None else {"path": options.path}),
            )
        except (KeyboardInterrupt, asyncio.CancelledError):
            _say(f"{options.resume} keeps what is done: run the same again, and it goes on there")
            raise
        for record in batch.results(options.resume):
            # A journal may know more inputs than were given now.
            if isinstance(record.id, int) and record.id < summary.read:
                self._line(record.id, record.latency, record.result, _as_error(record.error))
        if summary.left:
            message = f"{summary.left} inputs have no outcome: no app has seen them"
            raise CommandError(message, f"run the same again: {options.resume} keeps the others")

    async def _given(self) -> AsyncIterator[dict[str, Any]]:
        async for given in _background.each(self._inputs):
            yield given

    # --- what is told ---

    def _tell(self, index: int, seconds: float, result: Any, error: Exception | None) -> None:
        if error is None:
            self._line(index, seconds, result, None)
            return
        advice = advice_for(error, self._options.app)
        self._line(index, seconds, None, {"type": type(error).__name__, "message": str(error), "advice": advice})

    def _line(self, index: int, seconds: float, result: Any, error: dict[str, str] | None) -> None:
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

    def _show(self, progress: Progress) -> None:
        seconds = time.monotonic() - self._began
        done = self._ok + self._failed
        progress.show(done, f"{self._failed} failed, {done / seconds if seconds else 0:,.1f} a second")

    def _sum_up(self, why: str = "") -> None:
        """Say how it went: to a person, or where something failed."""
        if self._options.json:
            summary: dict[str, Any] = {"ok": self._ok, "failed": self._failed}
            if self._folder is not None:
                summary["saved"] = self._folder.saved
            print(json.dumps(summary), file=sys.stderr)
            return
        if self._failed or why or is_terminal(sys.stderr):
            saved = "" if self._folder is None else f", {self._folder.saved} files saved"
            seconds = time.monotonic() - self._began
            _say(f"{why}{self._ok} results, {self._failed} failed{saved}, in {seconds:.1f} s")
        if self._first_failure:
            _say(f"the first that failed is {self._first_failure}")


def _as_error(text: str | None) -> dict[str, str] | None:
    """An error of a journal, `Class: message`, as it is written."""
    if text is None:
        return None
    kind, _, message = text.partition(": ")
    return {"type": kind, "message": message, "advice": ""}


def _words(error: dict[str, str]) -> str:
    advice = f"\nfal-realtime: what to do: {error['advice']}" if error["advice"] else ""
    return f"{error['type']}: {error['message']}{advice}"


def _say(text: str) -> None:
    print(f"fal-realtime: {text}", file=sys.stderr)
