"""What a store says of true labels, against sums written out sample by sample."""

import numpy as np
import pytest
from small_models import write_photographs

from components.data.dataset import Dataset
from components.probabilities.store import Store, StoreWriter
from components.probabilities.truth import true_probabilities


@pytest.fixture
def photographs(tmp_path):
    return Dataset.open(write_photographs(tmp_path / "photographs"))


def written(folder, dataset, ids, said):
    """A store of two views and two sources, [source, task] -> probabilities [N, 2, C]."""
    head = {"tasks": [task.to_json() for task in dataset.tasks], "sources": ["a", "b"], "views": [0, 1], "dataset": "d",
            "shard_rows": 16, "dtype": "float32"}
    writer = StoreWriter(folder, head, ids)
    for (source, task), values in said.items():
        for shard in range(writer.shard_count()):
            writer.put(source, task, shard, np.log(values[writer.rows_of(shard)]))
    writer.finish()
    return Store.open(folder)


def test_the_probability_of_true_labels_is_the_mean_over_sources_views_and_labelled_tasks(tmp_path, photographs):
    chance, count = np.random.default_rng(0), len(photographs)
    said = {(source, "kind"): chance.dirichlet(np.ones(4), (count, 2)) for source in "ab"}
    said |= {(source, "trim"): chance.uniform(0.05, 0.95, (count, 2, 3)) for source in "ab"}
    order = chance.permutation(count)
    store = written(tmp_path / "s", photographs, photographs.ids[order],
                    {key: values[order] for key, values in said.items()})
    found, samples = true_probabilities(store, photographs, photographs.tasks), photographs.samples
    for row in range(count):
        kind, trims, parts = samples["kind"][row], samples["trim"][row], []
        if kind >= 0:
            parts.append(np.mean([said[source, "kind"][row, view, kind] for source in "ab" for view in (0, 1)]))
        if trims is not None:
            means = [np.mean([said[source, "trim"][row, view, label] for source in "ab" for view in (0, 1)])
                     for label in range(3)]
            parts.append(np.mean([mean if label in trims else 1 - mean for label, mean in enumerate(means)]))
        expected = np.mean(parts) if parts else np.nan
        assert found[row] == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert np.isnan(found).sum() == sum(samples["kind"].eq(-1) & samples["trim"].isna())


def test_what_the_store_lacks_is_not_known(tmp_path, photographs):
    ids = photographs.ids.copy()
    ids[[3, 40]] = 0
    values = {(source, task.name): np.full((len(ids), 2, len(task.classes)), 0.25) for source in "ab"
              for task in photographs.tasks}
    found = true_probabilities(written(tmp_path / "s", photographs, ids, values), photographs, photographs.tasks)
    assert np.isnan(found[[3, 40]]).all()
