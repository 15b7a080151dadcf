"""A whole decode for a small grey picture: what the check of a file needs of it, at the least cost."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from components.data.decoding import (
    DECODER_ERRORS,
    ORIENTATION,
    UPRIGHT,
    Undecodable,
    attempt,
    format_of,
    orientation_of,
    sniff,
    to_rgb,
)
from components.data.verdicts import Finding, Reason

SMALL = 64  # pixels: the least short side of the small grey picture of a larger image
LONGEST = 4096  # pixels: the most that its long side has
STRIP = 1 << 22  # pixels that are converted at a time


@dataclass(frozen=True)
class Glance:
    """What one decode tells of a file without the pixels themselves.

    size: width and height in pixels, upright. traits: how the file stores its pixels, where that is out of the common.
    grey: luma of a small upright picture of the same aspect, uint8 [h, w], its short side 64 to 127 pixels where the
    image has as many.
    """

    size: tuple[int, int]
    format: str
    mode: str
    traits: tuple[Finding, ...]
    grey: NDArray[np.uint8]


def glance(content: bytes) -> Glance:
    """Decode a file to its last pixel for a small grey picture; raises Undecodable exactly where `decode` does.

    Of a common JPEG all bits are read, but only every second to eighth pixel of the luma is computed: the same file
    is refused in a third less time. What is refused then is decoded in full, so that the words are those of `decode`.
    """
    try:
        return attempt(content, partial(_look, quick=True))
    except Undecodable:
        if sniff(content) != "JPEG":
            raise
    return attempt(content, partial(_look, quick=False))


def _look(opened: Image.Image, quick: bool) -> Glance:
    size, mode, wide, turned = opened.size, opened.mode, _is_wide(opened), _tag(opened)
    if quick and _may_be_scaled(opened):
        opened.draft("L", (SMALL, SMALL))
        opened.load()
    else:
        opened.load()
        size = opened.size
    traits = stored_as(mode, wide, opened.has_transparency_data)
    small, orientation = _small(opened), orientation_of(opened)
    if orientation in UPRIGHT:
        small = small.transpose(UPRIGHT[orientation])
        size = size[::-1] if orientation >= 5 else size
    if max(turned, orientation) > 1:
        traits.append(Finding("exif_rotated", f"orientation {max(turned, orientation)}"))
    if _has_more_frames(opened):
        traits.append(Finding("animated", "the first frame counts"))
    return Glance(size, format_of(opened), mode, tuple(traits), np.asarray(small))


def stored_as(mode: str, wide: bool, transparent: bool) -> list[Finding]:
    """What is out of the common in how a file stores its pixels. mode: Pillow's. wide: more than 8 bits a sample."""
    found: dict[Reason, bool] = {
        "cmyk": mode == "CMYK",
        "sixteen_bit": wide,
        "alpha": transparent,
        "grey": mode in ("1", "L", "LA", "La", "F") or mode.startswith("I"),
        "palette": mode in ("P", "PA"),
    }
    return [Finding(reason, f"mode {mode}") for reason, holds in found.items() if holds]


def _is_wide(opened: Image.Image) -> bool:
    """Whether an image that is open, but not loaded, has samples of more than 8 bits, whatever they are loaded as."""
    if opened.mode.startswith("I") or opened.mode == "F":
        return True
    tiles = getattr(opened, "tile", []) if opened.format in ("PNG", "TIFF") else []
    return any(";16" in str(tile[3]) for tile in tiles[:1])


def _may_be_scaled(opened: Image.Image) -> bool:
    """Whether a JPEG is refused in full exactly where it is refused at a smaller scale.

    Chroma that has no whole share of the luma's rows and columns is refused by the full decoder alone.
    """
    if not isinstance(opened, JpegImageFile) or opened.format != "JPEG" or opened.mode not in ("L", "RGB"):
        return False
    across, down = [max(layer[place] for layer in opened.layer) for place in (1, 2)]
    return all(layer[1] and layer[2] and across % layer[1] == down % layer[2] == 0 for layer in opened.layer)


def _small(image: Image.Image) -> Image.Image:
    """A loaded image as luma, shrunk by a whole factor to no less than SMALL; in strips, to save memory."""
    factor = max(1, min(image.size) // SMALL)
    if image.mode in ("L", "RGB"):
        small = (image.reduce(factor) if factor > 1 else image).convert("L")
    else:
        rows = max(1, STRIP // (image.width * factor)) * factor
        small = Image.new("L", (-(-image.width // factor), -(-image.height // factor)))
        for top in range(0, image.height, rows):
            strip = to_rgb(image.crop((0, top, image.width, min(top + rows, image.height))))
            small.paste(strip.reduce(factor).convert("L"), (0, top // factor))
    if max(small.size) <= LONGEST:
        return small
    return small.resize((min(small.width, LONGEST), min(small.height, LONGEST)), Image.Resampling.BOX)


def _has_more_frames(opened: Image.Image) -> bool:
    try:
        return bool(getattr(opened, "is_animated", False))
    except DECODER_ERRORS:  # what follows the first frame is damaged
        return False


def _tag(opened: Image.Image) -> int:
    """The orientation of a TIFF, which Pillow applies itself and then forgets."""
    tags = getattr(opened, "tag_v2", {})
    value = tags.get(ORIENTATION, 1)
    return value if isinstance(value, int) and value in UPRIGHT else 1
