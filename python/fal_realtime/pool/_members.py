"""The connections of a pool: when one is opened, used, replaced and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fal_realtime._exceptions import ConnectionClosedError

from ._brake import Brake, again
from ._late import hold_places
from ._loads import Loads
from ._member import Member
from ._stats import add, nothing
from ._tasks import Tasks
from ._waiters import Waiters

if TYPE_CHECKING:
    from fal_realtime._connection import RealtimeConnection
    from fal_realtime._types import ConnectionState

    from ._options import PoolOptions

Connect = Callable[[Callable[["ConnectionState", "Exception | None"], object]], "RealtimeConnection"]
"""Makes a connection that calls back with each new state, and the error that led to it."""

_logger = logging.getLogger("fal_realtime")


class Members:
    """The connections of a pool, from one event loop.

    At most `size` at any time, those that are being closed included. One more is opened when a request finds none that
    is idle, and when there are fewer than `prewarm`; one at a time while openings fail.
    """

    def __init__(self, connect: Connect, options: PoolOptions, app: str) -> None:
        self.waiters = Waiters()
        self.brake = Brake(options.policy, options.open_timeout)
        self.counts = {"opened": 0, "opening_failures": 0, "retired": 0, "lost": 0}
        self.ended = nothing()
        self.all: set[Member] = set()
        self._connect = connect
        self._options = options
        self._app = app
        self._loads = Loads(options.depth)
        self._opening = 0
        self._tasks = Tasks()
        self._is_over = False

    # --- places ---

    def take(self) -> Member | None:
        """A place on the connection with the fewest requests, or None where none has room; opens another if of use."""
        member = self._loads.take()
        if (member is None or member.load > 1) and len(self.all) < self._options.size:
            self.grow(1)
        return member

    async def wait(self, timeout: float | None) -> Member:
        """Wait for a place, in the order of the calls."""
        if (refusal := self.hopeless()) is not None:
            raise refusal
        return await self.waiters.wait(timeout, self.release, lambda: self.brake.last_error)

    def release(self, member: Member) -> None:
        """Give a place back: to who has waited the longest, or to the free ones."""
        if member.phase == "ready":
            if self.waiters.give(member):
                return
            self._loads.remove(member)
            member.load -= 1
            self._loads.add(member)
            return
        member.load -= 1
        if member.phase == "closing" and not member.load and member in self.all:
            self._close(member)

    def answered(self, member: Member) -> None:
        """Give back the place of a request that has its result."""
        if not member.results:
            self.brake.bore_fruit()
        member.results += 1
        self.release(member)

    def failed(self, member: Member, *, early: bool) -> None:
        """Give back the place of a request that has none; `early`: it ended before its answer came."""
        if member.phase == "ready" and not member.is_usable():
            # The news of it are on their way. Until then nobody else is to wait for its next session.
            self._set_aside(member)
        if not early:
            self.release(member)
            return
        # The app may still work on that input: another one on top of it would be more than `depth`.
        was_settling = member.owed > 0
        member.owe()
        for _ in range(member.settled()):
            self.release(member)
        if member.owed and not was_settling:
            self._tasks.start(hold_places(member, self.release, self._give_up))

    def _give_up(self, member: Member) -> None:
        """Replace a connection whose answers do not come."""
        _logger.warning("%s: no answer to a request that ended early: its connection is replaced", self._app)
        if not member.results:
            self.brake.slow_down(asyncio.get_running_loop().time())
        self.retire(member)

    # --- opening ---

    def grow(self, wanted: int) -> None:
        """Open connections for so many requests, as far as that is allowed."""
        if self._is_over or self.brake.refusal is not None:
            return
        at_once = 1 if self.brake.is_on else self._options.size
        try:
            while len(self.all) < self._options.size and self._opening < min(wanted + len(self.waiters), at_once):
                self._add()
        except Exception as error:  # noqa: BLE001 - such as that of a client that is closed: told to all who wait
            self.brake.refusal = error
            self._tell_if_hopeless()

    def prewarm(self) -> list[asyncio.Task[None]]:
        """Open as many as there are to be at least; the tasks that do."""
        tasks: list[asyncio.Task[None]] = []
        if not self._is_over and self.brake.refusal is None:
            while len(self.all) < self._options.prewarm:
                tasks.append(self._add())
        return tasks

    def _add(self) -> asyncio.Task[None]:
        member: Member | None = None

        def changed(state: ConnectionState, reason: Exception | None) -> None:
            if member is not None:
                self._changed(member, state, reason)

        member = Member(self._connect(changed))
        self.all.add(member)
        self._opening += 1
        return self._tasks.start(self._open(member))

    async def _open(self, member: Member) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._may_open()
            began = loop.time()
            await member.connection.open()
        except BaseException as error:
            self._opening -= 1
            self._forget(member)
            member.connection.close()
            if not isinstance(error, Exception):
                raise
            self._not_opened(error, began, loop.time())
            raise
        self._opening -= 1
        self.counts["opened"] += 1
        self.brake.opened()
        if self._options.max_age is not None:
            member.age = loop.call_later(self._options.max_age, self.retire, member)
        self._use(member)
        # It may be lost already, which was not recorded while it opened.
        self._changed(member, member.connection.state, member.connection.last_error)
        self._replace()

    async def _may_open(self) -> None:
        """Wait for the back-off, which may have grown when it is over."""
        now = asyncio.get_running_loop().time
        while (delay := self.brake.delay(now())) > 0:  # noqa: ASYNC110 - it waits for a time, not for an event
            await asyncio.sleep(delay)
        if self.brake.refusal is not None:
            raise again(self.brake.refusal)

    def _not_opened(self, error: Exception, began: float, now: float) -> None:
        if self.brake.refusal is None:
            self.counts["opening_failures"] += 1
            self.brake.not_opened(error, began, now)
            _logger.info("%s: a connection of the pool could not be opened: %s", self._app, error)
        if self.brake.refusal is not None:
            self._tell_if_hopeless()
        elif self.brake.is_overdue(now) and not self._any_hope():
            self.waiters.fail(lambda: again(error))
        else:
            self._replace()

    # --- using ---

    def _use(self, member: Member) -> None:
        """Let it take requests: first those that wait."""
        member.phase = "ready"
        while member.load < self._options.depth and self.waiters.give(member):
            member.load += 1
        self._loads.add(member)

    def _set_aside(self, member: Member) -> None:
        """Let it take none until its next session is open."""
        self._loads.remove(member)
        member.phase = "reconnecting"

    def _changed(self, member: Member, state: ConnectionState, reason: Exception | None) -> None:
        """Record a connection's new state."""
        if member not in self.all:
            return
        if member.phase == "opening":
            # The server has put it off. It tries again by itself; others are to wait, too.
            if state == "waiting" and reason is not None:
                self.brake.put_off(reason, asyncio.get_running_loop().time())
            return
        if state == "closed":
            self._lost(member, reason)
        elif member.phase == "reconnecting" and member.is_usable():
            self._use(member)
        elif member.phase == "ready" and not member.is_usable():
            self._set_aside(member)

    def _lost(self, member: Member, reason: Exception | None) -> None:
        """It has ended by itself, or was closed by somebody else; its requests have been told."""
        was_closing = member.phase == "closing"
        self._loads.remove(member)
        self._forget(member)
        member.phase = "closing"
        if was_closing or self._is_over:
            return
        self.counts["lost"] += 1
        now = asyncio.get_running_loop().time()
        error = reason or member.connection.last_error
        if member.results or error is None:
            self.brake.slow_down(now)
        else:
            # Where others work, it is this connection's own fault, however often it has tried.
            sessions = 1 if self._any_fruit() else member.connection.stats()["reconnects"] + 1
            self.brake.was_fruitless(error, sessions, now)
        _logger.info("%s: a connection of the pool has ended: %s", self._app, error)
        self._tell_if_hopeless()
        self._replace()

    # --- taking out ---

    def retire(self, member: Member) -> None:
        """Let it take no more requests, and close it when it has none."""
        if member not in self.all or member.phase == "closing":
            return
        self._loads.remove(member)
        member.phase = "closing"
        self.counts["retired"] += 1
        if not member.load:
            self._close(member)

    def _close(self, member: Member) -> None:
        self._tasks.start(self._closed(member))

    async def _closed(self, member: Member) -> None:
        try:
            await member.connection.aclose()
        finally:
            self._forget(member)
            self._replace()

    def _forget(self, member: Member) -> None:
        """It is no member any more; what it has counted is kept."""
        if member in self.all:
            self.all.remove(member)
            if member.age is not None:
                member.age.cancel()
            add(self.ended, member.connection.stats())

    def _replace(self) -> None:
        """Open what is still wanted."""
        if len(self.all) < self._options.prewarm:
            self.grow(self._options.prewarm - len(self.all))
        elif self.waiters:
            self.grow(0)

    def _any_hope(self) -> bool:
        """Whether a place may come from a connection that there is."""
        return any(member.phase in ("ready", "reconnecting") for member in self.all)

    def _any_fruit(self) -> bool:
        return any(member.results and member.phase == "ready" for member in self.all)

    def hopeless(self) -> Exception | None:
        """Why no place will come any more, or None."""
        refusal = self.brake.refusal
        return None if refusal is None or self._any_hope() else again(refusal)

    def _tell_if_hopeless(self) -> None:
        """Fail those that wait for what cannot come."""
        refusal = self.hopeless()
        if refusal is not None:
            self.waiters.fail(lambda: again(refusal))

    # --- the end ---

    def end(self) -> None:
        """Open nothing more, and begin to close: what is under way fails."""
        if self._is_over:
            return
        self._is_over = True
        self._tasks.cancel()
        self.waiters.fail(lambda: ConnectionClosedError("the pool was closed while the request waited for room", 1000))
        for member in self.all:
            self._loads.remove(member)
            member.phase = "closing"
            member.connection.close()

    async def ended_all(self) -> None:
        """Wait until nothing is left: no socket and no task."""
        await self._tasks.ended()
        await asyncio.gather(*(member.connection.aclose() for member in self.all), return_exceptions=True)
        for member in list(self.all):
            self._forget(member)
