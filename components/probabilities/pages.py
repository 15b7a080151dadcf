"""What the pages of this room share: stored pixels as pictures in the page."""

import base64
import io

import numpy as np

from components.data.dataset import Dataset

SIDE = 192


def thumbnail(dataset: Dataset, row: int) -> str:
    """The stored pixels of a sample as a data URI, at most 192 pixels a side."""
    from PIL import Image

    image = Image.fromarray(dataset.pixels(np.array([row]))[0])
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
