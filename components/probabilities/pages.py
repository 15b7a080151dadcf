"""What the pages of this room share: a template beside this module, and stored pixels as pictures in the page."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from components.data.dataset import Dataset

SIDE = 192


def render(template: str, values: dict[str, Any]) -> str:
    """A page as HTML; the same values give the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              loader=FileSystemLoader(Path(__file__).parent))
    return environment.get_template(template).render(values) + "\n"


def thumbnail(dataset: Dataset, row: int) -> str:
    """The stored pixels of a sample as a data URI, at most 192 pixels a side."""
    from PIL import Image

    image = Image.fromarray(dataset.pixels(np.array([row]))[0])
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
