import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment

STILL = {
    "crop": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "erase": 0.0,
}


def some(count=9, size=(20, 16), seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    return ids, torch.from_numpy(rng.integers(0, 256, (count, *size, 3), dtype=np.uint8))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 5), st.integers(1, 9))
def test_a_view_is_the_same_to_the_bit_in_any_order_and_batch_size(order, view, batch):
    ids, pixels = some()
    wish = Augment(rotate=20, shear=5, hue=20)
    whole = render(pixels, draw_views(wish, 7, ids, view), (17, 13))
    for start in range(0, 9, batch):
        part = list(order[start : start + batch])
        views = draw_views(wish, 7, ids[part], view)
        assert torch.equal(render(pixels[part], views, (17, 13)), whole[part])


def test_a_view_without_chances_is_the_image_itself():
    ids, pixels = some()
    view = render(pixels, draw_views(Augment(**STILL), 0, ids, 1), (20, 16))
    assert torch.allclose(view, pixels.permute(0, 3, 1, 2) / 255, atol=1e-5)


def test_a_mirrored_view_is_the_mirror_image():
    ids, pixels = some()
    view = render(pixels, draw_views(Augment(**{**STILL, "flip": 1.0}), 0, ids, 1), (20, 16))
    assert torch.allclose(view, pixels.flip(2).permute(0, 3, 1, 2) / 255, atol=1e-5)


def test_a_rotation_keeps_proportions_in_an_oblong_image():
    """A square of dots turned by some angle keeps its side lengths in pixels."""
    ids = np.random.default_rng(3).integers(0, 256, (20, 32), dtype=np.uint8)
    views = draw_views(Augment(**{**STILL, "rotate": 45.0, "ratio": (2.0, 2.0)}), 0, ids, 1, aspect=2.0)
    linear = views.affine[:, :, :2].double()
    half = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))  # half widths in pixels of a 2:1 image
    in_pixels = half @ linear @ half.inverse()
    assert torch.allclose(
        in_pixels @ in_pixels.transpose(1, 2), torch.eye(2, dtype=torch.float64).expand(20, 2, 2), atol=1e-6
    )


def test_crops_keep_the_shares_asked_for_and_stay_inside():
    ids = np.random.default_rng(3).integers(0, 256, (2000, 32), dtype=np.uint8)
    affine = draw_views(Augment(crop=(0.3, 0.8), flip=0.5), 0, ids, 1).affine
    width, height = affine[:, 0, 0].abs(), affine[:, 1, 1]
    area = width * height
    assert area.min() > 0.29 and area.max() < 0.81
    assert (affine[:, 0, 2].abs() + width).max() <= 1 + 1e-6 and (affine[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    assert 0.45 < (affine[:, 0, 0] < 0).float().mean() < 0.55


def test_the_hue_turns_as_the_colour_wheel_says():
    """For a saturated colour, a third of a turn about the grey axis exchanges the channels exactly."""
    ids, _ = some(200)
    settings = Augment(**{**STILL, "hue": 120.0})
    views = draw_views(settings, 0, ids, 1)
    red = torch.tensor([0.5, 0.2, 0.2])
    turned = torch.einsum("nij,j->ni", views.colour[:, :, :3], red)
    assert torch.allclose(turned.sum(dim=1), red.sum().expand(200), atol=1e-5)
    spread = turned - turned.mean(dim=1, keepdim=True)
    assert torch.allclose(spread.norm(dim=1), (red - red.mean()).norm().expand(200), atol=1e-5)
    hues = [colorsys.rgb_to_hsv(*(row.clamp(0, 1).tolist()))[0] for row in turned]
    assert max(hues) > 0.6 and min(hues) < 0.05


def test_saturation_and_brightness_do_what_their_names_say():
    ids, _ = some(300)
    grey, colour = torch.full((3,), 0.4), torch.tensor([0.6, 0.3, 0.1])
    only = draw_views(Augment(**{**STILL, "saturation": 0.5}), 0, ids, 1).colour
    assert torch.allclose(only[:, :, :3] @ grey, grey.expand(300, 3), atol=1e-5)  # grey has no colour to lose
    bright = draw_views(Augment(**{**STILL, "brightness": 0.3}), 0, ids, 1).colour
    factors = (bright[:, :, :3] @ colour) / colour
    assert (
        torch.allclose(factors, factors[:, :1].expand(300, 3), atol=1e-5)
        and 0.69 < factors.min() < factors.max() < 1.31
    )


def test_erased_rectangles_cover_the_shares_asked_for():
    ids, _ = some(400)
    pixels = torch.zeros((400, 50, 50, 3), dtype=torch.uint8)
    view = render(pixels, draw_views(Augment(**{**STILL, "erase": 0.5, "erase_area": (0.1, 0.2)}), 0, ids, 1), (50, 50))
    share = (view[:, 0] == 0.5).float().mean(dim=(1, 2))
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share[share > 0].min() > 0.07 and share.max() < 0.24


@pytest.mark.parametrize(
    "wrong", [{"crop": (0.0, 1.0)}, {"crop": (0.9, 0.2)}, {"ratio": (2.0, 1.0)}, {"erase_area": (0.5, 1.5)}]
)
def test_limits_out_of_order_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augment(**wrong)
