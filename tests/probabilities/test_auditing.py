"""The label audit: planted errors found and ranked, sides and labels apart, nothing dependent on order."""

import json
from pathlib import Path

import garments
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from small_stores import KIND, TRIM, drawn, identities, votes, write_samples, write_store

from components.data.dataset import Dataset
from components.errors import UserError
from components.probabilities import sayings as room
from components.probabilities.audit_page import page
from components.probabilities.auditing import HELD_OUT, LEARNT, audit, findings, summary
from components.probabilities.confidence import confident_joint
from components.probabilities.policies import applied, manifest, trust
from components.probabilities.sayings import Sayings, beside


def read_csv(text: str) -> list[dict[str, str]]:
    head, *rows = [line.split(",") for line in text.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sayings, set[str]]:
    """The drawn set with wrong labels in it, calibrated words about the true ones, and the paths of the wrong ones."""
    root = tmp_path_factory.mktemp("planted")
    faults = {"truncated": 0, "empty": 0, "wrong_extension": 0, "duplicated": 0, "mislabelled": 40}
    garments.step("sample", {"sample": {"count": 360, "size": 32, "faults": faults}}, data=root / "raw")
    garments.validated(root, root / "raw")
    garments.indexed(root, root / "raw", index={"size": [24, 24]})
    dataset = Dataset.open(root / "dataset")
    known = json.loads((root / "raw" / "faults.json").read_text())
    wrong = {entry["path"]: entry["true"] for entry in known if entry["fault"] == "mislabelled"}
    chance, said = np.random.default_rng(4), {}
    for task in dataset.tasks:
        truth = dataset.labels(task).copy()
        if task.name == "category":
            for row, path in enumerate(dataset.samples["path"]):
                truth[row] = task.classes.index(wrong[path]) if path in wrong else truth[row]
        said[task.name] = votes(chance, np.eye(len(task.classes))[truth], 3, 2.0)
    store = write_store(root / "store", dataset, {"oracle": said}, folds=5)
    return beside(dataset, store), set(wrong)


def test_planted_errors_are_ranked_first_and_counted_nearly(planted: tuple[Sayings, set[str]]) -> None:
    sayings, wrong = planted
    (part,) = audit(sayings, ["category"])
    truth = sayings.dataset.samples["path"].iloc[part.rows].isin(wrong).to_numpy()
    assert truth.sum() >= 35
    assert average_precision_score(truth, part.verdicts.score) > 0.9  # chance: 0.11
    found = findings(sayings, [part])
    hits = found["path"].isin(wrong)
    assert hits.mean() > 0.8, "precision"
    assert hits.sum() > 0.7 * truth.sum(), "recall"
    assert summary([part])["category"][HELD_OUT]["estimated_errors"] == pytest.approx(truth.sum(), rel=0.35)


def test_planted_errors_are_given_their_true_class(planted: tuple[Sayings, set[str]]) -> None:
    sayings, wrong = planted
    source = Path(sayings.dataset.path).parent / "raw" / "faults.json"
    true = {entry["path"]: entry["true"] for entry in json.loads(source.read_text()) if "true" in entry}
    found = findings(sayings, audit(sayings, ["category"]))
    right = [row.suggested == true[row.path] for row in found.itertuples() if row.path in wrong]
    assert sum(right) > 0.9 * len(right)


def test_tasks_without_planted_errors_are_doubted_far_less(planted: tuple[Sayings, set[str]]) -> None:
    sayings, _ = planted
    found = summary(audit(sayings))
    shares = {name: sides[HELD_OUT]["estimated_share"] for name, sides in found.items()}
    assert shares["category"] > 2 * max(shares["colour"], shares["pattern"])


def test_a_label_that_was_learnt_is_judged_apart_from_one_that_was_not(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    parts = audit(sayings)
    assert {(part.task.name, part.label, part.judged) for part in parts} == {
        (task, label, side) for task, label in (("kind", ""), ("trim", "zip"), ("trim", "bow"))
        for side in (HELD_OUT, LEARNT)}
    for part in parts:
        splits = set(sayings.dataset.samples["split"].iloc[part.rows])
        assert splits == ({"train"} if part.judged == LEARNT else {"val", "test"})
    found = findings(sayings, parts)
    for _, side in found.groupby(["task", "judged"]):
        assert side["rank"].tolist() == list(range(1, len(side) + 1))
        assert side["score"].is_monotonic_decreasing
    assert found.groupby("task")["judged"].first().eq(HELD_OUT).all()


def test_with_folds_all_labels_are_judged_together(tmp_path: Path) -> None:
    parts = audit(drawn(tmp_path, folds=5))
    assert {part.judged for part in parts} == {HELD_OUT}
    assert len(parts) == 3


def test_samples_without_a_label_take_no_part(tmp_path: Path) -> None:
    sayings = drawn(tmp_path, folds=5)
    kind, *trims = audit(sayings)
    assert np.array_equal(kind.rows, np.flatnonzero(sayings.dataset.samples["kind"] >= 0))
    for part in trims:
        assert np.array_equal(part.rows, np.flatnonzero(sayings.dataset.samples["trim"].notna()))


def test_each_label_of_several_is_a_question_of_its_own(tmp_path: Path) -> None:
    sayings = drawn(tmp_path, folds=5)
    labels = sayings.dataset.labels(TRIM)
    for column, part in enumerate(audit(sayings, ["trim"])):
        said = room.mean(sayings, TRIM, part.rows)[:, column]
        truth = labels[part.rows, column] > 0.5
        there, gone = said[truth].mean(), (1 - said[~truth]).mean()
        counts = {}
        for value, given in zip(said, truth, strict=True):
            both = [(value, 1)] * int(value >= there - 1e-6) + [(1 - value, 0)] * int(1 - value >= gone - 1e-6)
            if both:
                key = int(given), max(both)[1]
                counts[key] = counts.get(key, 0) + 1
        assert {(i, j): n for i, j, n in confident_joint(part.verdicts).tolist()} == counts
        assert np.allclose(part.verdicts.thresholds, [gone, there])


def test_neither_the_order_of_samples_nor_blocks_change_a_finding(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    one = drawn(tmp_path / "one")
    order = np.random.default_rng(8).permutation(90)
    monkeypatch.setattr(room, "BLOCK", 13)
    other = drawn(tmp_path / "other", order=order)
    tables = [findings(each, audit(each)) for each in (one, other)]
    assert len(tables[0]) > 10
    pd.testing.assert_frame_equal(*(table.drop(columns="row") for table in tables), check_exact=True)
    assert summary(audit(one)) == summary(audit(other))


def test_equal_scores_stand_in_the_order_of_ids(tmp_path: Path) -> None:
    ids = identities(30)
    given = [0] * 10 + [1] * 20
    dataset = write_samples(tmp_path / "d", {"id": ids, "split": ["val"] * 30, "kind": given}, (KIND,))
    said = np.tile(np.array([[[0.1, 0.8, 0.1]]]), (30, 1, 1))
    said[:4] = [[0.9, 0.05, 0.05]]
    sayings = beside(dataset, write_store(tmp_path / "s", dataset, {"a": {"kind": said}}))
    found = findings(sayings, audit(sayings))
    assert found["id"].tolist() == sorted(ids[4:10])
    assert set(found["suggested"]) == {"<b>dress</b>"}


def test_the_summary_adds_up(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    parts = audit(sayings)
    found, figures = findings(sayings, parts), summary(parts)
    for (task, side), rows in found.groupby(["task", "judged"]):
        told = figures[task][side]
        likeliest = sum(int((part.verdicts.own >= part.verdicts.other).sum()) for part in parts
                        if (part.task.name, part.judged) == (task, side))
        assert told["agreed"] == likeliest <= told["labels"] - len(rows)
        assert told["flagged"] == len(rows) == sum(one["flagged"] for one in told["pairs"])
        counts = rows.groupby(["label", "given", "suggested"]).size().to_dict()
        marked = {(one.get("label", ""), one["given"], one["suggested"]): one["flagged"]
                  for one in told["pairs"] if one["flagged"]}
        assert marked == counts
        assert all(one["flagged"] <= int(one["estimated"] + 0.5) for one in told["pairs"])
        assert told["estimated_errors"] == pytest.approx(sum(one["estimated"] for one in told["pairs"]), abs=0.1)
    json.dumps(figures, allow_nan=False)


def test_a_sample_is_trusted_as_far_as_its_least_trusted_label(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    found = findings(sayings, audit(sayings))
    worth = trust(found, 90)
    expected = np.ones(90)
    for row in found.itertuples():
        expected[row.row] = min(expected[row.row], row.probability / (row.probability + row.suggested_probability))
    assert np.allclose(worth, expected)
    assert (worth[found["row"]] < 0.5).all()
    assert found["row"].nunique() == (worth < 1).sum() < len(found), "some samples have two doubted labels"


def test_weights_and_quarantine_leave_labels_as_given(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    found = findings(sayings, audit(sayings))
    samples = sayings.dataset.samples
    assert applied(sayings.dataset, found, "report") == {}
    weighed, gone = (applied(sayings.dataset, found, policy) for policy in ("weight", "quarantine"))
    weights = {row["sha256"]: float(row["weight"]) for row in read_csv(weighed["weights.csv"])}
    whole, rest = read_csv(weighed["manifest.csv"]), read_csv(gone["manifest.csv"])
    assert set(weights) == set(found["id"]) == {row["sha256"] for row in read_csv(gone["quarantine.csv"])}
    assert [row["sha256"] for row in whole] == samples["id"].tolist()
    assert [row["sha256"] for row in rest] == [name for name in samples["id"] if name not in weights]
    for row, kind, trim in zip(whole, samples["kind"], samples["trim"], strict=True):
        assert float(row["weight"]) == pytest.approx(weights.get(row["sha256"], 1.0), rel=1e-4)
        assert row["kind"] == ("" if kind < 0 else KIND.classes[kind])
        assert row["trim"] == ("" if trim is None else "|".join(TRIM.classes[i] for i in trim))
        assert row["path"].startswith("@"), "a path is the file's own, whatever it looks like"


def test_weights_multiply_those_that_the_dataset_has(tmp_path: Path) -> None:
    columns = {"id": identities(3), "split": ["train"] * 3, "kind": [0, 1, 2], "weight": [2.0, None, 0.5]}
    dataset = write_samples(tmp_path / "d", columns, (KIND,))
    rows = read_csv(manifest(dataset, np.array([0.25, 0.5, 1.0]), [1]))
    assert [row["weight"] for row in rows] == ["0.5", "0.5"]


def test_the_manifest_of_a_policy_can_be_validated_and_indexed(planted: tuple[Sayings, set[str]],
                                                               tmp_path: Path) -> None:
    sayings, _ = planted
    found = findings(sayings, audit(sayings))
    (tmp_path / "kept.csv").write_text(applied(sayings.dataset, found, "quarantine")["manifest.csv"])
    root = str(Path(sayings.dataset.path).parent / "raw")
    garments.validated(tmp_path, tmp_path / "kept.csv", data={"path": str(tmp_path / "kept.csv"), "root": root})
    garments.indexed(tmp_path, tmp_path / "kept.csv", data={"path": str(tmp_path / "kept.csv"), "root": root},
                     index={"size": [24, 24]})
    kept = Dataset.open(tmp_path / "dataset")
    gone = set(found["id"])
    assert set(kept.samples["id"]) == set(sayings.dataset.samples["id"]) - gone


def test_the_page_shows_given_and_suggested_without_trusting_names(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    parts = audit(sayings)
    found = findings(sayings, parts)
    text = page(sayings.dataset, found, summary(parts), 5, ["a note"])
    assert "<b>dress</b>" not in text
    assert "&lt;b&gt;dress&lt;/b&gt;" in text
    assert text.count("<article") == sum(min(5, len(rows)) for _, rows in found.groupby(["task", "judged"]))
    assert "A note." in text
    assert text == page(sayings.dataset, found, summary(parts), 5, ["a note"])


def test_an_unknown_task_or_one_without_labels_is_named(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    with pytest.raises(UserError, match=r"no task kinf\. Did you mean 'kind'"):
        audit(sayings, ["kinf"])
    dataset = write_samples(tmp_path / "d", {"id": identities(4), "split": ["val"] * 4, "kind": [-1] * 4}, (KIND,))
    store = write_store(tmp_path / "s", dataset, {"a": {"kind": np.full((4, 1, 3), 1 / 3)}})
    with pytest.raises(UserError, match=r"no sample that .* covers has a label of kind"):
        audit(beside(dataset, store))


def test_where_nothing_is_doubted_everything_says_so(tmp_path: Path) -> None:
    columns = {"id": identities(9), "split": ["train"] * 9, "kind": [0, 1, 2] * 3}
    dataset = write_samples(tmp_path / "d", columns, (KIND,))
    said = np.eye(3)[columns["kind"]][:, None] * 0.9 + 0.1 / 3
    sayings = beside(dataset, write_store(tmp_path / "s", dataset, {"a": {"kind": said}}))
    parts = audit(sayings)
    found = findings(sayings, parts)
    assert found.empty
    assert "No label is doubted." in page(dataset, found, summary(parts), 5, [])
    files = applied(dataset, found, "weight")
    assert files["weights.csv"] == "sha256,weight\n"
    assert [row["weight"] for row in read_csv(files["manifest.csv"])] == ["1"] * 9
