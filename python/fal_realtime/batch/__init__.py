"""Many inputs for one app, with the outcomes kept in a file: what was stopped goes on where it was.

```python
from fal_realtime import batch

inputs = [{"prompt": "a cat", "seed": seed} for seed in range(1000)]
summary = await batch.run("fal-ai/fast-lcm-diffusion", inputs, journal="cats.journal")
for record in batch.results("cats.journal"):
    print(record.id, record.result["seed"] if record.ok else record.error)
```

`run_sync` is the same without an event loop. `run` says what the options are.
"""

from __future__ import annotations

from ._errors import JournalError
from ._journal import results
from ._record import Record
from ._run import run, run_sync
from ._summary import Summary

__all__ = ["JournalError", "Record", "Summary", "results", "run", "run_sync"]
