"""What runs in each actor: a pool of connections, which the blocks of rows share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fal_realtime._client import RealtimeClient
from fal_realtime._exceptions import ApiError, AuthenticationError, ConnectionClosedError, HandshakeError

from ._columns import added
from ._plan import Plan

if TYPE_CHECKING:
    from fal_realtime.pool import Outcome, Pool

_OF_THE_RUN = (ApiError, AuthenticationError, ConnectionClosedError, HandshakeError)
"""What says nothing of an input: no app has seen it."""


class Actor:
    """Asks the app for each row of a block. Ray Data makes one in each actor, and calls it on one event loop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pool: Pool | None = None

    async def __call__(self, block: Any) -> Any:
        """Give a block, an Arrow table, with the columns that say what became of its rows."""
        plan = self._plan
        plan.check(block.column_names)
        if self._pool is None:
            # Here, since it belongs to this loop.
            self._pool = RealtimeClient(**plan.client_options).pool(plan.app, **plan.pool_options)
        try:
            async with self._pool.map(plan.inputs_of(block), **plan.ask_options) as outcomes:
                asked = [_told(outcome) async for outcome in outcomes]
        except _OF_THE_RUN as error:
            error.message += (
                f" (the run ends: no row of {plan.app} was given up, and blocks that were written are kept. When that "
                "is mended, on the nodes if it is the key, FAL_KEY, run the same again, with output= to go on)"
            )
            raise
        return added(block, asked, plan.fields)


def _told(outcome: Outcome) -> Outcome:
    """The outcome, if it says something of the input.

    Raises:
        FalRealtimeError: No app has seen the input, since there is no connection.
    """
    if isinstance(outcome.error, _OF_THE_RUN):
        raise outcome.error
    return outcome
