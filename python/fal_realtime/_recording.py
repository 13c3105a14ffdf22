"""Recordings of connections."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, cast

from . import _core

if TYPE_CHECKING:
    from typing_extensions import Self


class Recording:
    """A file into which a connection is recorded; made by `connection.record(path)`.

    Close it, or use it with `with` (or `async with`, which does not block the loop). It also ends with its connection,
    whose `close` waits for it, for at most `close_timeout`, and at the exit of the interpreter.
    """

    def __init__(self, native: _core.Recording, path: str) -> None:
        self._native = native
        self._path = path
        import weakref

        # At the exit, too: a program that does not close it is to have a whole file.
        self._finish = weakref.finalize(self, native.close)

    @property
    def path(self) -> str:
        """The file."""
        return self._path

    @property
    def is_open(self) -> bool:
        """Whether what passes is recorded: it is not closed, and nothing went wrong."""
        return self._native.is_open

    @property
    def messages(self) -> int:
        """How many messages it took so far, sent ones and received ones."""
        return self._native.messages

    @property
    def dropped(self) -> int:
        """How many messages are missing, because 64 MiB waited to be written: the disk was too slow."""
        return self._native.dropped

    @property
    def error(self) -> OSError | None:
        """Why the recording ended early; the connection goes on without it."""
        found = self._native.error
        if found is None:
            return None
        number, text = found
        return OSError(number, os.strerror(number), self._path) if number is not None else OSError(text)

    def close(self) -> None:
        """Write what is left, and end the file. Waits for the disk. Doing it again does nothing but raise again.

        Raises:
            OSError: The recording ended early, and this is why.
        """
        self._finish()
        if (error := self.error) is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; does not raise over what was raised."""
        self._finish()
        if kind is None:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close on another thread, if there is one; does not raise over what was raised."""
        import asyncio

        try:
            await asyncio.get_running_loop().run_in_executor(None, self._finish)
        except RuntimeError:  # the executor has no thread for it, and may have none soon
            self._finish()
        if kind is None:
            self.close()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__} {self._path} {state}>"


class Recordable:
    """The part of a connection that can be recorded."""

    _recording: Recording | None = None
    _close_timeout: float = 10

    def _wait_until_recorded(self) -> None:
        """Of a connection that is closed: wait until its recording is a whole file, at most `close_timeout` seconds."""
        recording = self._recording
        if recording is not None and not recording._native.wait(self._close_timeout):  # noqa: SLF001 - of this module
            from logging import getLogger

            getLogger("fal_realtime").warning(
                "the recording %s is not whole %g s after the end of its connection (close_timeout); writing goes on",
                recording.path,
                self._close_timeout,
            )

    def record(self, path: str | os.PathLike[str]) -> Recording:
        """Record from now on what passes, into a new file at `path`, in the place of one that is there.

        ```python
        with connection.record("session.mcap"):
            await connection.request({"prompt": "a cat"})
        ```

        Each message is in it as it was on the wire, with its time; so are openings and closings. A thread of its own
        writes: sending and receiving never wait for the disk. What was written until 50 ms before is there even if the
        process is killed. Tokens, keys and headers are not in it, and overwritten with asterisks where a message
        repeats them. The format is MCAP, see docs/recording.md.

        Raises:
            OSError: The file cannot be made.
            FalRealtimeError: The system gives no thread that could write it.
            RuntimeError: The connection is recorded already.
            ConnectionClosedError: The connection is closed.
        """
        text = os.fspath(path)
        connection = cast("_core.Connection | _core.SyncConnection", self)
        self._recording = Recording(_core.Recording(connection, text), text)
        return self._recording
