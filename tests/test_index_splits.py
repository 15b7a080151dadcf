"""`index` gives a split to every image that has none, and repairs given ones when it is asked to."""

import csv
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from garments import drawn, indexed, validated

from components.data.dataset import Dataset
from components.errors import UserError
from components.settings import Params


def rewritten(folder: Path, **changed: str) -> Path:
    """The drawn set with other splits: links to its images, and a labels.csv of its own."""
    folder.mkdir()
    (folder / "images").symlink_to(drawn() / "images")
    with (drawn() / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"split": changed.get(row["split"], row["split"])} for row in rows)
    return folder


def made(root: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    figures: dict[str, int] = json.loads((root / "built.json").read_text())
    return Dataset.open(root / "dataset").samples, figures


@pytest.mark.parametrize("method", ["stable", "stratified"])
def test_images_without_a_split_get_one_and_no_garment_is_torn(tmp_path: Path, method: str) -> None:
    validated(tmp_path, rewritten(tmp_path / "raw", train="", val="", test=""))
    indexed(tmp_path, tmp_path / "raw", index={"split": {"method": method}})
    samples, figures = made(tmp_path)
    assert set(samples["split"]) == {"train", "val", "test"}
    assert (samples.groupby("identity")["split"].nunique() == 1).all()
    assert figures["assigned"] == len(samples) > 140
    assert figures["leaking.test.stored"] == figures["leaking.val.stored"] == 0
    if method == "stratified":
        assert abs((samples["split"] == "test").mean() - 0.1) < 0.02
    division = Dataset.open(tmp_path / "dataset").head["division"]
    assert sum(division["assigned"].values()) == len(samples)
    assert division["assigned"] == dict(Counter(samples["split"]))


def test_a_set_without_a_test_split_gets_one_from_train_and_says_so(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    validated(tmp_path, rewritten(tmp_path / "raw", test="train"))
    capfd.readouterr()
    indexed(tmp_path, tmp_path / "raw", index={"split": {"method": "stratified"}})
    samples, figures = made(tmp_path)
    assert "warning: test had no image and got" in capfd.readouterr().err
    assert figures["moved"] == (samples["split"] == "test").sum() > 0
    assert (samples.groupby("identity")["split"].nunique() == 1).all()


def torn(folder: Path) -> Path:
    """The drawn set with one picture of each of three garments of train in val."""
    source = rewritten(folder)
    table = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False)
    firsts = table[table["split"] == "train"].drop_duplicates("identity").index[:3]
    table.loc[firsts, "split"] = "val"
    table.to_csv(source / "labels.csv", index=False)
    return source


def test_a_leak_is_told_with_both_figures_and_repaired_on_request(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = torn(tmp_path / "raw")
    validated(tmp_path, source)
    capfd.readouterr()
    indexed(tmp_path, source)
    said, (_, before) = capfd.readouterr().err, made(tmp_path)
    assert (before["leaking.val.given"], before["leaking.val.stored"], before["moved"]) == (3, 3, 0)
    assert "3 of 26 images of val have a mate in train by identity (3 of 11 values)" in said
    assert "index.split.repair: true would move 3 images" in said
    indexed(tmp_path, source, index={"split": {"repair": True}})
    samples, after = made(tmp_path)
    assert (after["leaking.val.given"], after["leaking.val.stored"], after["moved"]) == (3, 0, 3)
    assert (samples.groupby("identity")["split"].nunique() == 1).all()


def test_the_seed_of_training_moves_no_image() -> None:
    plain, other = (Params({"seed": seed}).section("index").digestible() for seed in (0, 5))
    assert plain == other
    assert plain["split"]["seed"] == 0


def test_a_column_of_groups_that_is_not_there_is_refused(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    with pytest.raises(UserError, match=r"index\.split\.groups names sender"):
        indexed(tmp_path, drawn(), index={"split": {"groups": ["sender"]}})
    assert not (tmp_path / "dataset").exists()
