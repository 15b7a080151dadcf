"""Pictures of scores as PNG bytes: the same scores give the same bytes; transparent behind, for light and dark."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from components.evaluation.metrics import Counts, Measured

DPI = 160
CSS_PIXELS = 80  # CSS pixels an inch: two of the picture's own for one of the page's
LONGEST_NAME = 22
# Okabe and Ito's colours, told apart with every kind of colour vision, https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vPX"
# Up to so many classes: inches of a cell and points of its number; beyond the last, cells bear no numbers.
CELLS = ((6, 0.52, 10.0), (12, 0.42, 9.0), (20, 0.33, 7.5), (32, 0.27, 6.0), (50, 0.23, 5.0))
LARGEST = 11.0  # inches of the largest matrix


@dataclass(frozen=True)
class Picture:
    """A PNG and the width, in CSS pixels, at which its letters have their natural size."""

    png: bytes
    width: int


def confusion_picture(matrix: Counts, classes: Sequence[str]) -> Picture:
    """A confusion matrix: colour is the share of the row, text the count; empty cells stay blank."""
    count = len(classes)
    cell, points = next(((inches, size) for most, inches, size in CELLS if count <= most), (LARGEST / count, 0.0))
    side = cell * count
    names = shown_names(classes)
    margin = 0.42 + 0.0078 * min(9.0, points + 1) * max(map(len, names)) if points else 0.6
    figure = Figure(figsize=(side + margin + 0.1, side + margin + 0.1), dpi=DPI)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((margin / width, margin / height, side / width, side / height))
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    axes.set_xlabel("named")
    axes.set_ylabel("given")
    if points:
        _name_ticks(axes, names, min(9.0, points + 1))
        _number_cells(axes, matrix, shares, points)
    return finished(figure)


def _name_ticks(axes: Axes, names: Sequence[str], points: float) -> None:
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=points)
    axes.set_yticks(range(len(names)), names, fontsize=points)
    plain_text([*axes.get_xticklabels(), *axes.get_yticklabels()])
    axes.tick_params(length=0)


def _number_cells(axes: Axes, matrix: Counts, shares: Any, points: float) -> None:
    for row, column in zip(*matrix.nonzero(), strict=True):
        number = str(matrix[row, column])
        colour = "white" if shares[row, column] > 0.55 else "black"
        size = points if len(number) < 4 else points * 3.2 / len(number)
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=size)


def reliability_picture(measured: Mapping[str, Measured]) -> Picture:
    """Accuracy over confidence of every model, and below how many samples a bin holds; the diagonal is calibrated."""
    figure = Figure(figsize=(4.4, 5.2), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    above.plot((0, 1), (0, 1), color="grey", linewidth=1, linestyle=":")
    for place, (name, one) in enumerate(measured.items()):
        style, bins = _style(place), one.bins
        filled = bins.count > 0
        above.plot(bins.confidence[filled], bins.accuracy[filled], linewidth=0.8, alpha=0.6, **style | {"marker": ""})
        sizes = 5 + 75 * bins.count[filled] / bins.count.max()  # a bin of few samples says little
        above.scatter(bins.confidence[filled], bins.accuracy[filled], s=sizes, label=shown_name(name),
                      color=style["color"], marker=style["marker"], clip_on=False)
        below.plot(bins.confidence[filled], bins.count[filled], linewidth=1, **style | {"marker": ""})
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    below.set(xlabel="confidence", ylabel="samples", ylim=(0, None))
    legend = above.legend(loc="upper left", fontsize=8, frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([28])
    plain_text(legend.get_texts())
    return finished(figure)


def class_picture(measured: Mapping[str, Measured], classes: Sequence[str]) -> Picture:
    """F1 of every class as a dot for each model, so that many classes and models stay readable."""
    names = shown_names(classes)
    figure = Figure(figsize=(6.0, 1.1 + 0.24 * len(classes)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    lanes = np.linspace(-0.22, 0.22, len(measured)) if len(measured) > 1 else np.zeros(1)
    for place, (name, one) in enumerate(measured.items()):
        places = np.arange(len(classes)) + lanes[place]
        axes.plot(one.classes.f1, places, label=shown_name(name), markersize=4.5, **_style(place) | {"linestyle": ""})
    axes.set(xlim=(-0.02, 1.02), ylim=(len(classes) - 0.4, -0.6), xlabel="F1")
    axes.set_yticks(range(len(classes)), names, fontsize=8)
    plain_text(axes.get_yticklabels())
    axes.grid(axis="both", color="grey", alpha=0.25, linewidth=0.6)
    axes.tick_params(length=0)
    plain_text(figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False).get_texts())
    return finished(figure)


def _style(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKS[place % len(MARKS)], "linestyle": "-"}


def finished(figure: Figure) -> Picture:
    """The bytes of a figure, without the name of the program or the time in them."""
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    return Picture(stream.getvalue(), round(figure.get_size_inches()[0] * CSS_PIXELS))


def plain_text(texts: Sequence[Text]) -> None:
    """Show text as it is: a dollar sign in a name is no formula."""
    for text in texts:
        text.set_parse_math(False)


def shown_names(classes: Sequence[str]) -> list[str]:
    """The names of classes, or their numbers where the font has no letters for a name."""
    return [shown_name(name, f"no. {place}") for place, name in enumerate(classes)]


def shown_name(name: str, otherwise: str = "?") -> str:
    """A name as a figure can show it: shortened, and only if the font that matplotlib brings has every letter of it.

    >>> shown_name("robe d'été"), shown_name("ドレス", "no. 3"), shown_name("a very long name of a class")
    ("robe d'été", 'no. 3', 'a very long name of a…')
    """
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    if not name.strip() or any(ord(letter) not in known or not letter.isprintable() for letter in name):
        return otherwise
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
