"""An app as a step of a Ray Data pipeline: each row is an input, and gets columns with what became of it.

```python
import ray

from fal_realtime.ray import infer

prompts = ray.data.read_parquet("prompts")
answered = infer(prompts, "fal-ai/fast-lcm-diffusion", id="id", inputs=["prompt", "seed"], output="images")
answered.write_parquet("images")
```

Needs `pip install fal-realtime[ray]` where it is called, and on the nodes. `infer` says what the options are.
"""

from __future__ import annotations

from ._infer import infer

__all__ = ["infer"]
