"""What `benchmarks.distillation` asks of a process of its own: a teacher, a store or a student; JSON in and out."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets import step
from benchmarks.one_recipe import measured, reached
from components.process import prepare

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.distill import Distill
    from components.probabilities.store import Store
    from components.probabilities.voices import Choir
    from components.training.goals import Goal

Wish = dict[str, Any]
HELD_OUT = ("val", "test")


def teacher(wish: Wish, seed: int, dataset: Path) -> Wish:
    """Train a teacher as the pipeline does; a training that was cut off goes on."""
    from components.models.artifact import load_model

    own, name = Path(wish["own"]), wish["name"]
    step(own.parent / "steps", f"train teachers.{name}", {"seed": seed, "teachers": {name: wish["settings"]}},
         dataset=dataset, model=own, metrics=own.with_suffix(".json"), curves=own.with_suffix(".csv"))
    return figures(load_model(own), dataset, ("train", *HELD_OUT)) | {"epochs": wish["settings"]["epochs"]}


def store(wish: Wish, seed: int, dataset: Path) -> Wish:
    """Let teachers judge views as the pipeline does; what was cut off goes on."""
    from components.data.dataset import Dataset

    own = Path(wish["own"])
    heard = own.with_name(f"{own.name}.teachers")
    heard.mkdir(exist_ok=True)
    for name in wish["settings"]:
        (heard / name).unlink(missing_ok=True)
        (heard / name).symlink_to(wish["folders"][f"teacher {name}"])
    values = {"seed": seed, "teachers": wish["settings"], "teach": {"views": wish["views"], **wish.get("teach", {})},
              "student": {"augment": wish["augment"]}}
    step(own.parent / "steps", "teach", values, dataset=dataset, teachers=heard, probabilities=own,
         metrics=own.with_suffix(".json"))
    agreement = json.loads(own.with_suffix(".json").read_text())
    return {"bytes": size_of_files(own), "samples": len(Dataset.open(dataset)), "views": wish["views"],
            "agreement": agreement}


def row(wish: Wish, seed: int, dataset: Path) -> Wish:
    """Train a student."""
    from components.data.dataset import Dataset

    samples, settings = Dataset.open(dataset), settings_of(wish, seed)
    goal, facts = {"labels": by_labels, "store": by_store, "live": by_live, "text": by_text}[wish["by"]](
        wish, settings, samples)
    began = time.process_time()
    fitted = reached(goal, samples)
    spent = time.process_time() - began
    assert fitted is not None, "nothing stops it"
    return figures(fitted, dataset, HELD_OUT) | facts | {"epochs": settings.student.epochs, "epoch_seconds": round(
        spent / settings.student.epochs, 3)}


def settings_of(wish: Wish, seed: int) -> "Distill":
    """The settings that a row stands for, as params.yaml could hold them."""
    from components.distill import Distill
    from components.settings import Params

    values = {"seed": seed, "student": wish["student"], "distill": wish.get("distill", {})}
    found = Params(values).section("distill")
    assert isinstance(found, Distill)
    return found.resolved()


def by_labels(wish: Wish, settings: "Distill", samples: "Dataset") -> tuple["Goal", Wish]:
    """The plain student."""
    from components.losses.objective import trained
    from components.training.goals import Goal, losses_of

    losses = losses_of(settings.student, samples, "row")
    return Goal("row", settings.student, trained(losses), settings.seed), {}


def by_store(wish: Wish, settings: "Distill", samples: "Dataset") -> tuple["Goal", Wish]:
    """What the step `distill` trains, from the first views of a store."""
    from components.distill import goal_of
    from components.losses.ranks import ALONE
    from components.probabilities.store import Store

    whole = Path(wish["folders"][f"store {wish['store']}"])
    found = whole if wish["views"] == wish["stores"]["views"] else first_views(Store.open(whole), wish["views"])
    choir, heard = heard_of(wish, settings, samples)
    return goal_of(settings, samples, Store.open(found), ALONE, choir), heard | {
        "bytes_a_sample": size_of_files(found) / len(samples)}


def by_live(wish: Wish, settings: "Distill", samples: "Dataset") -> tuple["Goal", Wish]:
    """The teacher, asked in every step about the views that the student sees; fixed: one view in all epochs."""
    from components.losses.distillation import blended
    from components.models.artifact import load_model
    from components.probabilities.judging import Program
    from components.probabilities.live import Live
    from components.training.goals import losses_of

    model, (task,) = load_model(Path(wish["folders"][f"teacher {wish['teacher']}"])), samples.tasks
    live = Live([model], samples, Program(settings.student.augment, settings.seed, samples.size),
                settings.temperature * model.temperatures[task.name])
    losses = losses_of(settings.student, samples, "row")
    goal, _ = by_labels(wish, settings, samples)
    goal = replace(goal, objective=blended(losses, live.of, settings.shares()))
    return replace(goal, view_of=lambda epoch: 1) if wish["fixed"] else goal, {}


def by_text(wish: Wish, settings: "Distill", samples: "Dataset") -> tuple["Goal", Wish]:
    """A text file `path,p0,p1,...` with two decimals for the untouched training images, whose numbers replace labels.

    What system 002 keeps and does; its numbers are sigmoids, these, to its favour, probabilities.
    """
    import numpy as np
    import torch

    from components.losses.distillation import blended
    from components.probabilities.store import Store
    from components.training.goals import losses_of

    store, (task,) = Store.open(Path(wish["folders"][f"store {wish['store']}"])), samples.tasks
    rows = samples.rows("train")
    said = np.exp(store.log_probabilities(store.sources[0], task.name, store.rows_of(samples.ids[rows]))[:, 0])
    paths = samples.samples["path"].to_numpy()[rows]
    lines = [f"{path},{','.join(f'{value:.2f}' for value in values)}\n" for path, values in
             zip(paths, said, strict=True)]
    table = torch.full((len(samples), len(task.classes)), torch.nan)
    table[torch.from_numpy(rows)] = torch.tensor([[float(v) for v in line.split(",")[1:]] for line in lines])
    losses = losses_of(settings.student, samples, "row")
    goal, _ = by_labels(wish, settings, samples)
    goal = replace(goal, objective=blended(losses, lambda _, batch: table[torch.from_numpy(batch.rows)], (1.0, 1.0)))
    return goal, {"bytes_a_sample": len("".join(lines).encode()) / len(rows)}


def heard_of(wish: Wish, settings: "Distill", samples: "Dataset") -> tuple["Choir", Wish]:
    """The teachers that beat the plain student on val, calibrated; UserError where none does."""
    from components.probabilities.store import Store
    from components.probabilities.voices import choose

    (task,) = samples.tasks
    store = Store.open(Path(wish["folders"][f"store {wish['store']}"]))
    choir = choose(store, samples, settings.teachers, {f"val/{task.name}/{name}": value for name, value in
                                                       wish["bar"].items()})
    return choir, {"heard": choir.to_json()}


def first_views(store: "Store", views: int) -> Path:
    """The store that would have been made with fewer views: each view is judged by itself."""
    from components.probabilities.layout import LATER
    from components.probabilities.store import StoreWriter

    folder = store.path.with_name(f"{store.path.name}.{views}")
    if (folder / "probabilities.json").exists():
        return folder
    head = {name: value for name, value in store.head.items() if name not in LATER}
    writer = StoreWriter(folder, head | {"views": store.views[: views + 1]}, store.ids)
    for source in store.sources:
        for shard in writer.unwritten(source):
            for task in store.tasks:
                said = store.log_probabilities(source, task.name, writer.rows_of(shard))
                writer.put(source, task.name, shard, said[:, : views + 1])
    writer.finish()
    return folder


def figures(model: Any, dataset: Path, splits: tuple[str, ...]) -> Wish:
    """Figures of a model by split, and of the two that are held out together."""
    from components.data.dataset import Dataset

    samples = Dataset.open(dataset)
    found = {split: measured(model, samples, split) for split in splits}
    counts = {split: len(samples.rows(split)) for split in HELD_OUT}
    together = {name: sum(counts[split] * found[split][name] for split in HELD_OUT) / sum(counts.values())
                for name in ("accuracy", "log_loss")}
    return {**found, "held_out": together}


def size_of_files(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def answer(dataset: str, wish: Wish, seed: int) -> Wish:
    """What is printed."""
    from components.training.devices import use_threads

    use_threads(1)
    began = time.process_time()
    made = {"teacher": teacher, "store": store, "row": row}[wish["kind"]](wish, seed, Path(dataset))
    return made | {"cpu_seconds": round(time.process_time() - began, 1)}


if __name__ == "__main__":
    prepare()
    print(json.dumps(answer(*json.loads(sys.argv[1]))))
