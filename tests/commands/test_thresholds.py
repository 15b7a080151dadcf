"""`stillhouse thresholds`: cuts of a small store, counted again by plain loops; what does not fit is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_stores import KIND, drawn, identities, write_samples, write_store

from components.cli import main
from components.data.tasks import Task
from components.probabilities.sayings import Sayings
from components.storage import receipts

SURE = ("--precision", "0.8", "--task", "kind")


def thresholds(root: Path, *more: str, members: tuple[str, ...] = ("store",)) -> int:
    return main(["thresholds", *(str(root / one) for one in members), "--dataset", str(root / "dataset"), *more])


def found(root: Path, *more: str, members: tuple[str, ...] = ("store",)) -> dict[str, Any]:
    assert thresholds(root, "--out", str(root / "thresholds.json"), *more, members=members) == 0
    return dict(json.loads((root / "thresholds.json").read_text()))


def pooled(sayings: Sayings, task: str, sources: tuple[str, ...] = ("deep", "wide")) -> np.ndarray:
    places = sayings.store.rows_of(sayings.dataset.ids)
    said = [np.exp(sayings.store.log_probabilities(one, task, places)[:, 0].astype(float)) for one in sources]
    if task == "kind":
        said = [one / one.sum(axis=1, keepdims=True) for one in said]
    return np.mean(said, axis=0)


def labelled_rows(sayings: Sayings, split: str, task: Task) -> list[int]:
    labels = sayings.dataset.labels(task)
    return [row for row in sayings.dataset.rows(split).tolist() if not (labels[row] == -1).any()
            and not np.isnan(labels[row]).any()]


def lowest_cut(scores: list[float], right: list[bool], wish: float) -> float | None:
    met = [cut for cut in scores
           if sum(one for score, one in zip(scores, right, strict=True) if score >= cut)
           >= wish * sum(score >= cut for score in scores)]
    return min(met) if met else None


def test_cuts_of_classes_are_the_lowest_that_are_precise_enough(tmp_path: Path) -> None:
    sayings = drawn(tmp_path, count=400)
    task, said, labels = KIND, pooled(sayings, "kind"), sayings.dataset.labels(KIND)
    told = found(tmp_path, *SURE, "--plain", "--check", "test")["tasks"]["kind"]
    rows, other = (labelled_rows(sayings, split, task) for split in ("val", "test"))
    for place, name in enumerate(task.classes):
        mine = [row for row in rows if said[row].argmax() == place]
        cut = lowest_cut([said[row, place] for row in mine], [labels[row] == place for row in mine], 0.8)
        assert told["cuts"][name] == pytest.approx(cut, abs=1e-6) and cut is not None
        for split, some in (("val", rows), ("test", other)):
            above = [row for row in some if said[row].argmax() == place and said[row, place] >= cut - 1e-9]
            figures = told["figures"][split]["classes"][name]
            right = sum(labels[row] == place for row in above)
            assert (figures["named"], figures["right"]) == (len(above), right)
            assert figures["recall"] == pytest.approx(right / sum(labels[row] == place for row in some))
    shared = lowest_cut([said[row].max() for row in rows], [said[row].argmax() == labels[row] for row in rows], 0.8)
    assert told["shared_cut"] == pytest.approx(shared, abs=1e-6)
    assert told["figures"]["val"]["shared"]["precision"] >= 0.8
    assert told["figures"]["val"]["all"]["predictions"] == len(rows) == told["samples"]["val"]["judged"]
    assert told["samples"]["val"]["unlabelled"] == len(sayings.dataset.rows("val")) - len(rows) > 0
    assert {one["held"] for one in told["figures"]["test"]["classes"].values()} <= {"yes", "no"}
    assert "held" not in told["figures"]["val"]["shared"]


def test_cuts_of_labels_find_enough_or_have_the_best_f1(tmp_path: Path) -> None:
    sayings = drawn(tmp_path, count=300)
    task = sayings.dataset.tasks[1]
    rows, said = labelled_rows(sayings, "val", task), pooled(sayings, "trim")
    truth = sayings.dataset.labels(task)[rows] > 0.5
    recall = found(tmp_path, "--task", "trim", "--recall", "0.9", "--plain")["tasks"]["trim"]
    f1 = found(tmp_path, "--task", "trim", "--f1")["tasks"]["trim"]
    for place, name in enumerate(task.classes):
        scores, best = said[rows, place], (-1.0, 0.0)
        enough = [cut for cut in scores if (truth[:, place] & (scores >= cut)).sum() >= 0.9 * truth[:, place].sum()]
        assert recall["cuts"][name] == pytest.approx(max(enough), abs=1e-6)
        for cut in scores:
            hits = (truth[:, place] & (scores >= cut)).sum()
            best = max(best, (2 * hits / ((scores >= cut).sum() + truth[:, place].sum()), cut))
        assert f1["cuts"][name] == pytest.approx(best[1], abs=1e-6)
        assert f1["figures"]["val"]["classes"][name]["f1"] == pytest.approx(best[0])
    assert "shared_cut" not in f1 and "shared" not in f1["figures"]["val"]


def test_the_bound_asks_for_more_than_the_plain_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path, count=900)
    plain, bound = (found(tmp_path, "--precision", "0.7", "--task", "kind", *more)["tasks"]["kind"]
                    for more in (("--plain",), ("--confidence", "0.95")))
    assert all(bound["cuts"][name] is None or bound["cuts"][name] > plain["cuts"][name] for name in KIND.classes)
    assert bound["shared_cut"] > plain["shared_cut"]
    figures = bound["figures"]["val"]["shared"]
    assert figures["precision"] > figures["precision_bound"] >= 0.7
    assert plain["figures"]["val"]["shared"]["precision_bound"] is None
    capsys.readouterr()
    none = found(tmp_path, "--task", "kind", "--precision", "0.99")["tasks"]["kind"]
    assert none["cuts"] == dict.fromkeys(KIND.classes) and none["shared_cut"] is None
    said = capsys.readouterr()
    assert "kind, coat: no cut, ask a person always: the best lower end of precision" in said.err
    assert "90 % confidence takes 230 predictions, all right; 3 of 3 classes have fewer in val" in said.err
    assert "left to a person: 324 of 324 samples by the cuts of classes, 324 by the one for all" in said.out
    assert found(tmp_path, "--task", "kind", "--precision", "1")["tasks"]["kind"]["shared_cut"] is None
    assert "no number of right predictions is enough" in capsys.readouterr().err


def certain(root: Path, kind: list[int], said: list[list[float]], split: list[str]) -> None:
    columns = {"id": identities(len(kind)), "split": split, "kind": np.array(kind, np.int32)}
    dataset = write_samples(root / "dataset", columns, (KIND,))
    write_store(root / "store", dataset, {"deep": {"kind": np.array(said)[:, None]}})


def test_a_cut_that_another_split_does_not_bear_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certain(tmp_path, [0] * 40 + [1] * 40, [[0.75, 0.125, 0.125]] * 80, ["val"] * 40 + ["test"] * 40)
    told = found(tmp_path, "--precision", "0.9", "--check", "test")["tasks"]["kind"]
    assert told["cuts"] == {"coat": pytest.approx(0.75, abs=1e-3), "<b>dress</b>": None, "=skirt": None}
    assert told["figures"]["test"]["classes"]["coat"]["held"] == "no" == told["figures"]["test"]["shared"]["held"]
    assert told["figures"]["test"]["classes"]["=skirt"]["held"] == "-"
    said = capsys.readouterr()
    assert "kind, coat: precision is 0.0000 (0 of 40), not 0.9, on test" in said.err
    assert "kind, =skirt: no cut, ask a person always: it is never predicted" in said.err
    coat = next(line.split() for line in said.out.splitlines() if line.split()[0] == "coat")
    assert coat[2:] == ["1.0000", f"{0.1 ** (1 / 40):.4f}", "1.0000", "1.0000", "40/40"]
    assert 0.7499 < float(coat[1]) <= told["cuts"]["coat"], "who types it in acts on the same samples"
    assert "checked on 40 samples of test" in said.out and "held" in said.out


def test_without_labels_there_is_nothing_to_fit_or_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certain(tmp_path, [-1] * 3 + [0] * 5, [[0.5, 0.25, 0.25]] * 8, ["val"] * 3 + ["test"] * 5)
    assert thresholds(tmp_path) == 1
    assert "no sample of val has a label of kind and a word of the members" in capsys.readouterr().err
    told = found(tmp_path, "--split", "test", "--check", "val", "--plain")
    assert told["tasks"]["kind"]["cuts"]["coat"] == pytest.approx(0.5, abs=1e-3)
    assert list(told["tasks"]["kind"]["figures"]) == ["test"]
    assert "nothing is checked" in capsys.readouterr().err


def test_the_file_is_the_same_to_the_byte_and_names_what_it_was_made_from(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path, models={"deep": "d" * 64, "wide": "e" * 64})
    receipt = receipts.Receipt("index", "index", {}, {}, {})
    (tmp_path / "dataset" / receipts.NAME).write_text(receipt.text())
    told = found(tmp_path, *SURE, "--source", "wide")
    first = (tmp_path / "thresholds.json").read_bytes()
    capsys.readouterr()
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    assert thresholds(tmp_path / "elsewhere", *SURE, "--source", "wide", "--json", "--out",
                      str(tmp_path / "again.json")) == 0
    assert (tmp_path / "again.json").read_bytes() == first == capsys.readouterr().out.encode()
    assert told["dataset"] == receipts.digest(tmp_path / "dataset") and told["models"] == {"wide": "e" * 64}
    assert told["members"] == {"wide": f"{sayings.store.head['key']}/wide"}
    assert (told["schema"], told["kind"], told["fitted_on"], told["checked_on"]) == (1, "thresholds", "val", None)
    assert told["wish"] == {"goal": "precision", "value": 0.8, "confidence": 0.9}
    assert found(tmp_path, *SURE)["tasks"] != told["tasks"], "two sources say something else than one"


def test_files_of_probabilities_are_heard_and_files_of_labels_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    paths, said = sayings.dataset.column("path").tolist(), pooled(sayings, "kind", ("deep",))
    lines = [",".join([path, *map(str, row.tolist())]) for path, row in zip(paths, said, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    from_file = found(tmp_path, *SURE, "--plain", members=("a.csv",))["tasks"]["kind"]
    from_store = found(tmp_path, *SURE, "--plain", "--source", "deep")["tasks"]["kind"]
    for name, cut in from_store["cuts"].items():
        assert from_file["cuts"][name] == pytest.approx(cut, abs=1e-6)
    assert from_file["figures"] == from_store["figures"]
    (tmp_path / "b.csv").write_text("".join(f"{path},coat\n" for path in paths))
    assert thresholds(tmp_path, members=("b.csv",)) == 1
    assert "b holds labels and no probabilities" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "code", "said"), [
    (("--precision", "95"), 2, "95 is no number from 0 to 1"),
    (("--recall", "most"), 2, "most is no number from 0 to 1"),
    (("--confidence", "1"), 2, "1 is no number between 0 and 1 (without a bound: --plain)"),
    (("--precision", "0.9", "--f1"), 2, "not allowed with"),
    (("--plain", "--confidence", "0.9"), 2, "not allowed with"),
    (("--check", "val"), 2, "--check val is what the cuts are fitted on"),
    (("--recall", "0.9"), 1, "a sample has one class of kind"),
    (("--f1", "--task", "kind"), 1, "--f1 is about labels of which a sample may have several"),
    (("--task", "kid"), 1, "there is no task kid. Did you mean 'kind'?"),
    (("--source", "dep"), 1, "there is no member dep. Did you mean 'deep'?"),
    (("--out", "{root}/store"), 1, "is a folder; a file would replace it")])
def test_what_cannot_be_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                   more: tuple[str, ...], code: int, said: str) -> None:
    drawn(tmp_path)
    assert thresholds(tmp_path, *(one.format(root=tmp_path) for one in more)) == code
    assert said in capsys.readouterr().err
    assert (tmp_path / "store" / "probabilities.json").is_file() and not (tmp_path / "thresholds.json").exists()


def test_what_flatters_cuts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    found(tmp_path, *SURE, "--split", "train")
    assert "cuts are fitted on train, whose labels models have learnt" in capsys.readouterr().err
    found(tmp_path, *SURE, "--weights", "learn")
    assert "weights and cuts are both fitted on val" in capsys.readouterr().err
    drawn(tmp_path / "held", folds={"count": 2})
    found(tmp_path / "held", *SURE, "--split", "train")
    assert "fitted on train" not in capsys.readouterr().err


def test_a_store_of_some_tasks_has_cuts_of_these_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    said = sayings.store.log_probabilities("deep", "trim", sayings.store.rows_of(sayings.dataset.ids))
    write_store(tmp_path / "some", sayings.dataset, {"deep": {"trim": np.exp(said)}},
                tasks=[sayings.dataset.tasks[1].to_json()])
    told = found(tmp_path, "--recall", "0.8", members=("some",))
    assert list(told["tasks"]) == ["trim"] == list(told["weights"])
    assert "no member speaks of kind" in capsys.readouterr().err
    assert thresholds(tmp_path, "--task", "kind", members=("some",)) == 1
    assert "no member speaks of kind" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["vote", "logit"])
def test_shares_of_votes_and_means_of_logits_have_cuts_too(tmp_path: Path, by: str) -> None:
    sayings = drawn(tmp_path)
    told = found(tmp_path, *SURE, "--by", by, "--plain")
    deep, wide = (pooled(sayings, "kind", (one,)) for one in ("deep", "wide"))
    rows, labels = labelled_rows(sayings, "val", KIND), sayings.dataset.labels(KIND)
    score = np.sqrt(deep * wide) / np.sqrt(deep * wide).sum(axis=1, keepdims=True)
    if by == "vote":  # of two votes both or one; what is likelier counts a hundredth of a vote
        score = (np.eye(3)[deep.argmax(axis=1)] + np.eye(3)[wide.argmax(axis=1)] + 0.01 * (deep + wide) / 2) / 2.01
    shared = lowest_cut([score[row].max() for row in rows], [score[row].argmax() == labels[row] for row in rows], 0.8)
    assert told["by"] == by and told["tasks"]["kind"]["shared_cut"] == pytest.approx(shared, abs=1e-4)


def test_samples_of_which_members_say_nothing_take_no_part_and_are_counted(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    paths, said = sayings.dataset.column("path").tolist(), pooled(sayings, "kind", ("deep",))
    silent = labelled_rows(sayings, "val", KIND)[:4]
    lines = [",".join([path, *map(str, row.tolist())]) for number, (path, row)
             in enumerate(zip(paths, said, strict=True)) if number not in silent]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    told = found(tmp_path, *SURE, members=("a.csv",))["tasks"]["kind"]
    assert told["samples"]["val"]["unspoken"] == 4
    assert told["samples"]["val"]["judged"] == len(labelled_rows(sayings, "val", KIND)) - 4
    assert "of 4 more nothing is said" in capsys.readouterr().out
