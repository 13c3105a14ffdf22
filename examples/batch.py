"""Many inputs whose outcomes are kept: stopped and run again, it asks only what has no outcome. Needs FAL_KEY."""

from fal_realtime import RealtimeClient, batch

inputs = [{"prompt": "a cat", "seed": seed} for seed in range(100)]
batch.run_sync("fal-ai/fast-lcm-diffusion", inputs, journal="cats.journal", client=RealtimeClient())
for record in batch.results("cats.journal"):
    print(record.id, record.result["seed"] if record.ok else record.error)
