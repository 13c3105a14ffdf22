"""The pool for callers without an event loop."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fal_realtime._exceptions import RequestTimeoutError

from ._loop_thread import LoopThread
from ._map import iterator_of
from ._outcome import Progress
from ._stats import PoolStats
from ._sync_map import SyncMap

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._pool import Pool


class SyncPool:
    """Connections of one app that share the requests, in blocking form; made by `SyncRealtimeClient.pool`.

        with client.pool("fal-ai/fast-lcm-diffusion", size=8) as pool:
            result = pool.request({"prompt": "a cat"}, timeout=30)

    Any number of threads may use it. It is a `Pool` on an event loop in a thread of its own: what holds there holds
    here. The callbacks of its options are called in that thread, and must not wait for the pool.
    """

    def __init__(self, pool: Pool) -> None:
        """Start the thread; nothing is opened. Use `SyncRealtimeClient.pool`."""
        self._pool = pool
        self._thread = LoopThread("fal-realtime-pool")
        # The thread knows nothing of this object, and ends with it where nobody closes it.
        self._finalizer = weakref.finalize(self, self._thread.end)

    def request(self, input: Any, timeout: float | None = None, *, retries: int = 0, idempotent: bool = False) -> Any:
        """Send an input over one of the connections, and give its result: see `Pool.request`."""
        return self._thread.run(self._pool.request(input, timeout=timeout, retries=retries, idempotent=idempotent))

    def map(
        self,
        inputs: Iterable[Any],
        *,
        ordered: bool = True,
        timeout: float | None = None,
        retries: int = 0,
        idempotent: bool = False,
        window: int | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> SyncMap:
        """Send many inputs, and give the outcome of each: see `Pool.map`.

        Inputs are pulled in the thread that takes the outcomes, while it does. `on_progress` is called in the pool's.
        """
        iterator, total = iterator_of(inputs)
        if hasattr(iterator, "__anext__"):
            message = "inputs must be a plain iterable: an asynchronous one is for RealtimeClient"
            raise TypeError(message)
        options: dict[str, Any] = {
            "ordered": ordered,
            "timeout": timeout,
            "retries": retries,
            "idempotent": idempotent,
            "window": window,
            "on_progress": on_progress,
        }
        return SyncMap(self._thread, lambda bridge: self._pool._map(bridge, total, **options), iterator, self)  # noqa: SLF001

    def open(self) -> None:
        """Open `prewarm` connections now, where there are fewer: see `Pool.open`. `with` does it."""
        self._thread.run(self._pool.open())

    def close(self, timeout: float | None = None) -> None:
        """Take no more requests, wait until those that were made are done, and close all connections: see `Pool.close`.

        Calling it again does nothing.
        """
        if not self._finalizer.alive:
            return
        try:
            self._thread.run(self._pool.close(timeout))
        finally:
            self._finalizer()

    def _close_at_once(self) -> None:
        with contextlib.suppress(RequestTimeoutError):  # of requests that were under way, which have been told
            self.close(0)

    def __enter__(self) -> Self:
        """Open `prewarm` connections; raises what an opening raised."""
        try:
            self.open()
        except BaseException:
            # Nobody will own the pool.
            self._close_at_once()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close: without an exception when all is done (for at most `drain_timeout` seconds), with one at once."""
        if kind is None:
            self.close(self._pool.drain_timeout)
        else:
            self._close_at_once()

    @property
    def failure(self) -> Exception | None:
        """Why the pool opens no more connections; None as long as it does. Those that are open go on."""
        return self._pool.failure

    @property
    def last_error(self) -> Exception | None:
        """Why the newest attempt to open a connection failed, or the newest one ended; None after one that opened."""
        return self._pool.last_error

    def stats(self) -> PoolStats:
        """What was counted so far, all taken at one instant: see `PoolStats`."""
        return self._thread.call(self._pool.stats)

    def __repr__(self) -> str:
        return f"<Sync{self._thread.call(self._pool.__repr__)[1:]}"
