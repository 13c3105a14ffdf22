"""How a command ends: its exit statuses, and the error that carries one."""

from __future__ import annotations

OK = 0
FAILED = 1
"""Something did not work: an app, a connection, an input, a file."""
USAGE = 2
"""The arguments or the input are wrong, or there is no key: the same again cannot work."""
INTERRUPTED = 130
"""By Ctrl-C (SIGINT), as shells count it."""
BROKEN_PIPE = 141
"""Nobody reads the output any more, as for a program that SIGPIPE ends."""


class CommandError(Exception):
    """Ends a command; the message says what is wrong, `advice` what to do about it."""

    def __init__(self, message: str, advice: str = "", status: int = FAILED) -> None:
        super().__init__(message, advice, status)
        self.message = message
        self.advice = advice
        self.status = status


class UsageError(CommandError):
    """The arguments or the input are wrong."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice, USAGE)
        self.args = (message, advice)
