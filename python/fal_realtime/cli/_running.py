"""A run of many inputs: each has one outcome."""

from __future__ import annotations

import argparse
import asyncio
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
from ._interruptible import run_until_interrupted
from ._progress import progress_for
from ._results import Results, as_error, say, stream_of
from ._status import CommandError

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient

    from ._inputs import Inputs
    from ._media import Folder

_OF_ONE_INPUT = (DecodeError, EncodeError, MessageTooLargeError, RealtimeError, RequestTimeoutError)
"""Errors after which the next input may have results all the same."""


class Job:
    """One run of the command."""

    def __init__(
        self, options: argparse.Namespace, client: RealtimeClient, inputs: Inputs, folder: Folder | None
    ) -> None:
        self._options = options
        self._client = client
        self._inputs = inputs
        self._results = Results(options, folder)

    def run(self) -> int:
        """Send all inputs; the exit status.

        Raises:
            FalRealtimeError: The app cannot be reached at all.
            UsageError: An input is none; what came before it has its outcome.
        """
        # A journal says itself what it holds.
        with self._results.summed_up(if_it_fails=self._options.resume is None):
            if self._options.resume is not None:
                run_until_interrupted(self._resumable())
            elif self._options.stream:
                run_until_interrupted(self._streams())
            else:
                run_until_interrupted(self._requests())
        return self._results.status

    async def _requests(self) -> None:
        options = self._options
        size = options.connections if self._inputs.total is None else min(options.connections, self._inputs.total)
        pool = self._client.pool(options.app, size=size, path=options.path)
        with progress_for(self._inputs.total, for_programs=options.json) as progress:
            async with pool:
                outcomes = pool.map(
                    _background.each(self._inputs),
                    ordered=not options.unordered,
                    timeout=options.timeout,
                    retries=options.retries,
                )
                async with outcomes:
                    async for outcome in outcomes:
                        self._results.tell(outcome.index, outcome.latency, outcome.result, outcome.error)
                        self._results.show(progress)

    async def _streams(self) -> None:
        index = 0
        with progress_for(None, for_programs=self._options.json) as progress:
            async for given in _background.each(self._inputs):
                began = time.monotonic()
                try:
                    async for result in self._stream_of(given):
                        self._results.tell(index, time.monotonic() - began, result, None)
                        self._results.show(progress)
                except _OF_ONE_INPUT as error:
                    self._results.tell(index, time.monotonic() - began, None, error)
                index += 1

    async def _stream_of(self, given: dict[str, Any]) -> AsyncIterator[Any]:
        async with self._client.connect(self._options.app, streaming=True, path=self._options.path) as connection:
            async for result in stream_of(connection, given, self._options.timeout):
                yield result

    async def _resumable(self) -> None:
        from fal_realtime import batch

        options = self._options
        try:
            summary = await batch.run(
                options.app,
                _background.each(self._inputs),
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
            say(f"{options.resume} keeps what is done: run the same again, and it goes on there")
            raise
        for record in batch.results(options.resume):
            # A journal may know more inputs than were given now.
            if isinstance(record.id, int) and record.id < summary.read:
                self._results.line(record.id, record.latency, record.result, as_error(record.error))
        if summary.left:
            message = f"{summary.left} inputs have no outcome: no app has seen them"
            raise CommandError(message, f"run the same again: {options.resume} keeps the others")
