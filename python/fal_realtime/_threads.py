"""Threads for Python code that native code waits for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def start_thread(work: Callable[[], None], name: str) -> None:
    """Run `work` in a daemon thread, which is one of the system's also where gevent has replaced threads by greenlets.

    The native half waits without a turn of gevent's hub: a greenlet that it waits for would never run.

    Raises:
        RuntimeError: The system gives no thread.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        threading.Thread(target=work, name=name, daemon=True).start()
    else:
        monkey.get_original("_thread", "start_new_thread")(work, ())
