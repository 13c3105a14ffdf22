"""The work of one `map`: pulls inputs, asks, and keeps the outcomes until they are taken."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ._outcome import Outcome, Progress
from ._requests import Tally

Ask = Callable[[Any, Tally], Awaitable[Any]]
"""Gives the result for an input, and counts the attempts."""


@dataclass(frozen=True)
class Plan:
    """What a `map` was told."""

    workers: int
    """As many inputs may be in flight."""
    window: int
    """As many inputs may have been pulled whose outcomes are not taken yet."""
    ordered: bool
    total: int | None
    on_progress: Callable[[Progress], object] | None


class Run:
    """Pulls inputs, asks, and keeps the outcomes until they are taken. Used from one event loop.

    It does not know who takes them, so that it can be ended where nobody does any more. While it has tasks, it is in
    `registry`.
    """

    def __init__(
        self,
        inputs: Iterator[Any] | AsyncIterator[Any],
        ask: Ask,
        why_stop: Callable[[], Exception | None],
        plan: Plan,
        registry: set[Run],
    ) -> None:
        self.error: BaseException | None = None
        """What there is to raise when the outcomes are taken."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The one that it runs on, when it has begun."""
        self._inputs = inputs
        self._ask = ask
        self._why_stop = why_stop
        self._plan = plan
        self._registry = registry
        self._pulled = self._ok = self._failed = self._in_flight = 0
        self._completed = self._taken = 0
        self._outcomes: dict[int, Outcome] = {}
        self._pulls_no_more = False
        self._workers: set[asyncio.Task[None]] = set()
        self._one_pulls = asyncio.Lock()
        self._wait_for_room: deque[asyncio.Future[None]] = deque()
        self._waits_for_outcome: asyncio.Future[None] | None = None

    # --- for whoever takes the outcomes ---

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._pulled, self._ok, self._failed, self._in_flight, self._plan.total)

    def start(self) -> None:
        """Begin, on the running loop; does nothing where it has begun or was ended."""
        if self.loop is not None or self._pulls_no_more:
            return
        self.loop = asyncio.get_running_loop()
        self._registry.add(self)
        for _ in range(self._plan.workers):
            worker = self.loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_ended)

    def take(self) -> Outcome | None:
        """The next outcome, or None where it is not there yet."""
        outcome = self._outcomes.pop(self._taken, None)
        if outcome is not None:
            self._taken += 1
            self._let_pull(1)
        return outcome

    def is_over(self) -> bool:
        """Whether no further outcome will come."""
        return not self._workers

    async def changed(self) -> None:
        """Wait until there may be another outcome, or it is over."""
        self._waits_for_outcome = asyncio.get_running_loop().create_future()
        await self._waits_for_outcome

    def stop(self, error: Exception) -> None:
        """Pull nothing more, and raise the error after the outcomes of what is under way."""
        if not self._pulls_no_more:
            self.error = error
            self._stop()

    def end(self) -> None:
        """Pull nothing more, and cancel what is under way; outcomes that are there can still be taken."""
        self._stop()
        for worker in list(self._workers):
            worker.cancel()

    async def ended(self) -> None:
        """Wait until no task is left."""
        if self._workers:
            await asyncio.wait(list(self._workers))

    # --- the work ---

    async def _work(self) -> None:
        is_async = isinstance(self._inputs, AsyncIterator)
        while not self._pulls_no_more:
            if self._pulled - self._taken >= self._plan.window:
                await self._room()
                continue
            pulled = await self._pull() if is_async else self._pull_now()
            if pulled is not None:
                await self._answer(*pulled)

    def _pull_now(self) -> tuple[int, Any] | None:
        if (why := self._why_stop()) is not None:
            self.error = why
            self._stop()
            return None
        try:
            return self._have_pulled(next(self._inputs))  # type: ignore[arg-type]
        except StopIteration:
            self._stop()
            return None
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever takes the outcomes, after these
            self.error = error
            self._stop()
            return None

    async def _pull(self) -> tuple[int, Any] | None:
        async with self._one_pulls:
            # Others have pulled meanwhile.
            if self._pulls_no_more or self._pulled - self._taken >= self._plan.window:
                return None
            if (why := self._why_stop()) is not None:
                self.error = why
                self._stop()
                return None
            try:
                return self._have_pulled(await self._inputs.__anext__())  # type: ignore[union-attr]
            except StopAsyncIteration:
                self._stop()
                return None
            except BaseException as error:
                # A cancellation that was not asked for is the inputs' own, and raised as all that they raise.
                if self._pulls_no_more and isinstance(error, asyncio.CancelledError):
                    raise
                self.error = error
                self._stop()
                return None

    def _have_pulled(self, given: Any) -> tuple[int, Any]:
        index = self._pulled
        self._pulled += 1
        self._in_flight += 1
        return index, given

    async def _answer(self, index: int, given: Any) -> None:
        began = time.perf_counter()
        tally = Tally()
        result = error = None
        try:
            result = await self._ask(given, tally)
        except Exception as raised:  # noqa: BLE001 - it is this input's outcome
            error = raised
            self._failed += 1
        except BaseException as raised:
            self._failed += 1
            if not isinstance(self.error, Exception) or not isinstance(raised, asyncio.CancelledError):
                self._in_flight -= 1
                raise
            # The pool was closed, perhaps between the failure of the request and this: somebody takes the outcomes.
            error = self.error
        else:
            self._ok += 1
        self._in_flight -= 1
        latency = time.perf_counter() - began
        outcome = Outcome.of(index=index, input=given, result=result, error=error, attempts=tally.sent, latency=latency)
        self._outcomes[index if self._plan.ordered else self._completed] = outcome
        self._completed += 1
        if self._taken in self._outcomes:
            self._wake()
        self._tell_progress()

    def _tell_progress(self) -> None:
        if self._plan.on_progress is None:
            return
        try:
            self._plan.on_progress(self.progress)
        except Exception as error:  # noqa: BLE001 - as for all callbacks: it is reported, and the work goes on
            message = "on_progress raised"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    # --- waiting ---

    async def _room(self) -> None:
        room = asyncio.get_running_loop().create_future()
        self._wait_for_room.append(room)
        await room

    def _let_pull(self, count: int) -> None:
        while count and self._wait_for_room:
            room = self._wait_for_room.popleft()
            if not room.done():
                room.set_result(None)
                count -= 1

    def _stop(self) -> None:
        """Pull nothing more."""
        self._pulls_no_more = True
        self._let_pull(len(self._wait_for_room))

    def _wake(self) -> None:
        if self._waits_for_outcome is not None and not self._waits_for_outcome.done():
            self._waits_for_outcome.set_result(None)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self.error = self.error or error
            self._stop()
        if not self._workers:
            self._registry.discard(self)
            self._wake()
