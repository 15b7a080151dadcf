"""Pictures are images of a sensible size, the same bytes every time, and take any name as it is."""

import io

import numpy as np
import pytest
from PIL import Image

from components.evaluation import metrics
from components.evaluation.figures import Picture, class_picture, confusion_picture, reliability_picture, shown_name

NAMES = ["$x^2$ \\frac{", "ドレス", "line\nbreak", "", "a_b", "x" * 300, "<b>", "été"]


def measured(classes: int, seed: int = 0) -> metrics.Measured:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, 30 * classes)
    logits = chance.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 2
    return metrics.measure(metrics.log_probabilities(logits, 1.0, "single"), labels, "single")


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.png))
    image.load()
    assert not {"Software", "Creation Time"} & set(image.info)
    return image


@pytest.mark.parametrize("classes", [2, 8, 20, 50, 300])
def test_a_confusion_matrix_stays_in_bounds_from_two_to_hundreds_of_classes(classes: int) -> None:
    picture = confusion_picture(measured(classes).confusion, [f"class {i}" for i in range(classes)])
    image = opened(picture)
    assert abs(image.width - 2 * picture.width) <= 1
    assert image.width <= 2400
    assert abs(image.width - image.height) <= 1


def test_the_colour_of_a_cell_is_the_share_of_its_row() -> None:
    matrix = np.array([[1000, 0], [0, 1]])
    image = np.asarray(opened(confusion_picture(matrix, ["a", "b"])).convert("RGB")).astype(int)
    blue = (image[..., 2] - image[..., 0] > 60) & (image.sum(axis=2) < 300)  # the darkest of the colour map
    assert blue.any()
    rows, columns = blue.nonzero()
    middle_row, middle_column = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    first = ((rows < middle_row) & (columns < middle_column)).sum()
    last = ((rows > middle_row) & (columns > middle_column)).sum()
    assert first + last > 0.98 * len(rows)  # the diagonal, and nothing beside it
    assert 0.8 < first / last < 1.25  # one sample of one is as much as a thousand of a thousand


def test_the_same_scores_give_the_same_bytes() -> None:
    models = {"a": measured(8, 1), "b": measured(8, 2)}
    for draw in (lambda: confusion_picture(models["a"].confusion, NAMES), lambda: reliability_picture(models),
                 lambda: class_picture(models, NAMES)):
        assert draw().png == draw().png


def test_names_of_every_kind_are_drawn_without_a_warning() -> None:
    opened(confusion_picture(measured(8).confusion, NAMES))
    opened(class_picture({"$model$": measured(8), "模型": measured(8, 3)}, NAMES))


def test_a_matrix_without_samples_in_a_row_is_drawn() -> None:
    opened(confusion_picture(np.zeros((3, 3), np.int64), ["a", "b", "c"]))


@pytest.mark.parametrize(("name", "shown"), [
    ("a\tb", "no. 1"), ("\x1b[31m", "no. 1"), (" ", "no. 1"), ("naïve", "naïve")])
def test_a_name_that_cannot_be_drawn_becomes_a_number(name: str, shown: str) -> None:
    assert shown_name(name, "no. 1") == shown
