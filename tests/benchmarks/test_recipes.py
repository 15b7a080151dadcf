import json
from pathlib import Path

import pytest

from benchmarks import recipes
from benchmarks.one_recipe import recipe_of
from benchmarks.recipes import BASE, ROWS, Results, best, train_missing, values_of, wanted

UNDER = {"data": "d", "machine": "m", "epoch_seconds": 5.0, "budget": {"seconds": 100, "epochs": 20}}
NAMES = [BASE, "sgd", "ema off", "focal 2"]
ACCURACY = {BASE: 0.5, "sgd": 0.6, "ema off": 0.8, "focal 2": 0.7}


class Trainer:
    """Stands for the processes that train; dies at the n-th row."""

    def __init__(self, dies_at: int = -1) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.dies_at = dies_at

    def __call__(self, dataset, kind, *wish):
        if kind == "cost":
            return 2.0
        values, seed = wish
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        name = next(name for name in ROWS if values_of(name) == {k: v for k, v in values.items() if k != "epochs"})
        self.asked.append((name, seed, values["epochs"]))
        figures = {"accuracy": ACCURACY.get(name, 0.1), "balanced_accuracy": 0.5, "log_loss": 1.0}
        return {"val": figures, "test": figures, "epochs": values["epochs"], "cpu_seconds": 100.0}


def go_on(monkeypatch, path: Path, trainer: Trainer, under=UNDER, names=NAMES) -> Results:
    monkeypatch.setattr(recipes, "child", trainer)
    results = Results.read(path)
    results.under = under
    train_missing(results, Path("dataset"), wanted(results, names, 2, 2))
    return results


def test_all_have_one_seed_and_then_the_best_on_val_and_the_base_have_more(monkeypatch, tmp_path):
    trainer = Trainer()
    go_on(monkeypatch, tmp_path / "r.json", trainer)
    assert trainer.asked == [(BASE, 0, 20), ("sgd", 0, 20), ("ema off", 0, 20), ("focal 2", 0, 20),
                             ("ema off", 1, 20), ("focal 2", 1, 20), (BASE, 1, 20)]


@pytest.mark.parametrize("dies_at", range(7))
def test_a_run_that_is_cut_off_anywhere_goes_on_with_the_row_that_it_was_at(monkeypatch, tmp_path, dies_at):
    whole, first, second = Trainer(), Trainer(dies_at), Trainer()
    go_on(monkeypatch, tmp_path / "whole.json", whole)
    with pytest.raises(KeyboardInterrupt):
        go_on(monkeypatch, tmp_path / "r.json", first)
    assert len(Results.read(tmp_path / "r.json").rows) == dies_at
    go_on(monkeypatch, tmp_path / "r.json", second)
    assert first.asked + second.asked == whole.asked
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert (tmp_path / "r.md").read_bytes() == (tmp_path / "whole.md").read_bytes()


@pytest.mark.parametrize("change", [{"data": "other"}, {"budget": {"seconds": 200, "epochs": 40}}])
def test_rows_of_other_data_or_another_budget_are_trained_again(monkeypatch, tmp_path, change):
    again = Trainer()
    go_on(monkeypatch, tmp_path / "r.json", Trainer())
    go_on(monkeypatch, tmp_path / "r.json", again, UNDER | change)
    assert len(again.asked) == 7


def test_a_row_whose_settings_changed_is_trained_again_and_no_other(monkeypatch, tmp_path):
    again = Trainer()
    go_on(monkeypatch, tmp_path / "r.json", Trainer())
    monkeypatch.setitem(ROWS, "sgd", {"optimizer": {"name": "sgd", "lr": 0.2}})
    go_on(monkeypatch, tmp_path / "r.json", again)
    assert again.asked == [("sgd", 0, 20)]


def test_a_row_of_dearer_steps_has_fewer_epochs_in_every_seed(monkeypatch, tmp_path):
    trainer = Trainer()
    go_on(monkeypatch, tmp_path / "r.json", trainer, names=[BASE, "augmix"])
    assert trainer.asked == [(BASE, 0, 20), ("augmix", 0, 10), (BASE, 1, 20), ("augmix", 1, 10)]


def test_the_page_tells_means_deviations_and_what_was_not_trained(monkeypatch, tmp_path):
    go_on(monkeypatch, tmp_path / "r.json", Trainer())
    content = json.loads((tmp_path / "r.json").read_text())
    content["rows"]["ema off/1"]["test"]["accuracy"] = 0.9
    (tmp_path / "r.json").write_text(json.dumps(content))
    lines = recipes.page(Results.read(tmp_path / "r.json")).splitlines()
    row = next(line for line in lines if line.startswith("| ema off"))
    assert "`averaging: {\"name\": \"none\"}`" in row and "| 80.0 ± 0.0 | 85.0 ± 7.1 |" in row
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:] == [
        "| ema off", "| focal 2", "| sgd", "| base"]
    assert "augmix" in lines[-1] and "focal" not in lines[-1]


def test_the_best_are_counted_among_finished_rows_only(monkeypatch, tmp_path):
    results = go_on(monkeypatch, tmp_path / "r.json", Trainer())
    assert best(results, 1) == ["ema off", BASE]
    results.rows["ema off/0"]["digest"] = "of other settings"
    assert best(results, 1) == ["focal 2", BASE]


def test_every_row_is_a_training_section_that_differs_from_the_base():
    found = {name: recipe_of(values_of(name)).digestible() for name in ROWS}
    assert all(found[name] != found[BASE] for name in ROWS if name != BASE)
