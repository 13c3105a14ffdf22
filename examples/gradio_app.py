"""A Gradio page whose image follows what is typed. Needs FAL_KEY, and `gradio`.

python examples/gradio_app.py
"""

import gradio
from PIL import Image

from fal_realtime import SyncRealtimeClient, media

# Gradio calls the function in threads: they share the connections of one pool.
pool = SyncRealtimeClient().pool("fal-ai/fast-lcm-diffusion", size=4)


def draw(prompt: str, seed: float) -> Image.Image:
    result = pool.request({"prompt": prompt, "seed": int(seed)}, timeout=30)
    return media.images(result)[0].pil()


with gradio.Blocks(title="fal-realtime") as page:
    prompt = gradio.Textbox("a cat", label="Prompt")
    seed = gradio.Slider(0, 1000, 7, step=1, label="Seed")
    image = gradio.Image(label="Result", format="jpeg")
    for changed in (prompt.change, seed.change, page.load):
        # Of what comes while a request is under way, the newest alone is asked.
        changed(draw, [prompt, seed], image, trigger_mode="always_last", show_progress="hidden", api_name="draw")

if __name__ == "__main__":
    page.launch()
