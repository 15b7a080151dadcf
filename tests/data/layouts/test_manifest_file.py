"""Manifests of every form say the same, name their files below a root, and need no folder walked."""

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from garments import drawn, indexed, validated
from PIL import Image

from components.data.dataset import Dataset
from components.data.reading import Listing, read_listing
from components.data.settings import Data
from components.errors import UserError
from components.storage import receipts

ROWS = [("a.jpg", "train", "cat", "red|blue", 0.5), ("sub/b c.jpg", "val", "dog", "", None),
        ("sub/ü,é.jpg", "", "cat", "red", 2.0), ("left.jpg", "extra", "cat", "red", None)]
NAMES = ["path", "split", "kind", "colours", "weight"]
TASKS = {"kind": {}, "colours": {"kind": "multi"}}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for path, *_ in ROWS:
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / "raw" / path)
    return tmp_path / "raw"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(raw: Path, suffix: str, folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=NAMES).assign(sha256=[digest(raw / row[0]) for row in ROWS])
    whole = frame.assign(colours=[row[3].split("|") if row[3] else None for row in ROWS])
    file = folder / f"images{suffix}"
    if suffix == ".parquet":
        whole.to_parquet(file, index=False)
    elif suffix == ".jsonl":
        lines = [{name: value for name, value in row.items() if isinstance(value, list) or (pd.notna(value) and value)}
                 for row in whole.to_dict("records")]
        file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n", encoding="utf-8")
    else:
        frame.to_csv(file, index=False, sep="\t" if suffix == ".tsv" else ",")
    return file


def read(source: Path, /, **data: object) -> Listing:
    return read_listing(source, Data.model_validate(data, strict=False))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("apart", [False, True])
def test_every_form_says_the_same(raw: Path, tmp_path: Path, suffix: str, apart: bool) -> None:
    file = write(raw, suffix, tmp_path if apart else raw)
    listing = read(file, tasks=TASKS, root=str(raw) if apart else "")
    assert listing.layout == "manifest"
    assert listing.rows[["path", "split", "kind", "colours"]].values.tolist() == [
        ["a.jpg", "train", "cat", "red|blue"], ["sub/b c.jpg", "val", "dog", ""], ["sub/ü,é.jpg", "", "cat", "red"]]
    assert listing.rows["weight"].fillna(-1).tolist() == [0.5, -1, 2.0]
    assert listing.rows["sha256_given"].tolist() == [digest(raw / path) for path in listing.rows["path"]]
    assert any("1 of split 'extra'" in note for note in listing.notes)


def test_no_folder_is_walked(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(raw, ".csv", raw)
    for name in ("scandir", "listdir", "walk"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("walked"))
    assert len(read(file, tasks=TASKS).rows) == 3


def test_a_manifest_without_splits_or_digests_is_one_too(raw: Path) -> None:
    file = raw / "few.csv"
    file.write_text("image,kind\na.jpg,cat\nsub/b c.jpg,dog\n")
    listing = read(file, columns={"path": "image"})
    assert set(listing.rows["split"]) == {""} and listing.rows["sha256_given"].isna().all()


def test_a_dataset_made_from_a_manifest_leads_back_to_it(tmp_path: Path) -> None:
    rows = pd.read_csv(drawn() / "labels.csv", dtype=str, keep_default_na=False)
    rows.assign(sha256=[digest(drawn() / path) for path in rows["path"]]).to_csv(tmp_path / "images.csv", index=False)
    for name, source in (("manifest", tmp_path / "images.csv"), ("folder", drawn())):
        (tmp_path / name).mkdir()
        data = {"root": str(drawn()) if name == "manifest" else ""}
        validated(tmp_path / name, source, data=data)
        indexed(tmp_path / name, source, data=data)
    by_manifest, by_folder = (Dataset.open(tmp_path / name / "dataset") for name in ("manifest", "folder"))
    assert by_manifest.samples.equals(by_folder.samples)
    assert receipts.read(by_manifest.path).roots == {"source": digest(tmp_path / "images.csv")}


def test_a_file_that_is_not_what_the_manifest_says_is_left_out_as_changed(raw: Path, tmp_path: Path) -> None:
    for number in range(12):
        split = ("train", "val", "test")[number % 3]
        with (tmp_path / "images.csv").open("a") as stream:
            stream.write(("path,split,kind,sha256\n" if not number else "") + f"{number}.png,{split},")
            Image.effect_noise((40, 40), 50 + number).save(raw / f"{number}.png")
            stream.write(f"{('cat', 'dog')[number // 3 % 2]},{digest(raw / f'{number}.png')}\n")
    Image.effect_noise((40, 40), 99).save(raw / "4.png")
    assert validated(tmp_path, tmp_path / "images.csv", data={"root": str(raw)})["changed"] == 1
    rows = pd.read_parquet(tmp_path / "manifest" / "manifest.parquet").set_index("path")
    assert (rows.loc["4.png", "verdict"], rows.loc["4.png", "reason"]) == ("left_out", "changed")


@pytest.mark.parametrize(("content", "suffix", "words"), [
    ("path,kind\n", ".csv", "has no image of layout manifest"),
    ("path,kind\ngone.jpg,cat\na.jpg,dog\n", ".csv", "1 of 2 files are not there: gone.jpg"),
    ("path,kind\na.jpg,cat\n./a.jpg,dog\n", ".csv", "more than once: a.jpg"),
    ("path,kind,sha256\na.jpg,cat,12\n", ".csv", "row 2: sha256 is '12'; expected 64 hexadecimal digits"),
    ('{"path": "a.jpg", "kind": "cat"}\n[1]\n', ".jsonl", "line 2 is [1]"),
    ('{"path": "a.jpg", "kind": {}}\n', ".jsonl", "holds {}; expected text"),
    ('{"path": \n', ".jsonl", "line 1 is not JSON"),
    ("", ".jsonl", "has no row"),
    ("PAR1 or not", ".parquet", "is no Parquet file"),
    ("a.jpg cat", ".txt", "is of no known layout; it is a file"),
])
def test_ill_written_manifests_are_refused(raw: Path, content: str, suffix: str, words: str) -> None:
    (raw / f"bad{suffix}").write_text(content)
    with pytest.raises(UserError) as caught:
        read(raw / f"bad{suffix}")
    assert words in caught.value.cause and caught.value.remedy


def test_the_table_that_validate_writes_is_a_manifest_of_what_is_fit(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    rows = pd.read_parquet(tmp_path / "manifest" / "manifest.parquet")
    listing = read(tmp_path / "manifest" / "manifest.parquet", root=str(drawn()))
    fit = rows[rows["verdict"] == "ok"]
    assert listing.rows["path"].tolist() == fit["path"].tolist()
    assert listing.rows["sha256_given"].tolist() == fit["sha256"].tolist()
    assert [task.name for task in listing.tasks] == ["category", "colour", "pattern"]
    assert any("whose verdict is not ok are left out" in note for note in listing.notes)
