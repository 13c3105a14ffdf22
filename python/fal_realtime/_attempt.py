"""An attempt to open a connection, as `before_attempt` sees it."""

from __future__ import annotations

from types import CoroutineType

from . import _checks as check
from ._handshake import check_headers, check_query
from ._provider import MAX_TOKEN_CHARACTERS


class Attempt:
    """An attempt to open a connection that is about to be made: what `before_attempt` is called with.

    What is changed holds for this attempt alone, and for the session that it opens. The repr shows none of it.
    """

    __slots__ = ("_error", "_number", "_stop", "headers", "query", "token")

    def __init__(self, number: int, error: Exception | None, headers: dict[str, str], query: dict[str, str]) -> None:
        self._number = number
        self._error = error
        self._stop: str | None = None
        self.headers: dict[str, str] = headers
        """The headers of your own, those of `connect` to begin with; none of the handshake's or of other options."""
        self.query: dict[str, str] = query
        """The parameters of your own in the address, those of `connect` to begin with."""
        self.token: str | None = None
        """A token to use in the place of the one that would be fetched (or taken from the client's store)."""

    @property
    def number(self) -> int:
        """How many attempts there were since the connection was last open, with this one: 1 for the first."""
        return self._number

    @property
    def error(self) -> Exception | None:
        """Why the attempt before it, or the last session, failed; None where neither did."""
        return self._error

    def stop(self, reason: str = "") -> None:
        """Make no further attempts: the connection ends with a `HandshakeError` that gives the reason."""
        if not isinstance(reason, str):
            message = f"reason must be a str, not {type(reason).__name__}"
            raise TypeError(message)
        self._stop = reason

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._number} after {self._error!r}>"


Changes = tuple[list[tuple[str, str]], list[tuple[str, str]], "str | None", "str | None"]
"""Headers, query, token and the reason to stop, for the native core."""


class Hook:
    """Makes of what `before_attempt` has done to an attempt what the native core wants to know."""

    def __init__(self, attempt: Attempt, use_token: bool, is_raw: bool) -> None:
        self._attempt = attempt
        self._use_token = use_token
        self._is_raw = is_raw

    def __call__(self, returned: object) -> Changes:
        """The changes, if they are acceptable; `returned` is what the hook returned."""
        attempt = self._attempt
        if isinstance(returned, CoroutineType):
            returned.close()
            message = "it returned a coroutine; declare it with `async def`, so that it is awaited on your loop"
            raise TypeError(message)
        check_headers(attempt.headers, raw=self._is_raw)
        check_query(attempt.query, raw=self._is_raw)
        if attempt.token is not None:
            self._check_token(attempt.token)
        stop = attempt._stop  # noqa: SLF001 - its own module
        return list((attempt.headers or {}).items()), list((attempt.query or {}).items()), attempt.token, stop

    def _check_token(self, token: object) -> None:
        check.secret("attempt.token", token, "a str of printable ASCII characters, or None")
        if len(str(token)) > MAX_TOKEN_CHARACTERS:
            message = f"attempt.token has {len(str(token))} characters; at most {MAX_TOKEN_CHARACTERS} fit an address"
            raise ValueError(message)
        if not self._use_token:
            message = "attempt.token has no use where no token is used (use_jwt=False, or a raw connection)"
            raise ValueError(message)
