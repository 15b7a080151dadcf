"""Two data sets held against each other: every change that was made is found, and no other."""

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.data.comparing import Comparison, Side, compare, opened
from components.data.comparing_page import page
from components.data.dataset import SPLITS
from components.data.embedding import WIDTH
from components.data.labelling import class_counts
from components.data.statistics import statistics
from components.data.tasks import Task
from components.errors import UserError

COUNT = 3000
KIND, TAGS = Task("kind", "single", ("coat", "dress", "shirt")), Task("tags", "multi", ("dots", "plain"))


def samples(seed: int = 0, count: int = COUNT, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> pd.DataFrame:
    """Rows of a manifest, as `index` gets them."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "sha256": [rng.bytes(32).hex() for _ in range(count)],
        "split": rng.choice(SPLITS, count, p=[0.6, 0.2, 0.2]), "kind": rng.choice(KIND.classes, count, p=shares),
        "tags": rng.choice(["dots", "plain", "dots|plain", ""], count),
        "width": rng.integers(200, 400, count), "height": 300, "brightness": rng.normal(0.5, 0.1, count).clip(0, 1)})


def side(table: pd.DataFrame, tasks: tuple[Task, ...] = (KIND, TAGS), shift: int = 0, name: str = "set") -> Side:
    """What a Dataset of these rows would say of itself; shift: how much lighter its pictures are."""
    table = table.sort_values("split").reset_index(drop=True)
    rng = np.random.default_rng(len(table))
    embeddings = (rng.normal(100, 20, (len(table), WIDTH)) + shift).clip(0, 255).astype(np.uint8)
    head: dict[str, Any] = {
        "schema": 2, "kind": "dataset", "tasks": [task.to_json() for task in tasks],
        "splits": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "counts": {task.name: class_counts(table, task) for task in tasks},
        "geometry": {"size": [64, 64], "pad": 128}, "statistics": statistics(table, tasks, [embeddings])}
    numbered = {task.name: [numbers(cell, task) for cell in table[task.name]] for task in tasks}
    return Side(name, head, table.rename(columns={"sha256": "id"}).assign(**numbered))


def numbers(cell: str, task: Task) -> int | list[int] | None:
    found = [task.classes.index(label) for label in cell.split("|") if label]
    return (found or None) if task.kind == "multi" else found[0]


def verdicts(found: Comparison) -> dict[str, str]:
    """The verdict on everything that matters."""
    return {f"{one.kind}, {one.what}": one.verdict for one in found.findings if one.verdict != "none"}


def test_a_set_does_not_differ_from_itself() -> None:
    found = compare(side(samples()), side(samples()))
    assert found.verdict == "none"
    assert found.counts == {"kept": COUNT, "added": 0, "removed": 0, "moved": {}, "relabelled": {"kind": 0, "tags": 0}}
    assert all(not one.figure or one.figure < 1e-6 for one in found.findings)
    assert {one.kind for one in found.findings} == {
        "samples", "splits", "class shares", "labelled", "measures", "pictures"}


@pytest.mark.parametrize("count", [120, 600, 3000])
def test_another_draw_of_the_same_population_does_not_matter_but_for_the_samples(count: int) -> None:
    found = compare(side(samples(1, count)), side(samples(2, count // 2)))
    assert verdicts(found) == {"samples, removed": "major"}


def test_samples_that_came_went_moved_or_were_relabelled_are_counted_one_by_one() -> None:
    old = samples()
    new = pd.concat([old.iloc[100:], samples(5, 40)], ignore_index=True)
    trained = new.index[new["split"] == "train"][:30]
    new.loc[trained, "split"] = "test"
    relabelled = new.index[(new["kind"] == "coat") & (new.index < COUNT - 100)][:60]
    new.loc[relabelled, "kind"] = "dress"
    found = compare(side(old), side(new))
    assert found.counts is not None
    assert (found.counts["kept"], found.counts["added"], found.counts["removed"]) == (COUNT - 100, 40, 100)
    assert found.counts["moved"] == {"train to test": 30}
    assert found.counts["relabelled"] == {"kind": 60, "tags": 0}
    assert verdicts(found) == {"samples, labels of kind": "minor", "samples, train to test": "minor"}


def test_classes_in_another_order_are_no_other_labels_but_matter() -> None:
    turned = Task("kind", "single", ("shirt", "dress", "coat"))
    found = compare(side(samples()), side(samples(), (turned, TAGS)))
    assert verdicts(found) == {"classes, kind": "major"}
    assert found.counts is not None and found.counts["relabelled"] == {"kind": 0, "tags": 0}
    assert found.changes[0].moved == {"shirt": (2, 0), "coat": (0, 2)}


def test_tasks_may_come_and_matter_when_they_go() -> None:
    one, both = side(samples(), (KIND,)), side(samples())
    assert verdicts(compare(one, both)) == {"classes, tags": "minor"}
    assert verdicts(compare(both, one)) == {"classes, tags": "major"}


def test_other_class_shares_are_found_in_every_split() -> None:
    found = verdicts(compare(side(samples()), side(samples(3, shares=(0.2, 0.3, 0.5)))))
    assert {name for name in found if name.startswith("class shares")} == {f"class shares, kind in {s}" for s in SPLITS}
    assert found["class shares, kind in train"] == "major"


def test_darker_pictures_and_other_sizes_are_found() -> None:
    other = samples()
    test = other["split"] == "test"
    other.loc[test, "brightness"] = (other.loc[test, "brightness"] - 0.2).clip(0, 1)
    other["height"] = 900
    found = verdicts(compare(side(samples()), side(other, shift=30)))
    assert found.pop("measures, brightness in test") == "major"
    assert {name: verdict for name, verdict in found.items() if name.startswith("pictures")} == dict.fromkeys(
        [f"pictures, {split}" for split in SPLITS], "major")
    assert all(name.startswith(("pictures", "measures, aspect", "measures, short_side")) for name in found)
    assert found["measures, aspect in train"] == "major"


def test_another_geometry_is_minor() -> None:
    new = side(samples())
    new.head["geometry"]["size"] = [96, 64]
    found = compare(side(samples()), new)
    assert verdicts(found) == {"form, stored pixels": "minor"}
    assert "size [64, 64] is now [96, 64]" in next(one.reason for one in found.findings if one.kind == "form")


def test_heads_alone_and_heads_without_statistics_are_compared_as_far_as_they_go() -> None:
    whole = side(samples())
    bare = Side("bare", {key: value for key, value in whole.head.items() if key != "statistics"}, None)
    found = compare(bare, whole)
    assert found.counts is None
    assert {one.kind for one in found.findings} == {"splits", "class shares"}
    other = copy.deepcopy(whole.head)
    other["statistics"]["pictures"]["train"][0]["sums"] = "1 2 3"  # written by a version with another embedding
    other["statistics"]["histograms"]["aspect"]["train"] = "1 2 3"
    assert {one.what for one in compare(whole, Side("other", other, None)).findings if one.kind == "measures"} == {
        f"{name} in {split}" for name in ("short_side", "brightness") for split in SPLITS}


def test_an_empty_split_is_no_crash() -> None:
    table = samples()
    found = compare(side(table), side(table[table["split"] != "val"]))
    assert verdicts(found)["splits, sizes"] == "major"
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(("content", "told"), [
    (None, "cannot be read"), ("{", "is no JSON"), ("[]", "not the head of a Dataset"),
    ('{"kind": "model", "tasks": [], "splits": {}, "counts": {}}', "not the head"),
    ('{"kind": "dataset", "tasks": []}', "not the head")])
def test_what_is_no_data_set_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=told) as caught:
        opened(tmp_path)
    assert "dataset.json" in caught.value.remedy


class Reader(HTMLParser):
    """Checks that tags are closed in order, that nothing is fetched, and gathers the words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        assert tag not in ("script", "link", "img")
        assert not {name for name, _ in attributes} & {"src", "href"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_page_is_whole_shows_every_finding_and_escapes_names() -> None:
    table = samples(1, 600, (0.2, 0.3, 0.5)).assign(brightness=0.9)
    nasty = Task("kind", "single", ("<b>coat</b>", "dress", "shirt"))
    table["kind"] = table["kind"].replace("coat", "<b>coat</b>")
    found = compare(side(samples(), name="old & worn"), side(table, (nasty, TAGS), name="<new>"))
    reader = Reader()
    reader.feed(page(found))
    assert reader.open == []
    assert "b" not in reader.words and "<b>coat</b>" in reader.words
    text = " ".join(reader.words)
    assert "<new> against old & worn" in text
    for one in found.findings:
        assert f"{one.kind}: {one.what}" in text
    assert "brightness in " in text
    assert page(found) == page(found)
