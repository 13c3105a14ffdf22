"""Images, audio and video: out of results, and into inputs.

```python
from fal_realtime import media

result = await connection.request({"prompt": "a cat", "image_url": media.data_uri("cat.jpg", max_side=512)})
for number, image in enumerate(media.images(result)):
    image.save(f"cat-{number}")  # or image.data, image.pil(), image.numpy()
```

Nothing here is fetched from the network, and nothing but this module needs Pillow and numpy: `data`, `save` and WAV
files do without them, and what does not says what to install.
"""

from __future__ import annotations

from ._encode import ImageFormat, ImageSource, data_uri, image_bytes
from ._find import audio, images, videos
from ._media import Image, Media
from ._pcm import Pcm, Samples, pcm_chunks, read_wav

__all__ = [
    "Image",
    "ImageFormat",
    "ImageSource",
    "Media",
    "Pcm",
    "Samples",
    "audio",
    "data_uri",
    "image_bytes",
    "images",
    "pcm_chunks",
    "read_wav",
    "videos",
]
