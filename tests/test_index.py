"""The Dataset holds what a plain loop over the manifest would put there."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from garments import drawn, indexed, step, validated
from PIL import Image

from components.data.dataset import Dataset
from components.data.decoding import decode, letterbox, sniff
from components.data.tasks import Task
from components.errors import UserError
from components.storage import receipts


def test_the_dataset_is_what_a_plain_loop_makes(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn(), index={"size": [20, 28], "pad": 7, "shard_mb": 1})
    dataset = Dataset.open(tmp_path / "dataset")
    with (tmp_path / "manifest" / "findings.csv").open(newline="") as stream:
        left_out = {row["path"] for row in csv.DictReader(stream) if row["verdict"] == "left_out"}
    with (drawn() / "labels.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["path"] not in left_out]
    for row in rows:
        row["id"] = hashlib.sha256((drawn() / row["path"]).read_bytes()).hexdigest()
    rows.sort(key=lambda row: (["train", "val", "test"].index(row["split"]), row["id"]))
    assert len(dataset) == len(rows) == 144
    assert dataset.size == (20, 28)
    for name in ("id", "path", "split", "identity", "camera"):
        assert dataset.samples[name].tolist() == [row[name] for row in rows]
    for task in dataset.tasks:
        assert task.classes == tuple(sorted({row[task.name] for row in rows} - {""}))
        names = [task.classes[label] if label >= 0 else "" for label in dataset.labels(task)]
        assert names == [row[task.name] for row in rows]
    expected = np.stack([letterbox(decode((drawn() / row["path"]).read_bytes()), (20, 28), 7) for row in rows])
    assert (dataset.pixels(np.arange(len(rows))) == expected).all()
    assert set(dataset.samples["width"]) == {40}


def test_counts_examples_and_figures_agree_with_the_samples(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn())
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.size == (64, 64)
    for split in ("train", "val", "test"):
        rows = dataset.samples[dataset.samples["split"] == split]
        assert dataset.head["splits"][split] == len(rows)
        for task in dataset.tasks:
            for label, name in enumerate(task.classes):
                assert dataset.head["counts"][task.name][split][name] == (rows[task.name] == label).sum()
    test = dataset.samples[dataset.samples["split"] == "test"]
    assert [Path(name).stem for name in dataset.head["examples"]] == sorted(test["id"])[:16]
    for name in dataset.head["examples"]:
        content = (tmp_path / "dataset" / "examples" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == Path(name).stem
    figures = json.loads((tmp_path / "built.json").read_text())
    assert figures | {"images.train": dataset.head["splits"]["train"], "images.val": dataset.head["splits"]["val"],
                       "images.test": dataset.head["splits"]["test"], "classes.category": 8, "classes.colour": 8,
                       "classes.pattern": 4, "bytes": 144 * 64 * 64 * 3 + 128, "merged": 0} == figures


def test_processes_and_places_change_no_byte(tmp_path: Path) -> None:
    validated(tmp_path / "a", drawn())
    one = indexed(tmp_path / "a", drawn(), runtime={"threads": 1})
    shutil.copytree(drawn(), tmp_path / "b" / "raw")
    validated(tmp_path / "b", tmp_path / "b" / "raw")
    two = indexed(tmp_path / "b", tmp_path / "b" / "raw", runtime={"threads": 2})
    assert one["outputs"] == two["outputs"]


def test_a_shard_is_no_larger_than_asked_for(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn(), index={"size": [100, 100], "shard_mb": 1})
    dataset = Dataset.open(tmp_path / "dataset")
    sizes = [path.stat().st_size for path in (tmp_path / "dataset" / "shards").iterdir()]
    assert len(sizes) == 5
    assert max(sizes) <= 1 << 20
    assert dataset.pixels(np.array([0, 143])).shape == (2, 100, 100, 3)


def test_a_file_that_changed_since_it_was_validated_is_refused(tmp_path: Path) -> None:
    shutil.copytree(drawn(), tmp_path / "raw", ignore=shutil.ignore_patterns(receipts.NAME))
    validated(tmp_path, tmp_path / "raw")
    changed = next(path for path in sorted((tmp_path / "raw" / "images").iterdir()) if path.suffix == ".jpg")
    Image.new("RGB", (40, 40)).save(changed)
    with pytest.raises(UserError, match=f"{changed.name} was changed since it was validated") as caught:
        indexed(tmp_path, tmp_path / "raw")
    assert "validate" in caught.value.remedy
    changed.unlink()
    with pytest.raises(UserError, match=f"{changed.name} cannot be read"):
        indexed(tmp_path, tmp_path / "raw")
    assert not (tmp_path / "dataset").exists()


def drawn_noise(seed: int, size: int = 40) -> Image.Image:
    """A picture that no check doubts."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.NEAREST)


def multi(root: Path) -> Path:
    """Images with several labels each, ids of two kinds of absence, and weights."""
    rows = [("path", "split", "tags", "group", "weight")]
    for number, (split, tags, weight) in enumerate(
        [("train", "red|round", ""), ("train", "", "2.5"), ("train", "red", "0"), ("val", "round|red", ""),
         ("val", "blue", ""), ("test", "round", ""), ("train", "blue", "")]):
        drawn_noise(number).save(root / f"{number}.png")
        rows.append((f"{number}.png", split, tags, "g" if number else "", weight))
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


def test_several_labels_an_image_arrive_as_lists(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = multi(tmp_path / "raw")
    validated(tmp_path, source, data={"tasks": {"tags": {"kind": "multi"}}})
    indexed(tmp_path, source)
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.tasks == (Task("tags", "multi", ("blue", "red", "round")),)
    tags = dataset.labels(dataset.tasks[0])
    labels = {path: row.tolist() for path, row in zip(dataset.samples["path"], tags, strict=True)}
    assert labels["0.png"] == labels["3.png"] == [0, 1, 1]
    assert labels["4.png"] == [1, 0, 0]
    assert np.isnan(labels["1.png"]).all()
    weights = dict(zip(dataset.samples["path"], dataset.weights.tolist(), strict=True))
    assert (weights["0.png"], weights["1.png"], weights["2.png"]) == (1.0, 2.5, 0.0)
    assert dict(zip(dataset.samples["path"], pd.isna(dataset.samples["group"]), strict=True))["0.png"]
    assert "identity" not in dataset.samples
    assert dataset.head["counts"]["tags"]["train"] == {"blue": 1, "red": 2, "round": 1}


def test_classes_keep_the_order_of_the_settings(tmp_path: Path) -> None:
    order = ["yellow", "white", "red", "purple", "grey", "green", "blue", "black"]
    validated(tmp_path, drawn(), data={"tasks": {"colour": {"classes": order}}})
    indexed(tmp_path, drawn())
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.tasks == (Task("colour", "single", tuple(order)),)
    with (drawn() / "labels.csv").open(newline="") as stream:
        colours = {row["path"]: row["colour"] for row in csv.DictReader(stream)}
    found = [order[label] for label in dataset.labels(dataset.tasks[0])]
    assert found == [colours[path] for path in dataset.samples["path"]]


@pytest.mark.parametrize("size", [[0, 64], [64, -1], [64], [64, 64.5], [5000, 64]])
def test_impossible_sizes_are_refused(tmp_path: Path, size: list[float]) -> None:
    with pytest.raises(UserError, match=r"index\.size"):
        step("index", {"index": {"size": size}}, dataset=tmp_path / "dataset", source=drawn(), manifest=tmp_path,
             metrics=tmp_path / "built.json")


def test_something_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn())
    with pytest.raises(UserError, match="manifest"):
        step("index", {}, dataset=tmp_path / "other", source=drawn(), manifest=tmp_path / "dataset",
             metrics=tmp_path / "other.json")


def test_regression_15_a_second_run_decodes_nothing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    first = indexed(tmp_path, drawn())
    again = indexed(tmp_path, drawn())
    assert (first["decoded_files"], again["decoded_files"]) == (144, 0)
    assert first["outputs"] == again["outputs"]
    assert not list((tmp_path / ".work").glob("*")), "the state of an interrupted run is gone"
    shutil.rmtree(tmp_path / ".cache")
    assert indexed(tmp_path, drawn())["outputs"] == first["outputs"]


def test_regression_15_names_with_spaces_commas_and_accents_arrive_whole(tmp_path: Path) -> None:
    names = ["a b.png", "c,d.png", 'e"f.png', "\u00e9\u4e2d.png", "e\u0301.png", "=1+1.png", "#h.png", "%20.png",
             "x|y.png"]
    for split in ("train", "val", "test"):
        for number, name in enumerate(names):
            folder = tmp_path / "raw" / split / ("one, two" if number % 2 else "three four")
            folder.mkdir(parents=True, exist_ok=True)
            drawn_noise(len(names) * ("train", "val", "test").index(split) + number).save(folder / name)
    validated(tmp_path, tmp_path / "raw")
    indexed(tmp_path, tmp_path / "raw")
    paths = sorted(path.relative_to(tmp_path / "raw").as_posix() for path in (tmp_path / "raw").rglob("*.png"))
    assert sorted(Dataset.open(tmp_path / "dataset").samples["path"]) == paths and len(paths) == 27


def test_the_choice_and_its_cost_are_said_and_jpeg_serves_as_well(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn(), index={"decoded_limit": 0.001})
    said = capsys.readouterr().err
    assert "144 images of 64 x 64 take 1.77 MB decoded or about" in said
    assert "stored: jpeg (decoded is over index.decoded_limit, 0.001 GB)" in said
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.head["geometry"]["pixels"] == "jpeg"
    paths = [drawn() / path for path in dataset.samples["path"][:20]]
    plain = np.stack([letterbox(decode(path.read_bytes()), (64, 64), 128) for path in paths]).astype(int)
    differences = np.abs(dataset.pixels(np.arange(20)) - plain).mean(axis=(1, 2, 3))
    assert differences.max() < 6
    kept = [sniff(path.read_bytes()) == "JPEG" for path in paths]  # drawn at 40 pixels: they are small JPEGs already
    assert (differences[kept] == 0).all() and (differences[~np.array(kept)] > 0).all()


def test_near_copies_that_a_policy_allows_share_a_cluster_and_other_samples_have_none(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn(), tmp_path / "raw", ignore=shutil.ignore_patterns(receipts.NAME)))
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    first = next(row for row in rows if row["split"] == "train" and row["path"].endswith(".png"))
    with Image.open(folder / first["path"]) as image:
        image.convert("RGB").resize((80, 80)).save(folder / "larger.png")
    with (folder / "labels.csv").open("a", newline="") as stream:
        csv.DictWriter(stream, list(rows[0])).writerow({**first, "path": "larger.png"})
    validated(tmp_path, folder, validate={"policies": {"near_duplicate": "allow"}})
    indexed(tmp_path, folder)
    samples = Dataset.open(tmp_path / "dataset").samples
    clusters = samples.set_index("path")["cluster"]
    assert clusters["larger.png"] == clusters[first["path"]] != ""
    assert (clusters == clusters["larger.png"]).sum() == 2
    assert clusters.isna().sum() > len(samples) / 2
