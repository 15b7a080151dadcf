import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.chance import sample_keys, uniforms
from components.probabilities.judging import Program

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
    views = draw_views(Augment(**{**STILL, "rotate": 45.0}), 0, ids, 1, aspect=2.0)
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


def test_a_crop_has_the_proportions_of_an_oblong_image_where_the_ratio_is_1():
    ids, _ = some(500)
    linear = draw_views(Augment(**{**STILL, "crop": (0.2, 0.9)}), 0, ids, 1, aspect=2 / 3).affine[:, :, :2]
    assert torch.allclose(linear[:, 0, 0], linear[:, 1, 1]) and torch.allclose(linear[:, 0, 1], torch.zeros(500))
    area = linear[:, 0, 0] * linear[:, 1, 1]
    assert 0.19 < area.min() < 0.3 and 0.8 < area.max() < 0.91


def test_an_image_upside_down_is_that():
    ids, pixels = some()
    view = render(pixels, draw_views(Augment(**{**STILL, "vertical_flip": 1.0}), 0, ids, 1), (20, 16))
    assert torch.allclose(view, pixels.flip(1).permute(0, 3, 1, 2) / 255, atol=1e-5)
    some_of_them = draw_views(Augment(**{**STILL, "vertical_flip": 0.3}), 0, some(2000)[0], 1).affine[:, 1, 1] < 0
    assert 0.25 < some_of_them.float().mean() < 0.35


def test_shifts_and_enlargements_stay_within_their_limits_and_reach_them():
    ids, _ = some(2000)
    affine = draw_views(Augment(**{**STILL, "translate": 0.1, "zoom": (0.8, 1.25)}), 0, ids, 1).affine
    shift, zoom = affine[:, :, 2] / 2, 1 / affine[:, 0, 0]  # coordinates run from -1 to 1
    assert shift.abs().max() <= 0.1 + 1e-6 and (shift.amax(dim=0) > 0.095).all() and (shift.amin(dim=0) < -0.095).all()
    assert 0.8 - 1e-6 <= zoom.min() < 0.81 and 1.24 < zoom.max() <= 1.25 + 1e-6
    assert torch.allclose(affine[:, 0, 0], affine[:, 1, 1])


@pytest.mark.parametrize("background", ["reflect", "grey"])
def test_an_affine_view_is_the_one_that_scipy_resamples(background):
    """Turned, sheared, shifted, shrunk: the same pixels by scipy's affine_transform, plane by plane, in float64."""
    ids, pixels = some(6, (31, 22))
    changes = {"rotate": 30, "shear": 10, "translate": 0.2, "zoom": (0.6, 0.9), "background": background}
    wish = Augment(**(STILL | changes))
    views = draw_views(wish, 3, ids, 2, aspect=22 / 31)
    ours = render(pixels, views, (31, 22)).numpy()
    half, middle = np.array([31 / 2, 22 / 2]), np.array([15.0, 10.5])
    for row in range(6):
        swapped = views.affine[row].double().numpy()[::-1][:, [1, 0, 2]]  # scipy counts (y, x)
        matrix = half[:, None] * swapped[:, :2] / half
        offset = middle - matrix @ middle + half * swapped[:, 2]
        for channel in range(3):
            plane = pixels[row, :, :, channel].numpy() / 255
            mode = {"reflect": "reflect", "grey": "grid-constant"}[background]
            theirs = affine_transform(plane, matrix, offset, order=1, mode=mode, cval=128 / 255)
            assert np.abs(ours[row, channel] - theirs).max() < 1e-3


def test_settings_without_the_new_changes_mean_the_pixels_that_they_always_meant():
    """Affine maps of version 1, written out: the crop, the mirror and the turn from draws 0 to 5 alone."""
    ids, _ = some(50)
    wish = Augment(rotate=20)
    draws = uniforms(sample_keys(5, "augment", ids, 3), 6)
    area = 0.35 + 0.65 * draws[:, 0]
    ratio = np.exp(np.log(0.75) + (np.log(1.333) - np.log(0.75)) * draws[:, 1])
    width, height = np.minimum(np.sqrt(area * ratio), 1), np.minimum(np.sqrt(area / ratio), 1)
    mirror = np.where(draws[:, 4] < 0.5, -1, 1)
    angle = np.radians((2 * draws[:, 5] - 1) * 20)
    expected = np.stack([
        np.cos(angle) * width * mirror, -np.sin(angle) * height, (2 * draws[:, 2] - 1) * (1 - width),
        np.sin(angle) * width * mirror, np.cos(angle) * height, (2 * draws[:, 3] - 1) * (1 - height)], axis=1)
    found = draw_views(wish, 5, ids, 3).affine.reshape(50, 6).numpy()
    assert np.array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("changed", [
    {"vertical_flip": 0.1}, {"translate": 0.1}, {"zoom": (0.9, 1.0)}, {"background": "grey"}, {"policy": "myaugment"},
    {"policy": "randaugment", "magnitude": 5}, {"policy": "randaugment", "operations": 1}])
def test_every_setting_of_the_views_changes_the_digest_that_guards_a_store(changed):
    base = {"policy": changed["policy"]} if len(changed) > 1 else {}
    assert Program(Augment(**changed), 0, (8, 8)).digest() != Program(Augment(**base), 0, (8, 8)).digest()


@pytest.mark.parametrize("wrong", [
    {"crop": (0.0, 1.0)}, {"crop": (0.9, 0.2)}, {"ratio": (2.0, 1.0)}, {"erase_area": (0.5, 1.5)}, {"zoom": (0.0, 1.0)},
    {"operations": 3}, {"magnitude": 3, "policy": "augmix"}])
def test_limits_out_of_order_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augment(**wrong)
