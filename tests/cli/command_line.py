"""The command line as a process, with a terminal and without one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAM = [sys.executable, "-m", "fal_realtime"]

_TAKES_THE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def ran(*arguments: str, given: str = "", key: str | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """What it wrote, and how it ended; `given` is its standard input."""
    environment = os.environ | ({} if key is None else {"FAL_KEY": key})
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment,
        **more,
    )


@contextmanager
def started(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is not left behind."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, *arguments], text=True, **(pipes | more)) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def at_terminal(*arguments: str, **more: Any) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process whose stderr is a terminal of its own, on which Ctrl-C reaches it; and the other side of that."""
    ours, its = os.openpty()
    command = [sys.executable, "-c", _TAKES_THE_TERMINAL, *PROGRAM[1:], *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    options: dict[str, Any] = {"stdin": its, "stdout": its, "stderr": its, "env": environment} | more
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()


def read_all(terminal: int) -> str:
    """What is written to a pseudo-terminal until nobody has it open any more."""
    data = b""
    try:
        while chunk := os.read(terminal, 4096):
            data += chunk
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux tells the end
            raise
    finally:
        os.close(terminal)
    return data.decode()


def read_until(terminal: int, text: str) -> str:
    """What is written to it, up to where the text has come."""
    data = b""
    while text.encode() not in data:
        data += os.read(terminal, 4096)
    return data.decode()
