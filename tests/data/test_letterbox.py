import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.data.decoding import letterbox

side = st.integers(1, 97)


@settings(max_examples=200, deadline=None)
@given(side, side, side, side)
@example(1, 97, 97, 1)
@example(97, 1, 1, 97)
@example(1, 1, 96, 95)
@example(33, 47, 47, 33)
def test_regression_10_resize_and_pad_give_exactly_the_size_asked_for(height, width, wanted_height, wanted_width):
    """A white image on black: as large as fits, its proportions kept to the pixel, in the middle to the pixel."""
    found = letterbox(Image.new("RGB", (width, height), "white"), (wanted_height, wanted_width), 0)
    assert found.shape == (wanted_height, wanted_width, 3) and found.dtype == np.uint8
    rows, columns = (np.flatnonzero((found[:, :, 0] == 255).any(axis=axis)) for axis in (1, 0))
    inner = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert len(rows) == inner[0] and len(columns) == inner[1] and set(np.unique(found)) <= {0, 255}
    assert inner[0] == wanted_height or inner[1] == wanted_width
    scale = min(wanted_height / height, wanted_width / width)
    assert abs(inner[0] - max(scale * height, 1)) <= 0.5 + 1e-9 and abs(inner[1] - max(scale * width, 1)) <= 0.5 + 1e-9
    for first, last, whole in ((rows[0], rows[-1], wanted_height), (columns[0], columns[-1], wanted_width)):
        assert abs(first - (whole - 1 - last)) <= 1


@settings(max_examples=40, deadline=None)
@given(side, side, st.integers(0, 255))
def test_an_image_of_the_proportions_asked_for_fills_the_whole_and_any_grey_may_surround_others(height, width, grey):
    chance = np.random.default_rng(height * 100 + width)
    pixels = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(letterbox(Image.fromarray(pixels), (height, width), grey), pixels)
    wide = letterbox(Image.fromarray(pixels), (height, width + 2), grey)
    assert (wide[:, 0] == grey).all() and (wide[:, -1] == grey).all()
