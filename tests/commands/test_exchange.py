"""`stillhouse exchange`: files of older programs, there and back, and what does not fit."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_stores import KIND, TRIM, drawn, identities, labels_said, votes, write_samples, write_store

from components.cli import main
from components.probabilities.sayings import Sayings, beside
from components.probabilities.store import Store
from components.probabilities.voices import tried

CURRICULUM = ("--thresholds", "0.7", "0.5", "0.0", "--weights", "1", "0.7", "0.1")


def single(root: Path, count: int = 40) -> Sayings:
    """A Dataset of one task, and what two sources say of it."""
    chance = np.random.default_rng(6)
    kinds = chance.integers(0, 3, count)
    split = np.array(["train", "val"])[(np.arange(count) % 4 == 3).astype(int)]
    columns = {"id": identities(count), "split": split, "kind": np.where(np.arange(count) % 9 == 5, -1, kinds),
               "path": [f"train/a, b/{number}.jpg" for number in range(count)]}
    dataset = write_samples(root / "dataset", columns, (KIND,))
    said = {name: {"kind": votes(chance, np.eye(3)[kinds])} for name in ("deep", "wide")}
    return beside(dataset, write_store(root / "store", dataset, said))


def exchange(root: Path, action: str, *more: str, out: str = "text") -> int:
    return main(["exchange", action, *more, "--dataset", str(root / "dataset"), "--probabilities", str(root / "store"),
                 "--out", str(root / out)])


def test_regression_8_what_is_exported_is_imported_to_the_bit(tmp_path: Path) -> None:
    sayings = single(tmp_path)
    assert exchange(tmp_path, "export", "--prefix", "./data/=") == 0
    first = (tmp_path / "text" / "distill_deep.txt").read_text().splitlines()[0].rsplit(",", 3)
    assert first[0].startswith("./data/train/a, b/") and len(first[1]) > 10, "not two decimals"
    files = [str(tmp_path / "text" / name) for name in ("distill_wide.txt", "label.txt", "distill_deep.txt")]
    assert exchange(tmp_path, "import", *files, "--prefix", "./data/=", "--partial", out="again") == 0
    again, rows = Store.open(tmp_path / "again"), sayings.dataset.rows("train")
    assert again.sources == ["distill_deep", "distill_wide"] and len(again.ids) == len(rows)
    places = sayings.store.rows_of(sayings.dataset.ids[rows])
    for source in ("deep", "wide"):
        want = sayings.store.log_probabilities(source, "kind", places)[:, 0].astype(np.float16)
        found = again.log_probabilities(f"distill_{source}", "kind", again.rows_of(sayings.dataset.ids[rows]))[:, 0]
        assert np.array_equal(found.astype(np.float16), want)


def test_labels_are_one_and_nought_and_unlabelled_images_are_left_out(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    sayings = single(tmp_path)
    assert exchange(tmp_path, "export") == 0
    labels, rows = sayings.dataset.labels(KIND), sayings.dataset.rows("train")
    known = [row for row in rows if labels[row] >= 0]
    lines = (tmp_path / "text" / "label.txt").read_text().splitlines()
    assert {line.rsplit(",", 3)[1 + labels[row]] for line, row in zip(lines, known, strict=True)} == {"1.0"}
    assert f"{len(rows) - len(known)} samples have no label" in capsys.readouterr().err


@pytest.mark.parametrize(("there", "said", "remedy"), [
    ("/home/x/data/", "begin with '/home/x/data/', the Dataset's with ''", "--prefix '/home/x/data/='"),
    ("other/", "begin with 'other/'", "--prefix 'other/='"),
])
def test_regression_8_a_wrong_prefix_is_refused_with_both_beginnings(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str, said: str, remedy: str) -> None:
    single(tmp_path)
    assert exchange(tmp_path, "export", "--prefix", f"{there}=") == 0
    file = str(tmp_path / "text" / "distill_deep.txt")
    assert exchange(tmp_path, "import", file, out="again") == 1
    told = capsys.readouterr().err
    assert said in told and remedy in told and not (tmp_path / "again").exists()
    assert exchange(tmp_path, "import", file, "--prefix", f"{there}=", out="again") == 0


def test_regression_8_a_gap_in_coverage_is_refused_unless_it_is_allowed(tmp_path: Path,
                                                                        capsys: pytest.CaptureFixture[str]) -> None:
    single(tmp_path)
    assert exchange(tmp_path, "export") == 0
    file = tmp_path / "text" / "distill_deep.txt"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[2:]) + "elsewhere.jpg,1.0,0.0,0.0\n")
    assert exchange(tmp_path, "import", str(file), out="again") == 1
    told = capsys.readouterr().err
    assert "lacks 2 of 30 samples of train" in told and "1 paths that the Dataset does not have" in told
    assert exchange(tmp_path, "import", str(file), "--partial", out="again") == 0
    assert Store.open(tmp_path / "again").head["coverage"]["train"] == {"of": 30, "rows": 28}


def test_regression_8_sigmoids_of_two_decimals_are_made_probabilities_with_a_word(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = single(tmp_path)
    chance = np.random.default_rng(1)
    values = np.round(chance.uniform(0.05, 1, (40, 3)), 2)
    values[:, 1:][chance.uniform(size=(40, 2)) < 0.3] = 0.0
    rows = sayings.dataset.rows("train")
    paths = sayings.dataset.samples["path"]
    (tmp_path / "distill.txt").write_text("".join(
        f"{paths[row]},{','.join(f'{one:.2f}' for one in values[row])}\n" for row in rows))
    assert exchange(tmp_path, "import", str(tmp_path / "distill.txt"), out="again") == 0
    assert "did not sum to 1" in capsys.readouterr().err
    again = Store.open(tmp_path / "again")
    said = again.log_probabilities("distill", "kind", again.rows_of(sayings.dataset.ids[rows]))[:, 0]
    expected = values[rows] / values[rows].sum(axis=1, keepdims=True)
    assert np.allclose(np.exp(said), expected, atol=4e-3)
    assert (expected == 0).sum() > 10 and said.min() > -30, "a 0 is what two decimals cannot hold, no impossible class"


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_probabilities_of_two_decimals_teach_weights_and_temperatures_although_some_are_0(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    chance, count = np.random.default_rng(2), 200
    truth = chance.integers(0, 3 if kind == "single" else 2, (count, 1 if kind == "single" else 2))
    task = KIND if kind == "single" else TRIM
    labels = truth[:, 0] if kind == "single" else [np.flatnonzero(row).tolist() for row in truth]
    dataset = write_samples(tmp_path / "dataset", {"id": identities(count), "split": ["train", "val"] * (count // 2),
                                                   task.name: labels}, (task,))
    files = [tmp_path / name for name in ("distill_a.txt", "distill_b.txt")]
    for file in files:
        said = votes(chance, np.eye(3)[truth[:, 0]], 1, 2.0) if kind == "single" else labels_said(chance, truth, 1)
        text = [",".join([path, *(f"{one:.2f}" for one in row)]) for path, row in
                zip(dataset.samples["path"], said[:, 0], strict=True)]
        file.write_text("\n".join(text))
    zeros = sum(line.count(",0.00") for line in files[0].read_text().splitlines())
    members = [str(file.rename(file.with_suffix(".csv"))) for file in files]
    assert main(["ensemble", *members, "--dataset", str(dataset.path), "--out", str(tmp_path / "out"), "--metrics",
                 str(tmp_path / "out.json"), "--weights", "learn"]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert zeros > 5 and figures["ensemble"]["val"][task.name]["log_loss"] < 0.6
    assert main(["exchange", "import", *members, "--dataset", str(dataset.path), "--split", "val", "--partial", "--out",
                 str(tmp_path / "again")]) == 0
    for one in tried(Store.open(tmp_path / "again"), dataset, task, ("distill_a", "distill_b"), True)[0]:
        assert 0.5 < one.temperature < 2 and one.loss < 0.6
    assert "bound" not in capsys.readouterr().err


def test_labels_in_another_order_of_classes_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single(tmp_path)
    assert exchange(tmp_path, "export") == 0
    label = tmp_path / "text" / "label.txt"
    turned = [line.rsplit(",", 3) for line in label.read_text().splitlines()]
    label.write_text("".join(f"{path},{c},{b},{a}\n" for path, a, b, c in turned))
    files = [str(tmp_path / "text" / "distill_deep.txt"), str(label)]
    assert exchange(tmp_path, "import", *files, "--partial", out="again") == 1
    assert "put its classes into this order: coat, <b>dress</b>, =skirt" in capsys.readouterr().err


def test_a_curriculum_goes_out_as_weights_and_comes_back_as_a_manifest(tmp_path: Path) -> None:
    sayings = single(tmp_path)
    assert exchange(tmp_path, "export", *CURRICULUM) == 0
    said = [np.exp(sayings.store.log_probabilities(name, "kind", sayings.places).astype(float))
            for name in ("deep", "wide")]
    mean = np.mean(said, axis=(0, 2))
    mean /= mean.sum(axis=1, keepdims=True)
    labels, expected = sayings.dataset.labels(KIND), {}
    for row in sayings.dataset.rows("train"):
        if labels[row] >= 0:
            own, path = mean[row, labels[row]], str(sayings.dataset.samples["path"][row])
            expected[path] = "1.0" if own >= 0.7 else "0.7" if own >= 0.5 else "0.1"
    text = (tmp_path / "text" / "curriculum.txt").read_text().splitlines()
    assert dict(line.rsplit(",", 1) for line in text) == expected and len(set(expected.values())) == 3
    file = str(tmp_path / "text" / "curriculum.txt")
    assert exchange(tmp_path, "import", file, "--partial", out="weighed.csv") == 0
    with (tmp_path / "weighed.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        want = float(expected.get(row["path"], 0)) if row["split"] == "train" else 1.0
        assert float(row["weight"]) == want, "who is not named in its split counts nothing"


def test_lines_that_are_no_numbers_and_unclear_wishes_are_refused(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    single(tmp_path)
    for text, said in (("a.jpg,0.5,x,0.1\n", "line 1"), ("a.jpg,0.5,0.5\n", "expected 3 numbers"),
                       ("a.jpg,nan,0,1\n", "expected 3 numbers"), ("a.jpg,1,0,0\na.jpg,1,0,0\n", "twice")):
        (tmp_path / "distill.txt").write_text(text)
        assert exchange(tmp_path, "import", str(tmp_path / "distill.txt"), out="again") == 1
        assert said in capsys.readouterr().err
    assert exchange(tmp_path, "import", out="again") == 2
    (tmp_path / "notes.txt").write_text("")
    assert exchange(tmp_path, "import", str(tmp_path / "notes.txt"), out="again") == 1
    drawn(tmp_path / "two")
    assert exchange(tmp_path / "two", "export") == 1
    assert "these files hold one task; the Dataset has kind, trim" in capsys.readouterr().err
    assert exchange(tmp_path / "two", "export", "--task", "trim") == 0
