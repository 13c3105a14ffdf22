"""How many sessions a relay has, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ._http import Refusal

_RETRY_AFTER = 5
"""Seconds; a session may end at any time."""


class Admission:
    """Counts sessions from the moment on in which they are let in: what is still opening costs as much."""

    def __init__(self, most: int, most_per_client: int | None) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._by_client: Counter[str] = Counter()
        self.count = 0
        self.draining = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one session.

        Raises:
            Refusal: There is none.
        """
        if self.draining:
            message = "the server is about to stop"
            raise Refusal(503, message, retry_after=_RETRY_AFTER)
        if self.count >= self._most:
            message = "the server has as many sessions as it may have"
            raise Refusal(503, message, retry_after=_RETRY_AFTER)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    @contextmanager
    def of_client(self, key: str | None) -> Iterator[None]:
        """One of a client's own places.

        Raises:
            Refusal: It has no more.
        """
        if key is None or self._most_per_client is None:
            yield
            return
        if self._by_client[key] >= self._most_per_client:
            message = f"no more than {self._most_per_client} sessions at a time"
            raise Refusal(429, message, retry_after=_RETRY_AFTER)
        self._by_client[key] += 1
        try:
            yield
        finally:
            self._by_client[key] -= 1
            if not self._by_client[key]:
                del self._by_client[key]
