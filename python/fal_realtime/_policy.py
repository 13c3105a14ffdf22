"""How a connection that was lost is opened again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NoReturn, cast

from . import _checks as check

_MAX_ATTEMPTS = 2**32 - 1
"""As many attempts as the native core can count, which nobody will live to see."""


class ReconnectPolicy:
    """How a connection lost without a normal close is opened again: after delays that grow, with full jitter.

    The n-th delay is random between 0 and `min(max_delay, initial_delay * factor ** n)` seconds.
    """

    initial_delay: float
    """Upper bound of the first delay, in seconds."""
    max_delay: float
    """Upper bound of every delay, in seconds."""
    factor: float
    """By what the bound grows from one attempt to the next; at least 1."""
    stable_after: float
    """Seconds after which a session counts as good even if it brought no result; the delays then start again."""
    max_attempts: int | None
    """Attempts in a row that open nothing until the connection gives up and closes; None: no limit."""
    max_fruitless: int | None
    """Sessions in a row that bring no result, and are lost within `stable_after`, until it gives up; None: no limit.

    A session that ends in the regular way (TIMEOUT, code 1000) counts only if it took none of the messages that waited.
    """
    final_statuses: Collection[int] | None
    """HTTP statuses of a refused handshake or token request after which it gives up at once.

    None: 300 to 499 except 408, 425 and 429. After 401 and 403 one fresh token is tried in any case.
    """
    final_codes: Collection[int]
    """Close codes after which it gives up at once. (1000 is no loss, and after 1008 one fresh token is tried.)"""

    # Not a dataclass, which everybody who imports this package would wait for.

    def __init__(
        self,
        *,
        initial_delay: float = 0.5,
        max_delay: float = 30.0,
        factor: float = 2.0,
        stable_after: float = 60.0,
        max_attempts: int | None = None,
        max_fruitless: int | None = 5,
        final_statuses: Collection[int] | None = None,
        final_codes: Collection[int] = (),
    ) -> None:
        check.positive("initial_delay", initial_delay)
        check.positive("max_delay", max_delay)
        check.not_negative("stable_after", stable_after)
        if check.number("factor", factor) < 1:
            message = f"factor must be at least 1, not {factor!r}"
            raise ValueError(message)
        if max_delay < initial_delay:
            message = f"max_delay ({max_delay!r} s) must not be less than initial_delay ({initial_delay!r} s)"
            raise ValueError(message)
        for name, limit in (("max_attempts", max_attempts), ("max_fruitless", max_fruitless)):
            if limit is not None:
                check.integer(name, limit, at_least=1)
        statuses = None if final_statuses is None else _numbers("final_statuses", final_statuses, 300, 599)
        vars(self).update(
            initial_delay=initial_delay,
            max_delay=max_delay,
            factor=factor,
            stable_after=stable_after,
            max_attempts=max_attempts,
            max_fruitless=max_fruitless,
            final_statuses=statuses,
            final_codes=_numbers("final_codes", final_codes, 1001, 4999),
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: connections that share it would change."""
        message = f"a ReconnectPolicy cannot be changed: make another one with {name}={value!r}"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse."""
        message = f"a ReconnectPolicy cannot lose its {name}"
        raise AttributeError(message)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, ReconnectPolicy) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"ReconnectPolicy({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def as_native(self) -> dict[str, Any]:
        """The arguments of a native policy."""
        return {
            "initial_delay": float(self.initial_delay),
            "max_delay": float(self.max_delay),
            "factor": float(self.factor),
            "stable_after": float(self.stable_after),
            "max_attempts": None if self.max_attempts is None else min(self.max_attempts, _MAX_ATTEMPTS),
            "max_fruitless": None if self.max_fruitless is None else min(self.max_fruitless, _MAX_ATTEMPTS),
            "final_statuses": None if self.final_statuses is None else sorted(self.final_statuses),
            "final_codes": sorted(self.final_codes),
        }


def _numbers(name: str, values: object, least: int, most: int) -> frozenset[int]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        message = f"{name} must be a collection of int, not {values!r}"
        raise TypeError(message)
    numbers = frozenset(cast("Iterable[int]", values))
    for number in numbers:
        check.integer(name, number, at_least=least, at_most=most)
    return numbers
