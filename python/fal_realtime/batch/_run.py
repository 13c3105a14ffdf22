"""Runs a batch: what has no outcome in the journal is asked, and each outcome is written down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fal_realtime import _checks as check, msgpack
from fal_realtime._client import RealtimeClient
from fal_realtime._exceptions import (
    ApiError,
    AuthenticationError,
    ConnectionClosedError,
    EncodeError,
    FalRealtimeError,
    HandshakeError,
    MessageTooLargeError,
)
from fal_realtime._functions import is_async
from fal_realtime.pool._map import iterator_of

from ._bar import Bar, bar_for
from ._inputs import Inputs
from ._journal import Entry, Journal, path_of
from ._summary import Summary

if TYPE_CHECKING:
    from fal_realtime.pool import Map, Outcome


async def run(
    app: str,
    inputs: Iterable[Any] | AsyncIterable[Any],
    *,
    journal: str | os.PathLike[str],
    client: RealtimeClient | None = None,
    key: Callable[[Any], int | str] | None = None,
    size: int = 8,
    depth: int = 1,
    timeout: float | None = None,
    retries: int = 3,
    idempotent: bool = False,
    retry_failed: bool = False,
    progress: bool | None = None,
    on_progress: Callable[[Summary], object] | None = None,
    **pool_options: Any,
) -> Summary:
    """Ask an app for each of many inputs, and keep the outcomes in a file, so that it can go on after it was stopped.

        summary = await batch.run("fal-ai/fast-lcm-diffusion", inputs, journal="cats.journal")
        for record in batch.results("cats.journal"):
            save(record.id, record.unwrap())

    Run again with the same inputs, it asks only those that have no outcome. What was asked and not yet written down
    when the process died, at most `2 * size * depth` inputs, is asked once more. An error is an outcome, too, unless no
    app can have seen the input; `retry_failed` asks those again.

    Args:
        app: The app id, such as `fal-ai/fast-lcm-diffusion`.
        inputs: Any iterable, or asynchronous iterable, which gives the same inputs in each run.
        journal: The path of the file; it is made where there is none. An SQLite database, for one process at a time.
        client: Whose connections are used. Default: a `RealtimeClient` with the key of the environment.
        key: Gives an input's id, an int or str, by which later runs know it, wherever it stands. Default: its place
            among the inputs, from 0 on.
        size: The most connections: see `RealtimeClient.pool`.
        depth: The most requests under way on each: likewise.
        timeout: Seconds for each input, all attempts and the wait for room included. Default: none.
        retries: How often an input is sent again after an error that passes: see `Pool.request`.
        idempotent: It does no harm if an app gets an input twice: it is sent again also where its session was lost.
        retry_failed: Ask those again that have an error in the journal. A new outcome takes its place.
        progress: Show how far it is on stderr. Default: where that is a terminal.
        on_progress: Called with the `Summary` whenever outcomes have been written down; a plain function.
        **pool_options: Of `RealtimeClient.pool` and `connect`, such as `max_age` and `path`.

    Raises:
        JournalError: The journal cannot be opened, read or written, is in use, or is that of another app or of other
            inputs. It says what to do.
        AuthenticationError: The key was refused. What was done is kept, as with all that follow.
        HandshakeError: No connection could be opened, such as to an app that does not exist.
        ApiError: There was no token.
        ConnectionClosedError: The pool gave up: too many connections in a row brought no result.
        ValueError: An argument has a value that is not accepted, or `key` raises or gives the same id twice.
        TypeError: An argument is of the wrong type.
        Exception: What the inputs raised, after what was read before is done.
    """
    check.callable_or_none("key", key)
    check.callable_or_none("on_progress", on_progress)
    for name, function in (("key", key), ("on_progress", on_progress)):
        if is_async(function):
            message = f"{name} must be a plain function, not a coroutine function"
            raise TypeError(message)
    if progress is not None:
        check.boolean("progress", progress)
    check.boolean("retry_failed", retry_failed)
    path_of(journal)  # which checks it
    async with contextlib.AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(RealtimeClient())
        check.instance("client", client, RealtimeClient, "a RealtimeClient")
        pool = client.pool(app, size=size, depth=depth, **pool_options)
        total = len(inputs) if isinstance(inputs, Sized) else None
        iterator_of(inputs)  # which checks it
        kept = stack.enter_context(Journal(journal, f"{app} {pool_options.get('path', '')}".rstrip()))
        source = Inputs(inputs, kept, key, 2 * size * depth, retry_failed=retry_failed)
        outcomes = pool.map(source.unanswered(), ordered=False, timeout=timeout, retries=retries, idempotent=idempotent)
        batch = _Batch(kept, source, total, stack.enter_context(bar_for(total, progress)), on_progress)
        try:
            async with pool:
                await batch.record(outcomes)
        except (ApiError, AuthenticationError, ConnectionClosedError, HandshakeError) as error:
            kept_so_far = f"{kept.ok} results and {kept.failed} errors"
            error.message += f": {_advice(error)}, and run the same again ({kept.path} keeps {kept_so_far})"
            raise
        return batch.summary()


def run_sync(app: str, inputs: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Summary:
    """Do what `run` does, with its options, and return when it is done: for programs without an event loop.

    Raises:
        RuntimeError: An event loop runs in this thread: await `run` there.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - what asyncio documents for this question
        message = "an event loop runs in this thread: await batch.run(…) here"
        raise RuntimeError(message)
    return asyncio.run(run(app, inputs, **options))


class _Batch:
    """Writes the outcomes down, and counts them."""

    def __init__(
        self,
        journal: Journal,
        inputs: Inputs,
        total: int | None,
        bar: Bar | None,
        on_progress: Callable[[Summary], object] | None,
    ) -> None:
        self._journal = journal
        self._inputs = inputs
        self._total = total
        self._bar = bar
        self._on_progress = on_progress
        self._ok = self._failed = self._left = 0
        self._began = time.monotonic()

    def summary(self) -> Summary:
        """How far it is."""
        return Summary(
            read=self._inputs.read,
            known=self._inputs.known,
            ok=self._ok,
            failed=self._failed,
            left=self._left,
            in_flight=self._inputs.in_flight,
            total=self._total,
            journal_ok=self._journal.ok,
            journal_failed=self._journal.failed,
            seconds=time.monotonic() - self._began,
        )

    async def record(self, outcomes: Map) -> None:
        """Write down all of them: those that are there at once in one go, in a thread, since disks may be slow."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "fal-realtime-journal") as thread:
            async with outcomes:
                async for outcome in outcomes:
                    ready = [outcome]
                    while (another := outcomes.take_nowait()) is not None:
                        ready.append(another)
                    entries = [entry for each in ready if (entry := self._entry(each)) is not None]
                    await loop.run_in_executor(thread, self._journal.write, entries)
                    self._count(ready, entries)
        self._tell()

    def _entry(self, outcome: Outcome) -> Entry | None:
        """What is to be written down; None where the input is to be asked again by the next run."""
        result, error = None, outcome.error
        if error is None:
            try:
                result = _encoded(outcome.result)
            except Exception as raised:  # noqa: BLE001 - what a result of a type of one's own raises is its outcome
                error = raised
        elif _is_left(outcome):
            return None
        told = None if error is None else f"{type(error).__name__}: {error}"
        asked = self._inputs.of(outcome.index)
        return Entry(asked.id, asked.position, asked.input, result, told, outcome.attempts, outcome.latency)

    def _count(self, ready: list[Outcome], entries: list[Entry]) -> None:
        failed = sum(entry.error is not None for entry in entries)
        again = sum(self._inputs.of(outcome.index).is_again and not _is_left(outcome) for outcome in ready)
        self._failed += failed
        self._ok += len(entries) - failed
        self._left += len(ready) - len(entries)
        self._journal.ok += len(entries) - failed
        self._journal.failed += failed - again
        for outcome in ready:
            self._inputs.done(outcome.index)
        self._tell()

    def _tell(self) -> None:
        summary = self.summary()
        if self._bar is not None:
            self._bar.show(summary)
        if self._on_progress is None:
            return
        try:
            self._on_progress(summary)
        except Exception as error:  # noqa: BLE001 - as for all callbacks: it is reported, and the work goes on
            context = {"message": "on_progress raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def _encoded(result: Any) -> bytes:
    """A result as it is kept; its datetimes are to come back as such, but for naive ones, of which msgpack has none."""
    try:
        return msgpack.encode(result, timestamps=True)
    except EncodeError:
        return msgpack.encode(result)


def _advice(error: FalRealtimeError) -> str:
    """What whoever runs a batch can do about the error that ended it."""
    if isinstance(error, AuthenticationError):
        return "check the key (FAL_KEY, or the client's credentials)"
    if isinstance(error, (ApiError, HandshakeError)) and not error.retryable:
        return "check the app id, and that the key may use that app"
    if isinstance(error, ConnectionClosedError):
        return "see why the app ends its sessions"
    return "wait until it can be reached"


def _is_left(outcome: Outcome) -> bool:
    """Whether there is no result, and the error says nothing of the input: no app has seen it."""
    error = outcome.error
    return error is not None and (
        outcome.attempts == 0
        or isinstance(error, (ApiError, AuthenticationError, HandshakeError))
        or (isinstance(error, FalRealtimeError) and error.unprocessed and not isinstance(error, _OF_THE_INPUT))
    )


_OF_THE_INPUT = (EncodeError, MessageTooLargeError)
"""What is wrong with the input itself, and will be the next time."""
