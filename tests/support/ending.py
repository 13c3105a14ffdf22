"""How a loop of a helper server is left."""

from __future__ import annotations

import asyncio


async def end_all_tasks() -> None:
    """Cancel the other tasks of the loop, asyncio's own for accepting among them, and wait for them."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    # Transports that were closed just now close their sockets in the next round.
    await asyncio.sleep(0)
