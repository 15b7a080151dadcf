"""A model on images that are stored otherwise than it was made for sees what it would have seen."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_models import write_photographs, write_small_model

from components.data.dataset import Dataset
from components.data.decoding import letterbox
from components.models.artifact import load_model
from components.models.refitting import framed, refitted


def test_a_model_on_its_own_storage_is_left_as_it_is(tmp_path: Path) -> None:
    dataset = Dataset.open(write_photographs(tmp_path / "dataset", 12))
    model = load_model(write_small_model(tmp_path / "model", "small", dataset))
    assert refitted(model, dataset.size) is model


def looks(tmp_path: Path, stored: tuple[int, int], picture: Image.Image, other: tuple[int, int]) -> list[np.ndarray]:
    """What a model made for `stored` is shown of a picture: from its own storage, and from another."""
    dataset = Dataset.open(write_photographs(tmp_path / f"dataset{stored}", 12))
    geometry = {"stored": list(stored), "input": [24, 24], "pad": 128}
    model = load_model(write_small_model(tmp_path / f"model{stored}", "small", dataset, 0, **geometry))
    assert json.loads((tmp_path / f"model{stored}" / "model.json").read_text())["geometry"]["stored"] == list(stored)
    return [one.preprocess(torch.from_numpy(letterbox(picture, size, 128))[None])[0].numpy()
             for one, size in ((model, stored), (refitted(model, other), other))]


def picture(height: int, width: int) -> Image.Image:
    """A smooth picture with a bright disc."""
    y, x = np.mgrid[0:height, 0:width]
    disc = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2) * 150.0
    pixels = np.stack([disc, 255.0 * y / height, 255.0 * x / width], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def test_another_resolution_shows_nearly_the_same_picture(tmp_path: Path) -> None:
    own, other = looks(tmp_path, (48, 48), picture(200, 150), (96, 96))
    assert own.shape == other.shape == (3, 24, 24)
    assert np.abs(own - other).mean() < 0.05 < own.std()


def test_another_shape_keeps_the_proportions(tmp_path: Path) -> None:
    tall = picture(200, 150)
    own, other = looks(tmp_path, (48, 48), tall, (64, 48))
    assert np.abs(own - other).mean() < 0.06
    squeezed = np.asarray(Image.fromarray(letterbox(tall, (64, 48), 128)).resize((24, 24), Image.Resampling.BILINEAR))
    plain = (squeezed / 255.0).transpose(2, 0, 1)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert np.abs((plain - mean[:, None, None]) / std[:, None, None] - own).mean() > 3 * np.abs(own - other).mean()


def test_a_frame_is_the_smallest_around_the_stored_size() -> None:
    for stored, shape in (((64, 48), (48, 48)), ((48, 64), (48, 48)), ((30, 40), (36, 28)), ((50, 50), (10, 30))):
        rows, columns = framed(stored, shape)
        assert rows >= stored[0] and columns >= stored[1] and (rows == stored[0] or columns == stored[1])
        assert abs(rows / columns - shape[0] / shape[1]) < 0.03
