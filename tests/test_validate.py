"""What `validate` finds in the drawn set is what was planted, and what it writes says so."""

import csv
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from garments import drawn, step, validated
from imports import ROOT
from PIL import Image

from components.data.manifest import Manifest
from components.data.verdicts import REASONS
from components.errors import UserError
from components.storage import receipts


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the drawn set that may be changed."""
    shutil.copytree(drawn(), tmp_path / "raw", ignore=shutil.ignore_patterns(receipts.NAME))
    return tmp_path / "raw"


def planted(kind: str) -> set[str]:
    return {entry["path"] for entry in json.loads((drawn() / "faults.json").read_text()) if entry["fault"] == kind}


def left_out(root: Path) -> dict[str, str]:
    """The first reason that leaves each file out."""
    found = [row for row in findings(root) if row["verdict"] == "left_out"]
    return {row["path"]: row["reason"] for row in reversed(found)}


def findings(root: Path) -> list[dict[str, str]]:
    with (root / "manifest" / "findings.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def add(source: Path, name: str, content: bytes, like: int = 1) -> str:
    """Put one more file into a folder, its row like that of another."""
    with (source / "labels.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    (source / name).write_bytes(content)
    rows.append([name, *rows[like][1:]])
    with (source / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return rows[like][0]


def test_exactly_the_planted_faults_are_found_and_left_out(tmp_path: Path) -> None:
    figures = validated(tmp_path, drawn())
    reasons = {"truncated": "truncated", "empty": "empty", "duplicated": "leak"}
    assert left_out(tmp_path) == {path: reason for kind, reason in reasons.items() for path in planted(kind)}
    named = [row for row in findings(tmp_path) if row["reason"] == "wrong_extension"]
    assert {row["path"] for row in named} == planted("wrong_extension")
    assert {row["verdict"] for row in named} == {"ok"}
    rows = Manifest.open(tmp_path / "manifest").rows
    assert set(rows.loc[rows["path"].isin(planted("wrong_extension")), "reason"]) == {""}
    counts = dict.fromkeys(REASONS, 0) | {"truncated": 4, "empty": 2, "leak": 4, "wrong_extension": 3}
    assert figures == {"files": 154, "kept": 144} | counts


def test_one_process_and_two_write_the_same_bytes(tmp_path: Path) -> None:
    for threads in (1, 2):
        validated(tmp_path / str(threads), drawn(), runtime={"threads": threads})
    for name in ("manifest/receipt.json", "page.html", "found.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_manifest_says_of_every_file_what_the_file_says_itself(tmp_path: Path) -> None:
    import hashlib

    validated(tmp_path, drawn())
    rows = Manifest.open(tmp_path / "manifest").rows
    assert len(rows) == 154
    for row in rows.itertuples():
        content = (drawn() / str(row.path)).read_bytes()
        assert (row.sha256, row.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        if row.verdict == "ok":
            with Image.open(io.BytesIO(content)) as image:
                assert ((row.width, row.height), row.mode) == (image.size, image.mode)
    assert pq.read_schema(tmp_path / "manifest" / "manifest.parquet").pandas_metadata is None


def test_nothing_in_the_artifact_tells_where_it_was_made(tmp_path: Path) -> None:
    shutil.copytree(drawn(), tmp_path / "elsewhere" / "raw")
    validated(tmp_path / "a", drawn())
    validated(tmp_path / "b", tmp_path / "elsewhere" / "raw")
    for path in sorted((tmp_path / "a" / "manifest").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / "manifest" / path.name).read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


def test_copies_with_other_labels_are_in_conflict_and_both_left_out(tmp_path: Path, source: Path) -> None:
    with (source / "labels.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    other = next(number for number, row in enumerate(rows) if number and row[2] != rows[1][2])
    add(source, "images/twin.jpg", (source / rows[1][0]).read_bytes(), like=other)
    validated(tmp_path, source)
    found = left_out(tmp_path)
    assert found["images/twin.jpg"] == found[rows[1][0]] == "conflict"


def test_policy_fail_stops_with_counts_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 empty, 4 truncated, 4 leak: images/") as caught:
        validated(tmp_path, drawn(), validate={"policy": "fail"})
    assert "quarantine" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_policy_allow_keeps_all_that_decodes_and_one_reason_may_be_stricter(tmp_path: Path) -> None:
    validated(tmp_path / "a", drawn(), validate={"policy": "allow"})
    assert set(left_out(tmp_path / "a")) == planted("truncated") | planted("empty")
    validated(tmp_path / "b", drawn(), validate={"policy": "allow", "policies": {"wrong_extension": "quarantine"}})
    assert set(left_out(tmp_path / "b")) == planted("truncated") | planted("empty") | planted("wrong_extension")


def test_a_misspelt_reason_gets_the_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one of empty, .* Did you mean 'leak'\?"):
        validated(tmp_path, drawn(), validate={"policies": {"leek": "fail"}})


@pytest.mark.parametrize("what", ["split", "class"])
def test_a_split_or_class_that_loses_every_image_is_an_error(tmp_path: Path, source: Path, what: str) -> None:
    with (source / "labels.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if (row["split"] == "val") if what == "split" else (row["colour"] == "red"):
                (source / row["path"]).write_bytes(b"")
    words = "every image of split val" if what == "split" else "every image of class red of colour"
    with pytest.raises(UserError, match=f"{words} was left out: [0-9]+ empty"):
        validated(tmp_path, source)
    assert not (tmp_path / "manifest").exists()


def test_formulas_in_names_are_harmless_in_the_list_for_people(tmp_path: Path, source: Path) -> None:
    for name in ("=cmd|' !A0.jpg", "@x.jpg", "-1.jpg", "+2.jpg"):
        add(source, name, b"")
    validated(tmp_path, source)
    assert {"'=cmd|' !A0.jpg", "'@x.jpg", "'-1.jpg", "'+2.jpg"} <= set(left_out(tmp_path))


class Page(html.parser.HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_else_and_shows_pairs_and_counts(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    pictures = [dict(attributes)["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3 + 4 * 2  # of wrong extensions one each, of leaks two
    assert all(str(source).startswith("data:image/jpeg;base64,") for source in pictures)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in page.tags)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)|url\(|@import", text)
    assert "144 of 154 images are fit" in page.words
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert "prefers-color-scheme: dark" in text
    for kind in ("truncated", "empty", "wrong_extension", "duplicated"):
        assert all(path in page.words for path in planted(kind))


def test_the_page_escapes_names_and_labels(tmp_path: Path, source: Path) -> None:
    name = "<script>alert('x')<b>&\".jpg"
    add(source, name, b"")
    text = (source / "labels.csv").read_text().replace(",dress,", ",<i>dress&,")
    (source / "labels.csv").write_text(text)
    validated(tmp_path, source)
    page = Page((tmp_path / "page.html").read_text())
    assert name in page.words
    assert "<i>dress&" in page.words
    assert not any(tag in ("script", "i") for tag, _ in page.tags)


def test_what_was_left_out_by_the_layout_is_warned_of_and_noted(
    tmp_path: Path, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    validated(tmp_path, source, data={"tasks": {"colour": {}}})
    assert "warning:" in (said := capfd.readouterr().err)
    assert "category, pattern" in said
    head = json.loads((tmp_path / "manifest" / "validation.json").read_text())
    assert any("category, pattern" in note for note in head["notes"])
    assert [task["name"] for task in head["tasks"]] == ["colour"]


def test_a_file_that_changes_while_it_is_validated_is_noticed(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.data import findings_page

    def tamper(*arguments: object) -> str:
        next((source / "images").iterdir()).write_bytes(b"other")
        return "page"

    monkeypatch.setattr(findings_page, "page", tamper)
    said = r"was changed while the step was reading it: .*/images/.*[.](png|jpg); nothing"
    with pytest.raises(UserError, match=said):
        validated(tmp_path, source)
    assert not (tmp_path / "manifest").exists()


def test_a_file_that_may_not_be_read_is_named_and_left_out_while_the_others_are_kept(
    tmp_path: Path, source: Path
) -> None:
    secret = sorted((source / "images").iterdir())[0]
    secret.chmod(0)
    (tmp_path / "params.yaml").write_text("data: {path: raw}\nruntime: {tracking: false, threads: 1}\n")
    humble = [] if os.getuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]  # else root may
    command = [sys.executable, "-m", "components", "validate", "--manifest", "manifest", "--report", "page.html",
               "--metrics", "found.json"]
    done = subprocess.run([*humble, *command], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert left_out(tmp_path)[f"images/{secret.name}"] == "forbidden"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        step("validate", {}, manifest=tmp_path / "manifest", source=tmp_path / "none", report=tmp_path / "page.html",
             metrics=tmp_path / "found.json")


FULL = """
import resource, sys
from components.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(["validate", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("room", [1_000, 14_000])
def test_a_disk_that_is_full_is_said_and_leaves_nothing_half_written(tmp_path: Path, room: int) -> None:
    (tmp_path / "params.yaml").write_text(f"data: {{path: {drawn()}}}\nruntime: {{tracking: false, threads: 1}}\n")
    ports = ["--manifest", "manifest", "--report", "page.html", "--metrics", "found.json"]
    done = subprocess.run([sys.executable, "-c", FULL, str(room), *ports], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "remedy: raise the limit on file sizes" in done.stderr
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"params.yaml"}


def test_files_that_kill_hang_or_are_none_do_not_end_the_run(tmp_path: Path, source: Path) -> None:
    names = ["pipe.jpg", "dead.jpg", "loop.jpg"]
    for name in names:
        add(source, f"images/{name}", b"")
        (source / "images" / name).unlink()
    os.mkfifo(source / "images" / "pipe.jpg")
    (source / "images" / "dead.jpg").symlink_to("nowhere")
    (source / "images" / "loop.jpg").symlink_to("loop.jpg")
    validated(tmp_path, source, runtime={"threads": 2})
    found = left_out(tmp_path)
    assert {found[f"images/{name}"] for name in names} == {"not_a_file"}
    assert Manifest.open(tmp_path / "manifest").kept()["path"].nunique() == 144


def test_validation_json_says_by_what_rules_files_were_judged(tmp_path: Path) -> None:
    rules = {"seconds": 3.5, "memory_mb": 256, "thresholds": {"dark": 0.1}, "policies": {"dark": "quarantine"}}
    figures = validated(tmp_path, drawn(), validate=rules)
    head = json.loads((tmp_path / "manifest" / "validation.json").read_text())
    assert (head["seconds"], head["memory_mb"], head["thresholds"]["dark"]) == (3.5, 256, 0.1)
    assert (head["policies"]["dark"], head["policies"]["bright"], head["policies"]["leak"]) == (
        "quarantine", "allow", "quarantine")
    assert {"files": head["files"], "kept": head["kept"]} | head["counts"] == figures
    assert list(head["counts"]) == sorted(REASONS)


def test_every_measure_stands_in_the_manifest_and_none_where_nothing_was_decoded(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    rows = Manifest.open(tmp_path / "manifest").rows
    broken = rows["path"].isin(planted("truncated") | planted("empty"))
    for name in ("brightness", "contrast", "sharpness", "entropy"):
        assert (rows[name].isna() == broken).all()
    assert ((rows["fingerprint"].map(len) == 0) == broken).all()
    assert set(rows.loc[~broken, "format"]) <= {"JPEG", "PNG"}
    leaked = rows[rows["path"].isin(planted("duplicated"))]
    for digest, cluster in zip(leaked["sha256"], leaked["cluster"], strict=True):
        assert cluster <= digest
        assert (rows["cluster"] == cluster).sum() >= 2
