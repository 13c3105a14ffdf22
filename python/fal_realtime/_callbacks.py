"""The threads that call the callbacks of blocking connections: one for all of them, and one that stands by.

The native core says whose turn it is (see `_core.CallbackQueue`): a connection is with one thread at a time, so that
its order is kept, and where a callback blocks, the other connections have another thread.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NoReturn

from . import _core
from ._exceptions import FalRealtimeError
from ._functions import takes_reason
from ._threads import Once, start_thread, tell_nobody, thread_lock

_MAX_EVENTS_A_TURN = 64
"""Events of a connection that are delivered before others have their turn."""

_FINISHING: dict[Dispatcher, _core.CallbackEvents] = {}
"""Those of connections that are being closed, until all is delivered; and what is not."""

_is_leaving = False
"""The process leaves: callbacks are called no more."""


class Dispatcher:
    """Calls the callbacks of one connection, in the order of its events.

    The threads keep alive neither it nor the connection nor the callbacks, which often refer to the connection.
    """

    def __init__(self, callbacks: dict[str, Callable[..., object] | None]) -> None:
        # The decoder runs in the contextvars of the first `connect`, the callbacks in those of theirs.
        self._decoding = contextvars.copy_context()
        self.replace(callbacks)
        self._over = Once()
        # The thread that is calling one of them, or the decoder.
        self._calling: int | None = None
        # Nobody waits longer than that.
        self._until: float | None = None

    def replace(self, callbacks: dict[str, Callable[..., object] | None]) -> None:
        """Take other callbacks, from the next event on."""
        with_reason = takes_reason(callbacks["on_state_change"])
        # Together, in one assignment: a thread takes all of them.
        self._callbacks = callbacks, contextvars.copy_context(), with_reason

    def finish(self, events: _core.CallbackEvents) -> None:
        """Deliver what is left although nobody may hold the connection any more: it is being closed."""
        _FINISHING[self] = events
        if self._over.wait(0):  # all is delivered: nobody will come to remove it
            _FINISHING.pop(self, None)

    def over(self) -> None:
        """Everything is delivered."""
        self._over.happen()
        _FINISHING.pop(self, None)

    def wait(self, patience: float = 0) -> bool:
        """Wait until everything is delivered, for so many seconds since the first call at most; whether it is.

        A callback does not wait for itself. When the process leaves, nobody is called any more.
        """
        if self._until is None:
            self._until = time.monotonic() + patience
        if self._calling == threading.get_ident():
            return True
        return self._over.wait(0 if _is_leaving else max(0.0, self._until - time.monotonic()))

    def step(self, events: _core.CallbackEvents) -> str:
        """Deliver the next event, if there is one; its kind."""
        self._calling = threading.get_ident()
        try:
            kind, value = self._decoding.run(events.poll)
            if kind not in ("nothing", "end"):
                self._deliver(kind, value)
        finally:
            self._calling = None
        if kind == "end":
            self.over()
        return kind

    def _deliver(self, kind: str, value: Any) -> None:
        callbacks, context, with_reason = self._callbacks
        callback = callbacks[f"on_{kind}"]
        if callback is None:
            if kind == "error":
                tell_nobody(value)
            return
        arguments = (value,)
        if kind == "state_change":
            arguments = value if with_reason else value[:1]
        try:
            outcome = context.run(callback, *arguments)
            if isinstance(outcome, CoroutineType):
                outcome.close()
                _refuse_coroutine(f"on_{kind}")
        except BaseException as error:  # noqa: BLE001 - reported with its traceback, and delivery goes on
            tell_nobody(error)


def _refuse_coroutine(name: str) -> NoReturn:
    message = f"{name} returned a coroutine, which SyncRealtimeClient cannot await: use RealtimeClient"
    raise TypeError(message)


class _Threads:
    """Started when the first connection has callbacks; they end with the last one."""

    def __init__(self) -> None:
        self._queue = _core.CallbackQueue()
        # Whoever finds that a thread is on its way relies on it.
        self._starting = thread_lock()

    def add(self, events: _core.CallbackEvents, dispatcher: Dispatcher) -> None:
        with self._starting:
            number, needs_thread = self._queue.reserve()
            try:
                if needs_thread:
                    self._start()
            except BaseException:
                # Nobody would call it, and those that come later are to have a thread.
                self._queue.give_up(number)
                raise
        self._queue.add(number, events, weakref.ref(dispatcher))

    def _start(self) -> None:
        try:
            start_thread(self._run, "fal-realtime-callbacks")
        except BaseException:
            self._queue.has_no_thread()
            raise

    def _run(self) -> None:
        self._queue.arrive()
        while (taken := self._queue.next()) is not None:
            events, reference, number, is_alone = taken
            if is_alone:
                with contextlib.suppress(FalRealtimeError):  # there is none to be had: the next turn tries again
                    self._start()
            kind = "end"
            try:
                kind = _call_back(events, reference)
            except BaseException as error:  # noqa: BLE001 - of one connection: the thread serves others
                tell_nobody(error)
                if (dispatcher := reference()) is not None:
                    dispatcher.over()
                del dispatcher
            self._queue.done(number, has_more=kind not in ("nothing", "end"), is_over=kind == "end")
            # While it waits it holds on to nothing.
            del taken, events, reference


def _call_back(events: _core.CallbackEvents, reference: weakref.ref[Dispatcher]) -> str:
    kind = "end"
    for _ in range(_MAX_EVENTS_A_TURN):
        dispatcher = reference()
        if dispatcher is None:
            return "end"
        kind = dispatcher.step(events)
        if kind in ("nothing", "end"):
            break
    return kind


_threads = _Threads()
_lost: list[_Threads] = []
"""Those of parent processes: they do not exist here, and what they held is not touched."""


def call_back(events: _core.CallbackEvents, dispatcher: Dispatcher) -> None:
    """Have the callbacks of a connection called.

    Raises:
        FalRealtimeError: The system gives no thread.
    """
    _threads.add(events, dispatcher)


def warn_of_rest(events: _core.CallbackEvents, what_follows: str) -> None:
    """Log what callbacks were not called with, if there is anything."""
    results, others = events.left()
    if results or others:
        import logging

        message = "%s: callbacks were not called with %d results and %d other events: %s"
        logging.getLogger("fal_realtime").warning(message, events.app, results, others, what_follows)


def _at_exit() -> None:
    """Let the callbacks of closed connections have what is theirs. Runs before the native core's own end."""
    global _is_leaving  # noqa: PLW0603 - one a process
    finishing = list(_FINISHING.items())
    for dispatcher, _ in finishing:
        dispatcher.wait()
    _is_leaving = True
    for dispatcher, events in finishing:
        if dispatcher in _FINISHING:
            warn_of_rest(events, "the process leaves")


atexit.register(_at_exit)


def _after_fork() -> None:
    global _threads  # noqa: PLW0603 - one a process
    _lost.append(_threads)
    _threads = _Threads()
    _FINISHING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
