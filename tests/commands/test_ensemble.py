"""`stillhouse ensemble`: votes and means counted by hand, files in any order, what does not fit refused."""

import csv
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_stores import drawn

from components.cli import main
from components.probabilities.sayings import Sayings
from components.probabilities.store import Store
from components.storage.digests import tree_digests


def ensemble(root: Path, *members: str, more: tuple[str, ...] = (), out: str = "out") -> int:
    return main(["ensemble", *(str(root / one) for one in members), "--dataset", str(root / "dataset"), "--out",
                 str(root / out), "--metrics", str(root / f"{out}.json"), "--csv", str(root / f"{out}.csv"), *more])


def rows_of(root: Path, name: str = "out") -> dict[str, str]:
    with (root / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return dict(csv.reader(stream))  # type: ignore[arg-type]


def key(sayings: Sayings, row: int) -> str:
    return str(sayings.dataset.samples["path"][row]).partition(".")[0]


def write_answers(root: Path, sayings: Sayings, answers: dict[str, list[str]], head: bool = False,
                  order: int = 1) -> None:
    for name, labels in answers.items():
        rows = [[key(sayings, row), label] for row, label in enumerate(labels)]
        with (root / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["ID", "Label"]] * head + rows[::order])


def drawn_answers(sayings: Sayings, names: list[str], seed: int = 0) -> dict[str, list[str]]:
    chance, classes = np.random.default_rng(seed), sayings.dataset.tasks[0].classes
    return {name: [classes[place] for place in chance.integers(0, 3, len(sayings.dataset))] for name in names}


def test_regression_13_votes_do_not_depend_on_headings_or_on_the_order_of_files_and_lines(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    answers = drawn_answers(sayings, ["a.csv", "b.csv", "c.csv"])
    written = set()
    for head in (False, True):
        write_answers(tmp_path, sayings, answers, head=head)
        trees = set()
        for files in itertools.permutations(answers):
            assert ensemble(tmp_path, *files, more=("--by", "vote")) == 0
            trees.add(str(tree_digests(tmp_path / "out")))
            written.add(((tmp_path / "out.csv").read_bytes(), (tmp_path / "out.json").read_bytes()))
        assert len(trees) == 1, "to the byte"
    assert len(written) == 1
    found = rows_of(tmp_path)
    assert len(found) == len(sayings.dataset), "no first row is lost"
    classes = sayings.dataset.tasks[0].classes
    ties = 0
    for row in range(len(sayings.dataset)):
        counts = Counter(answers[name][row] for name in answers)
        best = max(counts.values())
        ties += best == 1
        assert found[key(sayings, row)] == next(one for one in classes if counts[one] == best), "first in class order"
    assert ties > 5
    write_answers(tmp_path, sayings, answers, order=-1)
    assert ensemble(tmp_path, *answers, more=("--by", "vote")) == 0
    assert rows_of(tmp_path) == found, "nor on the order of lines"


def test_regression_13_files_about_different_samples_are_joined_by_id_and_gaps_are_told(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    answers = drawn_answers(sayings, ["a.csv", "b.csv", "c.csv"])
    write_answers(tmp_path, sayings, answers)
    lines = (tmp_path / "b.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b.csv").write_text("".join(lines[:3] + lines[8:]))
    assert ensemble(tmp_path, *answers, more=("--by", "vote")) == 1
    assert "b says nothing of kind for 5 of 90 samples" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--partial")) == 0
    found, classes = rows_of(tmp_path), list(sayings.dataset.tasks[0].classes)
    for row in range(3, 8):
        assert found[key(sayings, row)] == min((answers["a.csv"][row], answers["c.csv"][row]), key=classes.index)


def test_weights_in_names_count(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    answers = drawn_answers(sayings, ["a_w3_.csv", "b_W1_.csv", "c.csv"])
    write_answers(tmp_path, sayings, answers)
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--weights", "names")) == 0
    found = rows_of(tmp_path)
    assert all(found[key(sayings, row)] == answers["a_w3_.csv"][row] for row in range(90)), "3 outvote 1 + 1"
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--weights", "b_W1_=5")) == 0
    assert rows_of(tmp_path)[key(sayings, 4)] == answers["b_W1_.csv"][4]


def test_learnt_votes_follow_the_odds_of_being_right_on_val(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    labels, classes = sayings.dataset.labels(sayings.dataset.tasks[0]), sayings.dataset.tasks[0].classes
    chance = np.random.default_rng(3)
    answers = {}
    for name, skill in (("good.csv", 0.9), ("fair.csv", 0.6), ("poor.csv", 0.1)):
        right = chance.uniform(size=90) < skill
        answers[name] = [classes[max(label, 0)] if hit else classes[(max(label, 0) + 1) % 3]
                         for label, hit in zip(labels, right, strict=True)]
    write_answers(tmp_path, sayings, answers)
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--weights", "learn")) == 0
    weights = Store.open(tmp_path / "out").head["ensemble"]["weights"]["kind"]
    rows = [row for row in sayings.dataset.rows("val") if labels[row] >= 0]
    odds = {}
    for name in answers:
        hits = sum(answers[name][row] == classes[labels[row]] for row in rows)
        share = (hits + 1) / (len(rows) + 2)
        odds[name.removesuffix(".csv")] = max(0.0, np.log(2 * share / (1 - share)))
    assert weights.keys() == {name for name, one in odds.items()}
    assert all(weights[name][0] == pytest.approx(one / sum(odds.values()), abs=1e-5) for name, one in odds.items())
    assert weights["poor"][0] == 0


@pytest.mark.parametrize("by", ["probability", "logit"])
def test_means_of_stores_are_those_of_their_numbers(tmp_path: Path, by: str,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    assert ensemble(tmp_path, "store", more=("--by", by, "--weights", "deep=3")) == 0
    found = Store.open(tmp_path / "out")
    rows = np.arange(90)
    said = {name: sayings.store.log_probabilities(name, "kind", sayings.store.rows_of(sayings.dataset.ids))[:, 0]
            .astype(float) for name in ("deep", "wide")}
    own = {name: values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for name, values in said.items()}
    if by == "probability":
        expected = 0.75 * np.exp(own["deep"]) + 0.25 * np.exp(own["wide"])
    else:
        expected = np.exp(0.75 * own["deep"] + 0.25 * own["wide"])
        expected /= expected.sum(axis=1, keepdims=True)
    assert np.allclose(np.exp(found.log_probabilities("ensemble", "kind", rows)[:, 0]), expected, atol=1e-5)
    figures = json.loads((tmp_path / "out.json").read_text())
    labels = sayings.dataset.labels(sayings.dataset.tasks[0])
    val = [row for row in sayings.dataset.rows("val") if labels[row] >= 0]
    right = np.mean([expected[row].argmax() == labels[row] for row in val])
    assert figures["ensemble"]["val"]["kind"]["accuracy"] == pytest.approx(right)
    table = capsys.readouterr().out
    assert "deep" in table and "0.750" in table and f"{right:.4f}" in table
    assert main(["audit", "--dataset", str(tmp_path / "dataset"), "--probabilities", str(tmp_path / "out"), "--out",
                 str(tmp_path / "audit")]) == 0, "it is a store like any other"


def test_of_a_store_one_source_alone_can_be_heard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    assert ensemble(tmp_path, "store", more=("--source", "wide")) == 0
    found = Store.open(tmp_path / "out")
    own = sayings.store.log_probabilities("wide", "trim", sayings.store.rows_of(sayings.dataset.ids))[:, 0]
    said = found.log_probabilities("ensemble", "trim", found.rows_of(sayings.dataset.ids))[:, 0]
    assert np.allclose(np.exp(said), np.exp(own), atol=1e-6) and list(found.head["ensemble"]["members"]) == ["wide"]
    assert ensemble(tmp_path, "store", more=("--source", "wild")) == 1
    assert "there is no member wild. Did you mean 'wide'?" in capsys.readouterr().err


def test_learnt_means_beat_their_members_on_val(tmp_path: Path) -> None:
    drawn(tmp_path, count=300)
    assert ensemble(tmp_path, "store", more=("--weights", "learn")) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    losses = {name: one["val"]["kind"]["log_loss"] for name, one in figures.items()}
    assert losses["ensemble"] <= min(losses["deep"], losses["wide"])


def test_of_equal_votes_the_likelier_class_wins(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    assert ensemble(tmp_path, "store", more=("--by", "vote")) == 0
    found, classes = rows_of(tmp_path), sayings.dataset.tasks[0].classes
    places = sayings.store.rows_of(sayings.dataset.ids)
    deep, wide = (np.exp(sayings.store.log_probabilities(name, "kind", places)[:, 0].astype(float))
                  for name in ("deep", "wide"))
    torn = np.flatnonzero(deep.argmax(axis=1) != wide.argmax(axis=1))
    assert len(torn) > 3
    for row in torn:
        pair = {deep[row].argmax(), wide[row].argmax()}
        assert found[key(sayings, row)] == classes[max(pair, key=lambda one: deep[row, one] + wide[row, one])]


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    answers = drawn_answers(sayings, ["a.csv"])
    write_answers(tmp_path, sayings, answers)
    whole = (tmp_path / "a.csv").read_text()
    cases = [
        (whole + "nobody,coat\n", (), "names 1 samples that the Dataset does not have"),
        (whole.replace("coat", "cat", 1), ("--by", "vote"), "'cat' is no class of kind"),
        (whole, ("--by", "probability"), "holds labels and no probabilities"),
        (whole, ("--by", "vote", "--weights", "b=2"), "there is no member b"),
        (whole, ("--by", "vote", "--weights", "a=0"), "every member has the weight 0"),
        (whole, ("--by", "vote", "--task", "kid"), "there is no task kid. Did you mean 'kind'?"),
        (whole + whole.splitlines(keepends=True)[0], ("--by", "vote"), "twice"),
        ("", ("--by", "vote"), "holds no prediction"),
        ("alone\n", ("--by", "vote"), "expected an id and 1 more cells"),
    ]
    for text, more, said in cases:
        (tmp_path / "a.csv").write_text(text)
        assert ensemble(tmp_path, "a.csv", more=more) == 1
        assert said in capsys.readouterr().err
    (tmp_path / "a.csv").write_text(whole)
    assert ensemble(tmp_path, "a.csv", more=("--weights", "a")) == 2
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.csv").write_text(whole)
    assert ensemble(tmp_path, "a.csv", "b/a.csv", more=("--by", "vote")) == 1
    assert "two members are called a" in capsys.readouterr().err
    assert ensemble(tmp_path, "store", out="store") == 1
    assert "holds no ensemble; it would be replaced" in capsys.readouterr().err


def test_numbers_and_names_of_classes_say_the_same(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    answers = drawn_answers(sayings, ["a.csv", "b.csv"])
    write_answers(tmp_path, sayings, answers)
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--numbers")) == 0
    first, classes = rows_of(tmp_path), sayings.dataset.tasks[0].classes
    numbered = {name: [str(classes.index(label)) for label in labels] for name, labels in answers.items()}
    write_answers(tmp_path, sayings, numbered)
    assert ensemble(tmp_path, *answers, more=("--by", "vote", "--numbers")) == 0
    assert rows_of(tmp_path) == first and set(first.values()) == {"0", "1", "2"}
