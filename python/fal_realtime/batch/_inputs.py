"""The inputs of a batch that have no outcome yet, each with what the journal knows it by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fal_realtime import _checks as check

from ._errors import JournalError
from ._fingerprint import fingerprint

if TYPE_CHECKING:
    from ._journal import Journal, Known

_PAUSE_AFTER = 200
"""Inputs that are known, one after the other, until others on the loop have a turn."""

_GREATEST = 2**63 - 1
"""That an int can be in SQLite."""


class Asked(NamedTuple):
    """An input that is being asked."""

    id: int | str
    position: int
    input: bytes
    """Its fingerprint."""
    is_again: bool
    """Whether the journal has an error of it, which its outcome will replace."""


class Inputs:
    """Reads the inputs, passes over those that have an outcome, and gives the others when there is room for them."""

    def __init__(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        journal: Journal,
        key: Callable[[Any], int | str] | None,
        most: int,
        *,
        retry_failed: bool,
    ) -> None:
        self.read = self.known = 0
        self._inputs = inputs
        self._journal = journal
        self._key = key
        self._most = most
        self._retry_failed = retry_failed
        self._asked: dict[int, Asked] = {}
        self._ids: set[int | str] = set()
        self._number = self._held = 0
        self._room = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Those that were read, and have no outcome yet."""
        return len(self._asked) + self._held

    def of(self, number: int) -> Asked:
        """The input that was given as the `number`-th."""
        return self._asked[number]

    def done(self, number: int) -> None:
        """It is written down, or given up: there is room for another one."""
        self._ids.discard(self._asked.pop(number).id)
        self._room.set()

    async def unanswered(self) -> AsyncIterator[Any]:
        """Give those that are to be asked.

        Raises:
            JournalError: An input is not the one that the journal knows by its id.
            ValueError: Two inputs have the same id, or `key` raised.
            TypeError: What `key` gave is no id.
        """
        passed = 0
        async for position, given in _numbered(self._inputs):
            id, print_of_it = self._id(given, position), fingerprint(given)
            known = self._find(id, position, print_of_it)
            self.read += 1
            if known is not None and (known.ok or not self._retry_failed):
                self.known += 1
                passed += 1
                if passed % _PAUSE_AFTER == 0:
                    await asyncio.sleep(0)
                continue
            # What was asked and is not written down would be asked once more after a crash.
            self._held = 1
            while len(self._asked) >= self._most:
                self._room.clear()
                await self._room.wait()
            self._held = 0
            self._asked[self._number] = Asked(id, position, print_of_it, known is not None)
            self._ids.add(id)
            self._number += 1
            yield given

    def _id(self, given: Any, position: int) -> int | str:
        if self._key is None:
            return position
        try:
            id = self._key(given)
        except Exception as error:
            message = f"key raised for input {position}: {type(error).__name__}: {error}"
            raise ValueError(message) from error
        if isinstance(id, bool) or not isinstance(id, (int, str)):
            message = f"key must give an int or a str for each input, not {type(id).__name__} (input {position})"
            raise TypeError(message)
        if isinstance(id, str):
            check.text(f"what key gave for input {position}", id, may_be_empty=True)
        elif abs(id) > _GREATEST:
            message = f"key gave {id} for input {position}: an int must have at most 64 bits"
            raise ValueError(message)
        return id

    def _find(self, id: int | str, position: int, print_of_it: bytes) -> Known | None:
        if self._key is None and not self._journal.may_know(position):
            return None
        known = self._journal.find(id)
        if id in self._ids or (known is not None and known.run == self._journal.run):
            message = f"two inputs have the id {id!r} (the second is input {position}): key must tell them apart"
            raise ValueError(message)
        if known is not None and known.input != print_of_it:
            message = (
                f"input {position} (id {id!r}) is not the one that has an outcome in {self._journal.path}: give the "
                "same inputs again, in the same order (a set in one has another order in each process), or another "
                "path for other inputs"
            )
            raise JournalError(message)
        return known


async def _numbered(inputs: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[tuple[int, Any]]:
    position = 0
    if isinstance(inputs, AsyncIterable):
        async for given in inputs:
            yield position, given
            position += 1
    else:
        for given in inputs:
            yield position, given
            position += 1
