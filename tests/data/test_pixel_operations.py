"""Each operation against another library or an explicit loop."""

import colorsys
import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage
from scipy.stats import kstest

from components.data import pixel_operations as op

MODES = {"constant": "grid-constant", "edge": "nearest", "symmetric": "reflect", "reflect": "mirror",
         "wrap": "grid-wrap"}


def picture(height=37, width=52, seed=0):
    """Smooth shapes with some noise, so that blurs and turns have something to show."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.uniform(0, 255, (height, width, 3)), (3, 3, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def difference(ours, theirs):
    assert ours.dtype == np.uint8 and ours.shape == theirs.shape
    return np.abs(ours.astype(float) - np.asarray(theirs, float))


@pytest.mark.parametrize("degrees", [-20.0, -3.3, 0.0, 11.0, 20.0])
@pytest.mark.parametrize("border", range(5))
@pytest.mark.parametrize("size", [(37, 52), (60, 20), (1, 9)])
def test_a_turn_is_that_of_scipy_under_every_border(degrees, border, size):
    pixels = picture(*size)
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    middle = (np.array(size) - 1) / 2
    mode = MODES[op.BORDERS[border]]
    theirs = np.stack([ndimage.affine_transform(pixels[:, :, channel].astype(float), matrix, middle - matrix @ middle,
                                                order=1, mode=mode, cval=90) for channel in range(3)], axis=2)
    found = difference(op.rotate(pixels, degrees, float(border), 90.0), theirs)
    assert found.max() <= 3 and found.mean() < 0.6


def test_a_crop_keeps_the_part_asked_for_and_the_size():
    row = np.linspace(0, 250, 101)
    pixels = np.broadcast_to(row[None, :, None], (50, 101, 3)).astype(np.uint8)
    found = op.crop(pixels, 0.0, 0.1, 0.0, 0.05)
    assert found.shape == pixels.shape
    where = 0.05 + (np.arange(101) + 0.5) / 101 * 0.85  # place of each pixel's middle, share of the old width
    expected = np.clip(where * 101 - 0.5, 0, 100) * 2.5
    assert difference(found[25], np.repeat(expected[:, None], 3, 1)).max() <= 2


def test_a_gaussian_blur_is_near_the_true_one():
    pixels = picture()
    for sigma in (0.5, 1.0, 2.0):
        theirs = ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0), mode="nearest")
        assert difference(op.gaussian_blur(pixels, sigma), theirs).mean() < 1.5
        assert difference(op.gaussian_blur(pixels, sigma), theirs).mean() < difference(pixels, theirs).mean() / 2
    assert np.array_equal(op.gaussian_blur(pixels, 0.0), pixels)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_an_average_blur_is_the_mean_over_a_square(side):
    pixels = picture()
    theirs = ndimage.uniform_filter(pixels.astype(float), (side, side, 1), mode="nearest")
    assert difference(op.average_blur(pixels, side), theirs).max() <= 1.5


@pytest.mark.parametrize("length", [3, 7, 11])
@pytest.mark.parametrize(("degrees", "axis"), [(0.0, 1), (90.0, 0)])
def test_a_motion_along_an_axis_is_the_mean_along_it(length, degrees, axis):
    pixels = picture()
    theirs = ndimage.uniform_filter1d(pixels.astype(float), length, axis=axis, mode="nearest")
    assert difference(op.motion_blur(pixels, length, degrees), theirs).max() <= 1


def test_a_motion_along_a_diagonal_smears_a_dot_along_it():
    pixels = np.zeros((15, 15, 3), np.uint8)
    pixels[7, 7] = 250
    found = op.motion_blur(pixels, 5, 45.0)[:, :, 0]
    lit = {(y - 7, x - 7) for y, x in zip(*np.nonzero(found), strict=True)}
    assert lit == {(1, -1), (0, 0), (-1, 1)} and found.astype(int).sum() == 250


@pytest.mark.parametrize("side", [3, 5])
def test_a_bilateral_mean_is_the_one_of_explicit_loops(side):
    pixels, spread, reach = picture(9, 8), 40.0, side // 2
    found = op.bilateral(pixels, side, spread)
    for y in range(9):
        for x in range(8):
            total, weights = np.zeros(3), 0.0
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    other = pixels[min(max(y + dy, 0), 8), min(max(x + dx, 0), 7)].astype(float)
                    apart = ((other - pixels[y, x]) ** 2).sum()
                    weight = math.exp(-apart / (2 * spread**2)) * math.exp(-(dy**2 + dx**2) / (2 * (side / 3) ** 2))
                    total, weights = total + weight * other, weights + weight
            assert np.abs(found[y, x] - total / weights).max() <= 0.51


def test_a_bilateral_mean_keeps_an_edge_that_a_blur_does_not():
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, 10:] = 200
    assert np.array_equal(op.bilateral(pixels, 7, 10.0), pixels)
    assert not np.array_equal(op.average_blur(pixels, 5), pixels)


def test_salt_and_pepper_turn_the_share_asked_for_white_and_black_in_equal_parts():
    pixels = np.full((300, 300, 3), 100, np.uint8)
    found = op.salt_and_pepper(pixels, 0.03, 0.4)
    black, white = (found == 0).all(axis=2), (found == 255).all(axis=2)
    assert np.array_equal(black | white, (found != 100).any(axis=2))
    assert abs(black.mean() - 0.015) < 0.002 and abs(white.mean() - 0.015) < 0.002
    assert not np.array_equal(found, op.salt_and_pepper(pixels, 0.03, 0.41))
    assert np.array_equal(op.salt_and_pepper(pixels, 0.0, 0.4), pixels)


@pytest.mark.parametrize("coloured", [0.0, 1.0])
def test_noise_is_normal_and_of_the_spread_asked_for(coloured):
    pixels = np.full((200, 200, 3), 128, np.uint8)
    noise = op.gaussian_noise(pixels, 12.0, coloured, 0.7).astype(float) - 128
    smoothed = noise + np.random.default_rng(0).uniform(-0.5, 0.5, noise.shape)  # undoes the rounding
    assert kstest(smoothed[:, :, 0].ravel() / math.hypot(12, 0), "norm").pvalue > 1e-4
    assert np.array_equal(noise[:, :, 0], noise[:, :, 1]) is not bool(coloured)
    if coloured:
        assert abs(np.corrcoef(noise[:, :, 0].ravel(), noise[:, :, 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_contrast_is_that_of_pillow_about_the_middle_grey(factor):
    pixels = picture()
    theirs = Image.blend(Image.new("RGB", (52, 37), (127,) * 3), Image.fromarray(pixels), factor)
    assert difference(op.contrast(pixels, factor), np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize(("share", "lightness"), [(0.0, 1.0), (0.5, 0.75), (1.0, 1.5)])
def test_sharpening_is_the_kernel_under_pillow(share, lightness):
    pixels = picture() // 4 + 90  # far from the ends, where Pillow's rounding on the way would show
    kernel = [-share] * 9
    kernel[4] = (1 - share) + share * (8 + lightness)
    filtered = Image.fromarray(pixels).filter(ImageFilter.Kernel((3, 3), kernel, scale=1))
    theirs = np.asarray(filtered)[1:-1, 1:-1]
    assert difference(op.sharpen(pixels, share, lightness)[1:-1, 1:-1], theirs).max() <= 1


def test_sharpening_raises_the_contrast_of_edges_as_pillows_does():
    pixels = picture()
    assert op.sharpen(pixels, 0.5, 1.0).std() > pixels.std()
    assert np.asarray(ImageEnhance.Sharpness(Image.fromarray(pixels)).enhance(2.0)).std() > pixels.std()


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 25.0), (0.6, 0.0), (1.2, -20.0)])
def test_brightness_scales_the_luma_of_ycbcr_and_leaves_the_colour(factor, offset):
    pixels = picture() // 3 + 80  # no channel is cut off
    before, after = (np.asarray(Image.fromarray(one).convert("YCbCr"), float)
                     for one in (pixels, op.brightness(pixels, factor, offset)))
    assert np.abs(after[:, :, 0] - (before[:, :, 0] * factor + offset)).max() <= 2
    assert np.abs(after[:, :, 1:] - before[:, :, 1:]).max() <= 2


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 75.0), (1.0, -75.0), (0.0, 0.0), (3.0, 0.0)])
def test_saturation_changes_the_saturation_of_the_cone_alone(factor, offset):
    found = op.saturation(picture(12, 11), factor, offset)
    for before, after in zip(picture(12, 11).reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = colorsys.hsv_to_rgb(hue, min(max(saturation * factor + offset / 255, 0), 1), value)
        assert np.abs(after / 255 - expected).max() < 0.04


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 255.0), (1.0, -100.0), (0.0, 0.0), (-1.0, 0.0), (2.5, 0.0)])
def test_hue_turns_the_hue_of_the_cone_alone(factor, offset):
    found = op.hue(picture(12, 11), factor, offset)
    for before, after in zip(picture(12, 11).reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = colorsys.hsv_to_rgb((hue * factor + offset / 256) % 1, saturation, value)
        assert np.abs(after / 255 - expected).max() < 0.09


def test_a_mirror_image_mirrors():
    pixels = picture()
    assert np.array_equal(op.flip(pixels), pixels[:, ::-1]) and op.flip(pixels).flags.c_contiguous
