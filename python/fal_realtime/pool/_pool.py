"""Connections of one app that share the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fal_realtime import _checks as check
from fal_realtime._exceptions import RequestTimeoutError
from fal_realtime._retrying import Attempts

from ._accounts import stats_of
from ._brake import again
from ._map import Map, iterator_of, plan_for
from ._members import Members
from ._options import PoolOptions, check_connect_options
from ._outcome import Progress
from ._requests import Requests, Tally, closed
from ._run import Run
from ._stats import PoolStats

if TYPE_CHECKING:
    from typing_extensions import Self

    from fal_realtime._connection import RealtimeConnection
    from fal_realtime._types import ConnectionState

_logger = logging.getLogger("fal_realtime")


class Pool:
    """Connections of one app that share the requests; made by `RealtimeClient.pool`, and used from one event loop.

        async with client.pool("fal-ai/fast-lcm-diffusion", size=8) as pool:
            result = await pool.request({"prompt": "a cat"}, timeout=30)

    A request goes to the connection with the fewest under way; of several, to the one that was used last. At most
    `depth` are under way on each. Where none has room, requests wait, and get it in the order in which they came.

    A request that ends early, by its timeout or because it is cancelled, keeps its place until its answer comes, since
    the app still works on it; for at most 10 seconds, after which that connection is replaced.

    A connection whose session is lost takes no requests until it has opened another one; one that ends is replaced. How
    that is limited: `reconnect` holds for each connection, and for the openings of the pool. Where an opening is
    refused for good (a key, an app that does not exist), or too many connections in a row bring no result, nothing is
    opened any more; when the connections that are left have ended too, each request raises the reason (`failure`).
    """

    def __init__(
        self,
        connect: Callable[..., RealtimeConnection],
        app: str,
        options: PoolOptions,
        connect_options: dict[str, Any],
    ) -> None:
        """Check the options; nothing is opened. Use `RealtimeClient.pool`.

        Raises:
            ValueError: An option has a value that is not accepted.
            TypeError: An option is of the wrong type.
        """
        check_connect_options(connect_options)
        self._app = app
        self._options = options
        self._strays = 0
        ours = {"on_error": partial(_log, app), "on_result": self._stray}
        self._connect = partial(connect, app, **{**ours, **connect_options})
        # What is not acceptable is to be told here, not by the first request. It opens nothing.
        self._spare: RealtimeConnection | None = self._connect()
        self._members = Members(self._make, options, app)
        self._requests = Requests(self._members)
        self._runs: set[Run] = set()

    # --- requests ---

    async def request(
        self, input: Any, *, timeout: float | None = None, retries: int = 0, idempotent: bool = False
    ) -> Any:
        """Send an input over one of the connections, and give its result, matched by `request_id`.

        The `request_id` is added unless the input has one; the app must copy it into its result.

        Args:
            input: What the app takes: a mapping, dataclass or model.
            timeout: Seconds for all of it: the wait for room, all attempts and the pauses between them. None: no limit.
            retries: How often it may be sent again after an error that passes: where no app can have seen the input
                (`error.unprocessed`), and with `idempotent=True` also where one can have (`error.retryable`).
            idempotent: It does no harm if an app gets the input twice.

        Raises:
            RequestTimeoutError: No answer, or no room, in time.
            RealtimeError: The server reported an error meanwhile.
            ConnectionLostError: The session was lost before the answer came.
            ConnectionClosedError: The pool is closed, or was closed meanwhile; or the connection ended.
            AuthenticationError: The credentials or the token were refused.
            HandshakeError: No connection could be opened within `open_timeout`, or the app refuses them for good.
            ApiError: There was no token, for the same reasons.
            EncodeError: The input cannot be encoded, or not carry a `request_id`.
        """
        if timeout is not None or type(retries) is not int or retries or type(idempotent) is not bool:
            Attempts(timeout, retries, idempotent=idempotent)  # which checks them
        return await self._requests.answer(input, timeout, retries, idempotent, Tally())

    def map(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        timeout: float | None = None,
        retries: int = 0,
        idempotent: bool = False,
        window: int | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Map:
        """Send many inputs, and give the outcome of each: a result, or the error that there is instead.

            async for outcome in pool.map(inputs):
                print(outcome.index, outcome.result if outcome.ok else outcome.error)

        An input is pulled when there is room for it: at most `size * depth` are in flight. If others use the pool too,
        these take turns with them. What the iterable raises is raised after the outcomes of what was pulled before.
        Where the pool cannot go on (it is closed, or see `failure`), it pulls no more and raises why.

        Args:
            inputs: Any iterable, or asynchronous iterable. Each `next` of a plain one is called on the event loop.
            ordered: Give the outcomes in the order of the inputs; False: as they come.
            timeout: As for `request`, for each input.
            retries: As for `request`, for each input.
            idempotent: As for `request`.
            window: As many inputs may have been pulled whose outcomes are not taken yet: what waits for an earlier one
                or for you takes memory. Default: `4 * size * depth`.
            on_progress: Called with the `Progress` after each outcome, on the loop; a plain function. What it raises is
                reported to the loop's exception handler.

        Raises:
            TypeError: An argument is of the wrong type, such as one input in place of many.
            ValueError: An argument has a value that is not accepted.
        """
        iterator, total = iterator_of(inputs)
        return self._map(
            iterator,
            total,
            ordered=ordered,
            timeout=timeout,
            retries=retries,
            idempotent=idempotent,
            window=window,
            on_progress=on_progress,
        )

    def _map(
        self,
        iterator: Iterator[Any] | AsyncIterator[Any],
        total: int | None,
        *,
        ordered: bool,
        timeout: float | None,
        retries: int,
        idempotent: bool,
        window: int | None,
        on_progress: Callable[[Progress], object] | None,
    ) -> Map:
        Attempts(timeout, retries, idempotent=idempotent)  # which checks them
        plan = plan_for(self._options.room, total, window, on_progress, ordered=ordered)

        def ask(given: Any, tally: Tally) -> Awaitable[Any]:
            return self._requests.answer(given, timeout, retries, idempotent, tally)

        return Map(Run(iterator, ask, self._why_stop, plan, self._runs))

    def _why_stop(self) -> Exception | None:
        """Why there is no use in further inputs."""
        return self._members.hopeless() if self._requests.takes_more else closed()

    # --- its life ---

    async def open(self) -> None:
        """Open `prewarm` connections now, where there are fewer. `async with` does it.

        Raises:
            AuthenticationError: The credentials or the token were refused.
            ApiError: The token request was answered with an error.
            HandshakeError: The WebSocket could not be opened.
            RequestTimeoutError: It took too long.
            ConnectionClosedError: The pool is closed.
        """
        if not self._requests.takes_more:
            raise closed()
        if self.failure is not None:
            raise again(self.failure)
        outcomes = await asyncio.gather(*self._members.prewarm(), return_exceptions=True)
        errors = [outcome for outcome in outcomes if outcome is not None]
        # Where some have opened, the others will be tried again.
        if errors and (self.failure is not None or len(errors) == len(outcomes)):
            raise errors[0]

    async def close(self, timeout: float | None = None) -> None:
        """Take no more requests, wait until those that were made are done, and close all connections.

        A `map` that is not at its end pulls no more inputs. Calling it again waits likewise. Cancelling it closes at
        once.

        Args:
            timeout: Seconds for what is under way, after which it fails and the connections are closed. None: no limit;
                0: at once.

        Raises:
            RequestTimeoutError: It took longer; says how many requests had no answer.
        """
        if timeout is not None:
            check.not_negative("timeout", timeout, "a number of seconds or None")
        left = 0
        try:
            await self._requests.done(timeout)
        finally:
            left = self._end()
            await self._ended()
        if left and timeout is not None:
            message = f"after {timeout} s {left} requests had no answer; the pool was closed"
            raise RequestTimeoutError(message)

    def _end(self) -> int:
        """Close at once; how many requests that fails."""
        left = self._requests.end()
        if left:
            _logger.warning("%s: the pool was closed with %d requests under way, which fail", self._app, left)
        self._members.end()
        for run in self._runs:
            run.stop(closed())
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        return left

    async def _ended(self) -> None:
        """Wait until nothing is left: no socket and no task."""
        await self._members.ended_all()
        # What was under way has failed with its connection. What is left waits for inputs, or to try again.
        for run in list(self._runs):
            run.end()
            await run.ended()

    async def __aenter__(self) -> Self:
        """Open `prewarm` connections; raises what an opening raised."""
        try:
            await self.open()
        except BaseException:
            # Nobody will own the pool.
            await self.close(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close: without an exception as `close(drain_timeout)` does, with one at once."""
        if kind is None:
            await self.close(self._options.drain_timeout)
            return
        self._end()
        await self._ended()

    # --- what is known of it ---

    @property
    def drain_timeout(self) -> float | None:
        """Seconds for which leaving waits for what is under way; None: as long as it takes."""
        return self._options.drain_timeout

    @property
    def failure(self) -> Exception | None:
        """Why the pool opens no more connections; None as long as it does. Those that are open go on."""
        return self._members.brake.refusal

    @property
    def last_error(self) -> Exception | None:
        """Why the newest attempt to open a connection failed, or the newest one ended; None after one that opened."""
        return self._members.brake.last_error

    def stats(self) -> PoolStats:
        """What was counted so far, all taken at one instant; connections that have ended are in it."""
        return stats_of(self._requests, self._members, self._strays)

    def __repr__(self) -> str:
        stats = self.stats()
        state = f"{stats['open']} of {self._options.size} open" if self._requests.takes_more else "closed"
        return (
            f"<{type(self).__name__} {self._app} {state}, {stats['under_way']} under way, {stats['waiting']} waiting>"
        )

    def _make(self, changed: Callable[[ConnectionState, Exception | None], object]) -> RealtimeConnection:
        """A connection, unopened."""
        made, self._spare = self._spare, None
        connection = made or self._connect()
        connection.set_callbacks(
            on_result=self._connect.keywords["on_result"],
            on_error=self._connect.keywords["on_error"],
            on_timings=self._connect.keywords.get("on_timings"),
            on_state_change=changed,
        )
        return connection

    def _stray(self, _: object) -> None:
        self._strays += 1


def _log(app: str, error: Exception) -> None:
    """What no request was to be told; or has been, with all others of its connection."""
    _logger.info("%s: %s", app, error)
