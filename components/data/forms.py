"""The form in which an image is stored: decoded pixels, or a small JPEG that the reader decodes.

JPEG is for sets that are too large decoded. It costs quality once: a file that is a small JPEG already is kept as it
is, byte for byte, so that nothing is compressed twice without need.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from components.data.decoding import decode, letterbox, sniff
from components.storage.digests import value_digest

DECODER = 1  # to be raised when the same file gives other pixels
LONGEST = 65_500  # pixels that a side of a JPEG can have
# Measured on photographs of clothes and vehicles scaled to 64..224 pixels: tables and header, then bytes a pixel.
JPEG_HEADER = 650
QUALITIES, BYTES_A_PIXEL = (1, 50, 75, 90, 95, 100), (0.03, 0.14, 0.2, 0.32, 0.46, 1.0)


@dataclass(frozen=True)
class Form:
    """How an image is stored.

    size: height and width of the pixels that a reader gets; pad: the grey around an image, 0..255. quality and
    short_side hold for JPEG: its quality, and the largest short side in pixels, 0 for what `size` needs.
    """

    pixels: Literal["decoded", "jpeg"]
    size: tuple[int, int]
    pad: int
    quality: int = 0
    short_side: int = 0

    def to_json(self) -> dict[str, Any]:
        """The `geometry` of a Dataset's head."""
        return asdict(self) | {"size": list(self.size), "channels": 3, "layout": "NHWC", "dtype": "uint8"}

    @classmethod
    def from_json(cls, geometry: Mapping[str, Any]) -> "Form":
        """The form that the head of a Dataset tells."""
        height, width = geometry["size"]
        return cls(geometry["pixels"], (height, width), geometry["pad"], geometry["quality"], geometry["short_side"])

    def key(self) -> str:
        """The digest of all that decides what is stored of an image, the decoder's version included."""
        told = {"pixels": self.pixels, "rules": DECODER, "pillow": PIL.__version__,
                "jpeg": features.version("libjpeg_turbo") or features.version("jpg")}
        if self.pixels == "decoded":
            return value_digest(told | {"size": self.size, "pad": self.pad})
        limit = {"short_side": self.short_side} if self.short_side else {"size": self.size}
        return value_digest(told | {"quality": self.quality} | limit)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of one image's pixels."""
        return self.size[0] * self.size[1] * 3


def stored(content: bytes, form: Form) -> bytes:
    """What is stored of the bytes of an image file; raises Undecodable."""
    image = decode(content)
    if form.pixels == "decoded":
        return letterbox(image, form.size, form.pad).tobytes()
    width, height = (int(side[0]) for side in shrunk(np.array([image.width]), np.array([image.height]), form))
    if (width, height) == image.size and sniff(content) == "JPEG" and small(len(content), width * height):
        return content
    stream = io.BytesIO()
    resized = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    resized.save(stream, "JPEG", quality=form.quality, comment=b"")  # Pillow would pass on the file's own
    return stream.getvalue()


def pixels_of(record: NDArray[np.uint8] | bytes, form: Form) -> NDArray[np.uint8]:
    """The pixels uint8 [H, W, 3] of what is stored of an image."""
    if form.pixels == "decoded":
        return np.frombuffer(record, np.uint8).reshape(*form.size, 3)
    return letterbox(decode(bytes(record)), form.size, form.pad)


def shrunk(widths: NDArray[Any], heights: NDArray[Any], form: Form) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Widths and heights [N] of images as JPEG stores them: within the limit, the aspect kept, never enlarged."""
    if form.short_side:
        scale = form.short_side / np.minimum(widths, heights)
    else:
        scale = np.minimum(form.size[0] / heights, form.size[1] / widths)
    scale = np.minimum(np.minimum(scale, LONGEST / np.maximum(widths, heights)), 1.0)
    across, down = (np.maximum(1, np.rint(sides * scale)).astype(np.int64) for sides in (widths, heights))
    return across, down


def small(length: Any, pixels: Any) -> Any:
    """Whether a JPEG takes at most a byte a pixel; numbers or arrays. What else a longer one holds is not worth it."""
    return length <= JPEG_HEADER + pixels


def expected_bytes(rows: pd.DataFrame, form: Form) -> int:
    """What images take in a form: exact for decoded pixels, an estimate for JPEG.

    rows: width, height, bytes and format of the files.
    """
    if form.pixels == "decoded":
        return len(rows) * form.decoded_bytes
    widths, heights, lengths = (rows[name].to_numpy(np.int64) for name in ("width", "height", "bytes"))
    inner = shrunk(widths, heights, form)
    pixels = inner[0] * inner[1]
    fresh = JPEG_HEADER + pixels * np.interp(form.quality, QUALITIES, BYTES_A_PIXEL)
    kept = (rows["format"] == "JPEG") & (inner[0] == widths) & (inner[1] == heights) & small(lengths, pixels)
    return int(np.where(kept, lengths, fresh).sum())
