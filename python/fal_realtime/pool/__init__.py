"""Connections of one app that share the requests, and the outcomes of many inputs.

```python
from fal_realtime import RealtimeClient

async with RealtimeClient().pool("fal-ai/fast-lcm-diffusion", size=8) as pool:
    result = await pool.request({"prompt": "a cat"}, timeout=30)
    async for outcome in pool.map({"prompt": "a cat", "seed": seed} for seed in range(100)):
        print(outcome.index, outcome.result if outcome.ok else outcome.error)
```

`RealtimeClient.pool` says what the options are, `Pool` how requests find their connection.
"""

from __future__ import annotations

from ._map import Map
from ._outcome import Outcome, Progress
from ._pool import Pool
from ._stats import PoolStats
from ._sync_map import SyncMap
from ._sync_pool import SyncPool

__all__ = ["Map", "Outcome", "Pool", "PoolStats", "Progress", "SyncMap", "SyncPool"]
