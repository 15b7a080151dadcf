"""From the bytes of an image file to pixels: the one decoder and the one resize that every step and server uses."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from components.data.verdicts import Reason

Seen = TypeVar("Seen")

# Formats that are read, each with its usual suffixes; whatever else Pillow could open is refused.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
MAX_PIXELS = 50_000_000
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders were seen to raise on damaged and hostile files.
DECODER_ERRORS = (OSError, ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, RuntimeError,
                  AttributeError, AssertionError, MemoryError, struct.error, zlib.error)


class Undecodable(Exception):
    """A file holds no image that can be used; `reason` is one word, `detail` says more."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Decoded:
    """An upright RGB image, and the format and pixel mode of the file that it came from."""

    image: Image.Image
    format: str
    mode: str


def decode(content: bytes) -> Image.Image:
    """The upright RGB image that a file holds; the first frame where it holds several.

    16-bit samples are scaled to 8 bits, transparency is laid over white, EXIF orientation is applied. Raises
    Undecodable, and nothing else, for a file that cannot be decoded to its last pixel.
    """
    return examine(content).image


def examine(content: bytes) -> Decoded:
    """Decode a file and keep what it was; raises Undecodable."""
    return attempt(content, _pixels)


def attempt(content: bytes, look: Callable[[Image.Image], Seen]) -> Seen:
    """Open a file and look at it; every failure is Undecodable."""
    if not content:
        raise Undecodable("empty", "the file has no bytes")
    _hush()
    try:
        with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise Undecodable("bomb", f"{width} x {height} pixels, more than the {MAX_PIXELS} that are decoded")
            return look(opened)
    except Image.DecompressionBombError:
        raise Undecodable("bomb", f"more pixels than the {MAX_PIXELS} that are decoded") from None
    except MemoryError:
        raise Undecodable("bomb", "needs more memory than there is") from None
    except UnidentifiedImageError:
        if sniff(content) and _ends_early(content, ""):
            raise Undecodable("truncated", "the file ends within its header") from None
        raise Undecodable("unreadable", f"not one of {', '.join(SUFFIXES)}") from None
    except DECODER_ERRORS as error:
        reason: Reason = "truncated" if _ends_early(content, _line(error)) else "unreadable"
        raise Undecodable(reason, _line(error)) from None


def _hush() -> None:
    """Let Pillow keep its warnings of damaged metadata to itself: they are no reason to refuse the pixels.

    A filter that stays is safe among threads, which `warnings.catch_warnings` is not.
    """
    if not any(action == "ignore" and module is not None and module.pattern == "PIL[.]"
               for action, _, _, module, _ in warnings.filters[:2]):
        warnings.filterwarnings("ignore", module="PIL[.]")


def _pixels(opened: Image.Image) -> Decoded:
    mode = opened.mode
    opened.load()
    upright = UPRIGHT.get(orientation_of(opened))
    image = to_rgb(opened)
    return Decoded(image.transpose(upright) if upright is not None else image, format_of(opened), mode)


def format_of(opened: Image.Image) -> str:
    """The format of a file by its name in SUFFIXES."""
    return "JPEG" if opened.format == "MPO" else str(opened.format)  # MPO: several pictures in one JPEG


def orientation_of(image: Image.Image) -> int:
    """How a loaded image lies, 1 to 8 as EXIF numbers it; 1 where it does not say."""
    if image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}:
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DECODER_ERRORS:  # unreadable EXIF: the pixels stay as they lie
        return 1
    return value if isinstance(value, int) and value in UPRIGHT else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as 8-bit RGB.

    Integer samples wider than 8 bits are taken as 0..65535, floating-point ones as 0..1; both are clipped to that.
    """
    if image.mode == "F":
        return _from_grey(np.nan_to_num(np.asarray(image), nan=0.0, posinf=1.0, neginf=0.0) * 255.0)
    if image.mode.startswith("I"):
        return _from_grey(np.asarray(image).astype(np.float64) / 257.0)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha).convert("RGB")
    return image.convert("RGB")


def _from_grey(values: NDArray[np.floating]) -> Image.Image:
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def letterbox(image: Image.Image, size: tuple[int, int], pad: int) -> NDArray[np.uint8]:
    """An RGB image scaled to fit into size (height, width), its aspect kept, in the middle of a grey: uint8 [H, W, 3].

    The filter is bilinear over the whole area that a pixel covers, so that shrinking does not alias.
    """
    height, width = size
    scale = min(height / image.height, width / image.width)
    inner = (max(1, min(width, round(image.width * scale))), max(1, min(height, round(image.height * scale))))
    pixels = np.full((height, width, 3), pad, np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    resized = image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels[top : top + inner[1], left : left + inner[0]] = np.asarray(resized)
    return pixels


def sniff(content: bytes) -> str:
    """The format that the first bytes of a file claim, or "".

    >>> sniff(b"\\x89PNG\\r\\n\\x1a\\n...."), sniff(b"RIFF\\x10\\0\\0\\0WEBPVP8 "), sniff(b"hello")
    ('PNG', 'WEBP', '')
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    starts = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"GIF87a": "GIF", b"GIF89a": "GIF",
              b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    return next((kind for start, kind in starts.items() if content.startswith(start)), "")


def _ends_early(content: bytes, message: str) -> bool:
    ends = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
    end = ends.get(sniff(content), b"")
    return "truncated" in message.lower() or (bool(end) and end not in content[-64:])


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
