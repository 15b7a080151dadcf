"""A reader written from docs/store.md alone, in numpy: what another team would write. It imports nothing of ours."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from small_stores import KIND, TRIM, identities, labels_said, write_samples, write_store

from components.data.tasks import Task

GARMENT = Task("garment", "single", tuple(f"class {number}" for number in range(60)))


class Foreign:
    """The whole reader."""

    def __init__(self, path):
        self.path, self.head = path, json.loads((path / "probabilities.json").read_bytes())
        fields = {name: value for name, value in self.head.items() if name != "digest"}
        assert self.head["schema"] == 2 and self.sha(self.canonical(fields)) == self.head["digest"]
        bound = {name: value for name, value in fields.items() if name not in ("key", "embeddings")}
        assert self.sha(self.canonical(bound)) == self.head["key"]
        self.rows = {sample.tobytes(): row for row, sample in enumerate(self.array("ids.npy"))}

    def sha(self, content):
        return hashlib.sha256(content).hexdigest()

    def canonical(self, value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def array(self, name):
        content = (self.path / name).read_bytes()
        assert self.sha(f"{self.head['key']}/{name}\n".encode() + content[:-32]) == content[-32:].hex()
        return np.load(self.path / name, mmap_mode="r")

    def said(self, source, task, sample, view):
        """Log-probabilities of all classes."""
        shard, place = divmod(self.rows[sample], self.head["shard_rows"])
        cell = self.array(f"shards/{source}/{task}/{shard:05d}.npy")[place, self.head["views"].index(view)]
        if self.head["forms"][task]["form"] == "dense":
            return cell
        classes = next(len(one["classes"]) for one in self.head["tasks"] if one["name"] == task)
        whole = np.full(classes, cell["residual"] - np.log(classes - len(cell["index"])))
        whole[cell["index"]] = cell["value"]
        return whole


@pytest.fixture
def written(tmp_path):
    chance, count = np.random.default_rng(5), 50
    ids = identities(count)
    columns = {"id": ids, "split": ["train"] * count, "kind": [0] * count, "trim": [None] * count,
               "garment": [0] * count}
    dataset = write_samples(tmp_path / "dataset", columns, (KIND, TRIM, GARMENT))
    said = {source: {"kind": chance.dirichlet(np.ones(3), (count, 3)),
                     "trim": labels_said(chance, chance.integers(0, 2, (count, 2)), views=3),
                     "garment": chance.dirichlet(np.full(60, 0.1), (count, 3)) + 1e-12} for source in ("deep", "wide")}
    return dataset, write_store(tmp_path / "store", dataset, said, k=8), said


def test_a_reader_written_from_the_page_reads_what_ours_reads(written) -> None:
    dataset, store, said = written
    foreign = Foreign(store.path)
    assert {name: form["form"] for name, form in store.head["forms"].items()} == {
        "kind": "dense", "trim": "dense", "garment": "topk"}
    for row in (0, 15, 16, 33, 49):
        for source in ("deep", "wide"):
            for view in (0, 2):
                for task in ("kind", "trim", "garment"):
                    found = foreign.said(source, task, dataset.ids[row].tobytes(), view)
                    ours = store.log_probabilities(source, task, store.rows_of(dataset.ids[[row]]))[0, view]
                    assert np.allclose(np.asarray(found, np.float64), ours, atol=2e-2, rtol=2e-3)
                    if task != "garment":
                        assert np.allclose(np.exp(ours), said[source][task][row, view], atol=2e-3)


def test_the_page_is_right_about_every_byte(written) -> None:
    """Without np.load: header, cells and seal by their offsets."""
    _, store, said = written
    content = (store.path / "shards" / "deep" / "garment" / "00001.npy").read_bytes()
    assert content[:8] == b"\x93NUMPY\x01\x00"
    start = 10 + int.from_bytes(content[8:10], "little")
    assert start % 64 == 0
    assert len(content) == start + 16 * 3 * (2 * 8 + 2 * 8 + 2) + 32
    place, view = 5, 1
    cell = content[start + (place * 3 + view) * 34:][:34]
    index, value = np.frombuffer(cell[:16], "<u2"), np.frombuffer(cell[16:32], "<f2")
    truth = said["deep"]["garment"][::-1][16 + place, view]
    assert index.tolist() == sorted(range(60), key=lambda one: -truth[one])[:8]
    assert np.allclose(np.exp(value.astype(float)), truth[index], atol=2e-3)
    left = float(np.frombuffer(cell[32:], "<f2")[0])
    assert np.exp(left) == pytest.approx(truth.sum() - truth[index].sum(), rel=1e-2, abs=1e-6)


def test_the_page_names_every_field_of_a_head_and_no_other(written) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    lines = page.split("## Head")[1].split("## Seals")[0].splitlines()
    named = {word.strip(" `") for line in lines if line.startswith("| `") for word in line.split("|")[1].split(",")}
    assert set(written[1].head) <= named
    taught = {"models", "augmentation", "code", "generator", "seed", "coverage", "mixed", "folds"}
    assert named == set(written[1].head) | taught
