"""One connection that is recorded while inputs are sent and have their outcomes."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import FalRealtimeError

from . import _background
from ._interruptible import run_until_interrupted
from ._progress import progress_for
from ._results import Results, stream_of
from ._status import CommandError, UsageError

if TYPE_CHECKING:
    from fal_realtime._client import RealtimeClient
    from fal_realtime._connection import RealtimeConnection
    from fal_realtime._recording import Recording

    from ._inputs import Inputs
    from ._media import Folder


def check_free(options: argparse.Namespace) -> None:
    """See whether there is a recording already, before anything is asked.

    Raises:
        UsageError: There is, and it is not to be replaced.
    """
    if Path(options.recording).is_file() and not options.force:
        message = f"{options.recording} is there already"
        raise UsageError(message, "give another name, or replace it with --force")


class Session:
    """One run of the command."""

    def __init__(
        self, options: argparse.Namespace, client: RealtimeClient, inputs: Inputs, folder: Folder | None
    ) -> None:
        self._options = options
        self._client = client
        self._inputs = inputs
        self._results = Results(options, folder)
        self._is_empty = False
        """There is a file, and nothing was opened."""

    def run(self) -> int:
        """Send the inputs, until there are no more or the time is over; the exit status.

        Raises:
            FalRealtimeError: The app cannot be reached, or the connection is over.
            CommandError: Something is missing in the recording.
            UsageError: An input is none, or the file cannot be made.
        """
        with self._results.summed_up():
            try:
                run_until_interrupted(self._record())
            finally:
                if self._is_empty and (file := Path(self._options.recording)).is_file():
                    file.unlink()
        return self._results.status

    async def _record(self) -> None:
        options = self._options
        connect, timeout = self._client.connect, options.timeout
        if options.stream:
            connection = connect(options.app, path=options.path, open_timeout=timeout, streaming=True)
        else:
            # What is no answer to a request would fill the memory of the connection.
            connection = connect(options.app, path=options.path, open_timeout=timeout, on_result=_leave_out)
        try:
            recording = connection.record(options.recording)
        except OSError as error:
            message = f"{options.recording} cannot be written: {error.strerror or error}"
            raise UsageError(message, "give a file in a folder that can be written") from error
        self._is_empty = True
        try:
            # The connection ends before its recording, so that its end is in it.
            async with recording, connection:
                self._is_empty = False
                await self._within_the_duration(connection, recording)
        finally:
            self._introduce(recording)
        if recording.dropped:
            message = f"{recording.dropped} messages are missing in {options.recording}: the disk was too slow"
            raise CommandError(message, "record to a faster disk")

    async def _within_the_duration(self, connection: RealtimeConnection[Any, Any], recording: Recording) -> None:
        asking = asyncio.ensure_future(self._ask(connection, recording))
        try:
            done, _ = await asyncio.wait({asking}, timeout=self._options.duration)
            if done:
                asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, connection: RealtimeConnection[Any, Any], recording: Recording) -> None:
        """Send one input after the other; each has its outcome before the next is sent."""
        index = 0
        with progress_for(self._inputs.total, for_programs=self._options.json) as progress:
            async for given in _background.each(self._inputs):
                began = time.monotonic()
                try:
                    async for result in self._answers(connection, given):
                        self._results.tell(index, time.monotonic() - began, result, None)
                        self._results.show(progress)
                except FalRealtimeError as error:
                    self._results.tell(index, time.monotonic() - began, None, error)
                    self._check_that_it_goes_on(connection, index)
                if not recording.is_open:
                    return  # why, is raised where it is closed
                index += 1

    async def _answers(self, connection: RealtimeConnection[Any, Any], given: dict[str, Any]) -> AsyncIterator[Any]:
        timeout = self._options.timeout
        if self._options.stream:
            async for result in stream_of(connection, given, timeout):
                yield result
        else:
            yield await connection.request(given, timeout=timeout)

    def _check_that_it_goes_on(self, connection: RealtimeConnection[Any, Any], index: int) -> None:
        if connection.state == "closed":
            message = f"the connection is closed; input {index} was the last"
            raise CommandError(message, "see why its input failed")
        if self._options.stream:
            # What still comes of it would be taken for the next one's.
            message = f"the stream of input {index} has not ended; it was the last"
            raise CommandError(message, "see why it failed; send the other inputs in a recording of their own")

    def _introduce(self, recording: Recording) -> None:
        """Have the summary say what the file holds, if there is something."""
        if self._is_empty:
            return
        path, messages, dropped = self._options.recording, recording.messages, recording.dropped
        self._results.more = {"recording": path, "messages": messages, "dropped": dropped}
        self._results.more_in_words = f"; {messages} messages recorded in {path}"


def _leave_out(_result: Any) -> None:
    """Nobody asked for it; it is recorded all the same."""
