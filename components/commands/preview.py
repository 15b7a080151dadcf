"""`stillhouse preview SECTION`: a contact sheet of what a training will show its network."""

import argparse
import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UsageError
from components.settings import Params
from components.storage.atomic import write_file

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from components.training.preview import Line, Sheet

SUFFIXES = (".html", ".png")
LEAST_SIDE = 96  # pixels; smaller pictures are enlarged on the sheet
GAP, TEXT = 6, 13
INK, SOFT, GROUND = "#1d1c1a", "#6a665f", "#fbfaf8"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("section", help="a section of params.yaml that is trained: student or teachers.NAME")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset (default: data/dataset)")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="how many samples (default: 8)")
    parser.add_argument("--views", type=int, default=8, metavar="N", help="how many views of each (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("reports/preview.html"), metavar="FILE",
                        help="a .html page, or a .png whose captions know Latin letters only "
                             "(default: reports/preview.html)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a setting, e.g. student.augment.policy=myaugment")


def command(options: argparse.Namespace) -> None:
    """Write the sheet and print where it is; UsageError for a section that nothing trains."""
    if options.count < 1 or options.views < 1:
        raise UsageError("--count and --views must be at least 1", "stillhouse preview --help")
    if options.out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {options.out} is neither .html nor .png", "for example: --out reports/preview.html")
    settings = Params.load(options.params, options.set).section(options.section)
    from components.data.dataset import Dataset
    from components.train import Train
    from components.training.preview import sheet

    if not isinstance(settings, Train):
        raise UsageError(f"nothing is trained by section {options.section}", "expected student or teachers.NAME")
    found = sheet(options.section, settings, settings.seed, Dataset.open(options.dataset),
                  (options.count, options.views))
    write_file(options.out, page(found) if options.out.suffix.lower() == ".html" else contact_sheet(found))
    told = "; ".join(found.facts)
    print(f"{options.out}: {len(found.lines)} samples, untouched and in {options.views} views; {told}")


def page(found: "Sheet") -> str:
    """The sheet as one HTML file that needs nothing else."""
    from components.pages.rendering import rendered

    parts = [("Views", found.lines)] + ([("Mixed with one another", found.mixed)] if found.mixed else [])
    return rendered(Path(__file__).with_name("preview.html"), {"sheet": found, "parts": parts, "uri": data_uri})


def data_uri(pixels: Any) -> str:
    """A picture, uint8 [h, w, 3], as the address of itself."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def contact_sheet(found: "Sheet") -> bytes:
    """The sheet as a PNG: a line of pictures a sample, captions below each."""
    from PIL import Image, ImageDraw

    factor = -(-LEAST_SIDE // min(found.size))
    height, width = found.size[0] * factor, found.size[1] * factor
    lines = [*found.lines, *found.mixed]
    tall = height + 2 * TEXT + 3 * GAP
    columns = max(len(line.cells) for line in lines)
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, tall * len(lines) + TEXT + 3 * GAP), GROUND)
    draw = ImageDraw.Draw(canvas)
    write(draw, (GAP, GAP), f"{found.name}: {'; '.join(found.facts)}", canvas.width - 2 * GAP, INK)
    for number, line in enumerate(lines):
        top = TEXT + 3 * GAP + number * tall
        put_line(canvas, draw, line, top, (width, height))
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def put_line(canvas: Any, draw: "ImageDraw", line: "Line", top: int, size: tuple[int, int]) -> None:
    """Put a sample's title, pictures and captions on the canvas. size: width and height of a picture."""
    from PIL import Image

    write(draw, (GAP, top), f"{line.labels}   ({line.path})", canvas.width - 2 * GAP, INK)
    for place, cell in enumerate(line.cells):
        left = GAP + place * (size[0] + GAP)
        picture = Image.fromarray(cell.pixels).resize(size, Image.Resampling.NEAREST)
        canvas.paste(picture, (left, top + TEXT + GAP))
        write(draw, (left, top + TEXT + GAP + size[1] + 1), cell.caption, size[0], SOFT)


def write(draw: "ImageDraw", place: tuple[int, int], text: str, width: int, colour: str) -> None:
    """Write a line of text, cut off with dots where it is wider than its place."""
    from PIL import ImageFont

    font = ImageFont.load_default(TEXT - 2)
    whole = text
    while text and draw.textlength(text if text == whole else text + "...", font=font) > width:
        text = text[:-1]
    draw.text(place, text if text == whole else text + "...", fill=colour, font=font)
