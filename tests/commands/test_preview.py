"""What `stillhouse preview` shows: the pixels of the training step, and names as they are."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import KIND, write_photographs

from components.cli import main
from components.data.augment import draw_views, render
from components.data.augment_settings import Augment, Overlay
from components.data.chance import sample_keys
from components.data.dataset import Dataset
from components.data.overlays import draw_overlays
from components.data.policies import apply_policy
from components.settings import Params
from components.training.preview import Sheet, sheet

PARAMS = """
seed: 4
student: {sizes: [[24, 30]], epochs: 2, augment: {policy: myaugment, zoom: [0.8, 1.0], background: grey}}
teachers: {big: {mix: {mixup: 0.5, cutmix: 0.5, each: sample}, scales: {share: 0.3, grid: 8}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photographs(tmp_path / "data" / "dataset")
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def of(section: str, wanted: tuple[int, int] = (5, 3)) -> tuple[Sheet, Dataset]:
    settings, dataset = Params.load(Path("params.yaml")).section(section), Dataset.open(Path("data/dataset"))
    return sheet(section, settings, 4, dataset, wanted), dataset  # type: ignore[arg-type]


def test_every_picture_is_the_view_that_the_step_renders(here: Path) -> None:
    found, dataset = of("student")
    augment = Params.load(Path("params.yaml")).section("student").augment  # type: ignore[attr-defined]
    paths = list(dataset.column("path"))
    assert found.size == (24, 30) and len(found.lines) == 5 and not found.mixed
    for line in found.lines:
        row = np.array([paths.index(line.path)])
        assert dataset.column("split").iloc[row[0]] == "train"
        assert [cell.caption for cell in line.cells] == ["untouched", "view 1", "view 2", "view 3"]
        for view in (1, 2, 3):
            keys = sample_keys(4, "policy", dataset.ids[row], view)
            pixels = torch.from_numpy(apply_policy(augment, dataset.pixels(row), keys))
            expected = render(pixels, draw_views(augment, 4, dataset.ids[row], view, 36 / 28), (24, 30))[0]
            shown = line.cells[view].pixels.transpose(2, 0, 1) / 255
            assert np.abs(shown - expected.numpy()).max() < 1 / 255


def test_the_untouched_image_is_what_evaluation_sees(here: Path) -> None:
    found, dataset = of("student")
    row = np.array([list(dataset.column("path")).index(found.lines[0].path)])
    pillow = Image.fromarray(dataset.pixels(row)[0]).resize((30, 24), Image.Resampling.BILINEAR)
    assert np.abs(found.lines[0].cells[0].pixels.astype(int) - np.asarray(pillow)).max() <= 2


def test_views_that_are_mixtures_say_how_much_of_them_is_their_own(here: Path) -> None:
    augment = Augment(mix=Overlay(mixup=1.0))
    settings = Params.load(Path("params.yaml")).section("student").model_copy(update={"augment": augment})
    dataset = Dataset.open(Path("data/dataset"))
    found = sheet("student", settings, 4, dataset, (5, 3))  # type: ignore[arg-type]
    rows = [list(dataset.column("path")).index(line.path) for line in found.lines]
    for row, line in zip(rows, found.lines, strict=True):
        assert line.cells[0].caption == "untouched"
        drawn = draw_overlays(augment.mix, 4, dataset.ids, (np.array([row]), np.array([2])), dataset.rows("train"))
        assert line.cells[2].caption == f"view 2, {float(drawn.opacity[0]):.2f} own"
    assert "views mixed with probability 1, by rectangles 0" in found.facts


def test_mixed_batches_say_how_much_of_whose_labels_they_have(here: Path) -> None:
    found, _ = of("teachers.big", (6, 8))
    captions = [cell.caption for line in found.mixed for cell in line.cells]
    form = re.compile(r"not mixed|[01]\.\d\d own, [01]\.\d\d ")
    assert len(captions) == 48 and all(form.match(text) for text in captions)
    labels = {line.labels for line in found.lines}
    assert any(text.partition("own, ")[2][5:] in labels for text in captions)
    assert any("heights" in fact for fact in found.facts) and any("mixup" in fact for fact in found.facts)


def test_the_page_holds_every_picture_and_escapes_every_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "student", "--count", "20", "--views", "2"]) == 0
    assert "20 samples, untouched and in 2 views" in capsys.readouterr().out
    text = (here / "reports" / "preview.html").read_text(encoding="utf-8")
    assert text.count("<figure") == 60 and "<script>" not in text
    assert KIND[2] in text and not re.findall(r'(?:src|href)="(?!data:image/jpeg)', text)
    first = base64.b64decode(re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)[0])
    assert Image.open(io.BytesIO(first)).size == (30, 24)


def test_the_sheet_as_an_image_is_the_same_each_time_and_as_wide_as_its_views(here: Path) -> None:
    for name in ("one.png", "two.png"):
        assert main(["preview", "teachers.big", "--count", "3", "--views", "4", "--out", name]) == 0
    assert (here / "one.png").read_bytes() == (here / "two.png").read_bytes()
    with Image.open(here / "one.png") as opened:
        width, height = opened.size
    enlarged = 2 * 82  # 64 pixels high, the width in the stored proportion of 28 x 36, both doubled
    assert width == 5 * (enlarged + 6) + 6 and height > 6 * 2 * 64


@pytest.mark.parametrize(("line", "told"), [
    (["preview", "index"], "nothing is trained by section index"), (["preview", "studnt"], "studnt is not a section"),
    (["preview", "student", "--count", "0"], "at least 1"), (["preview", "student", "--out", "x.gif"], "neither")])
def test_what_cannot_be_shown_is_answered_with_what_can(here: Path, line: list[str], told: str,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) in (1, 2)
    assert told in capsys.readouterr().err
