"""Threads for Python code that native code waits for, and what they wait with."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from ._exceptions import FalRealtimeError


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        FalRealtimeError: The system gives no thread.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise no_thread(thread.name, error) from error


def no_thread(name: str, error: object) -> FalRealtimeError:
    """Give the error of whoever needs a thread that the system does not give. It may pass: others end."""
    message = f"the thread {name} could not be started: {error}; the limit of threads, or of memory, may be reached"
    failure = FalRealtimeError(message)
    failure.retryable = True
    return failure


def start_thread(work: Callable[[], None], name: str) -> None:
    """Run `work` in a daemon thread, which is one of the system's also where gevent has replaced threads by greenlets.

    The native core waits without a turn of gevent's hub: a greenlet that it waits for would never run.

    Raises:
        FalRealtimeError: The system gives no thread.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        start(threading.Thread(target=work, name=name, daemon=True))
        return
    try:
        monkey.get_original("_thread", "start_new_thread")(work, ())
    except RuntimeError as error:
        raise no_thread(name, error) from error


def thread_lock() -> Any:
    """Make a reentrant lock for threads of the system."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return threading.RLock() if monkey is None else monkey.get_original("_thread", "RLock")()


def require_system_threads(what: str, instead: str) -> None:
    """Refuse what runs an event loop in a thread of its own where gevent has replaced threads by greenlets.

    The loop would wait with gevent's selectors, and whoever waits for it with gevent's locks, each for the other.

    Raises:
        RuntimeError: gevent has replaced them.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        message = f"{what} needs threads of the system, which gevent's monkey patching has replaced: {instead}"
        raise RuntimeError(message)


class Once:
    """Something that happens once; waited for by threads of the system, not by greenlets, for the same reason."""

    def __init__(self) -> None:
        monkey: Any = sys.modules.get("gevent.monkey")
        allocate = threading.Lock if monkey is None else monkey.get_original("_thread", "allocate_lock")
        # Held until it has happened.
        self._lock = allocate()
        self._lock.acquire()
        self._has_happened = False

    def happen(self) -> None:
        """It happens now, if it has not. Not to be called by two threads at a time."""
        if not self._has_happened:
            self._has_happened = True
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it has happened, for so long at most; whether it has. A signal's handler may end it by raising."""
        if self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            self._lock.release()
        return self._has_happened


def tell_nobody(error: BaseException) -> None:
    """Report what no caller and no callback takes, as Python does with what ends a thread: `threading.excepthook`."""
    args = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(args))
