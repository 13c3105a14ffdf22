"""Runs the Python handlers of a `LocalServer`, on an event loop of their own."""

from __future__ import annotations

import asyncio
import threading

from fal_realtime import _core
from fal_realtime._threads import require_system_threads, start

from ._handler_app import App
from ._handler_session import serve
from ._replay import Replay
from ._socket import Socket

_STOP_TIMEOUT = 2.0
"""Seconds that stopping waits for each thread; a handler that blocks is left behind."""


class HandlerThread:
    """Takes the jobs of a native server on one thread, and runs their handlers on the event loop of another.

    Both are daemons: a handler that never returns does not keep the process alive.
    """

    def __init__(self, native: _core.LocalServer) -> None:
        require_system_threads(
            "a function that a LocalServer serves", "use its built-in apps, or serve the function in another process"
        )
        self._native = native
        self._apps: list[App | Replay] = []
        self._loop = asyncio.new_event_loop()
        self._sockets: dict[int, Socket] = {}
        self._sessions: set[asyncio.Task[None]] = set()
        self._threads = (
            threading.Thread(target=self._run_loop, name="fal-local-handlers", daemon=True),
            threading.Thread(target=self._take_jobs, name="fal-local-jobs", daemon=True),
        )
        try:
            for thread in self._threads:
                start(thread)
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Not both threads could be started."""
        if self._threads[0].ident is None:
            self._loop.close()
        else:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def add(self, name: str, app: App | Replay) -> None:
        """Serve the app as `name`."""
        self._apps.append(app)
        self._native.add_handler(name, len(self._apps) - 1)

    def stop(self) -> None:
        """End both threads, the native server being stopped."""
        try:
            self._loop.call_soon_threadsafe(self._loop.stop)
        except RuntimeError:  # it is closed
            return
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _take_jobs(self) -> None:
        while (jobs := self._native.take_jobs(timeout=1.0)) is not None:
            if jobs:
                try:
                    self._loop.call_soon_threadsafe(self._dispatch, jobs)
                except RuntimeError:  # the loop is closed: the server stops
                    return

    def _dispatch(self, jobs: list[tuple[int, int, str, list[bytes | str]]]) -> None:
        for session, handler, event, messages in jobs:
            if event == "open":
                socket = self._sockets[session] = Socket(self._native, session)
                app = self._apps[handler]
                task = self._loop.create_task(app.serve(socket) if isinstance(app, Replay) else serve(socket, app))
                self._sessions.add(task)
                task.add_done_callback(self._sessions.discard)
            elif event == "inputs":
                self._sockets[session].received(messages)
            elif event == "writable":
                self._sockets[session].writable()
            else:
                self._sockets.pop(session).disconnected()
