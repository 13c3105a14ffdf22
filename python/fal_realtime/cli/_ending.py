"""What a process without an event loop waits for until a signal ends it."""

from __future__ import annotations

import contextlib
import signal
import socket
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """The end of a process: SIGINT, SIGTERM, or who else says so. In a `with` block of the main thread.

    A signal that whoever started the process ignores stays ignored.

    Not a `threading.Event`: a handler that sets one while the main thread is in its `wait` may wait for a lock that the
    main thread holds, and a signal that comes just before the wait begins would not end it. Here the interpreter's own
    handler, which runs at once, writes into a socket from which the main thread reads.
    """

    def __init__(self) -> None:
        self._came = False
        self._reads, self._writes = socket.socketpair()
        self._writes.setblocking(False)
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup_fd = -1

    def __enter__(self) -> Self:
        self._wakeup_fd = signal.set_wakeup_fd(self._writes.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._reads.close()
        self._writes.close()

    def come(self) -> None:
        """It has come; from any thread."""
        self._came = True
        with contextlib.suppress(OSError):  # closed, or so full that there is something to read
            self._writes.send(b"\0")

    def wait(self) -> None:
        """Blocks until it has come."""
        # Other signals write there too.
        while not self._came:
            self._reads.recv(64)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
