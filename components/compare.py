"""The step `compare`: the new model held against the one that serves, on the same samples."""

import sys
from typing import Annotated

from pydantic import Field

from components.contract import Input, Output, work_folder
from components.evaluation.gate_settings import Rule
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Seed
from components.storage.atomic import write_json


class Compare(Rule):
    """When a new model may take the place of the one that serves: both judge the same samples."""

    seed: Seed = 0
    registry: Annotated[str, From("promote.registry"), Field(exclude=True)] = "registry"
    runtime: SharedRuntime = Runtime()


def compare(settings: Compare, /, *, dataset: Input, model: Input, champion: Input, verdict: Output, report: Output,
            metrics: Output) -> None:
    """Hold the new model against the latest of a registry and say whether it may take its place."""
    from components.deployment.champion import champion_of
    from components.evaluation.gate_page import page
    from components.evaluation.gate_table import flat, headline
    from components.evaluation.gating import Question, judged
    from components.storage.places import place_of
    from components.storage.receipts import digest
    from components.training.devices import pick_device, use_threads

    use_threads(settings.runtime.threads)
    device = pick_device(settings.runtime.device)
    found = champion_of(champion, place_of(settings.registry), work_folder() / "champion")
    question = Question(dataset, model, found[1] if found else None, settings, settings.seed)
    answer = judged(question, device)
    told = answer.to_json() | {"dataset": digest(dataset), "model": digest(model),
                               "champion": found[0] if found else None,
                               "rule": settings.model_dump(mode="json", exclude={"runtime", "registry"})}
    for note in answer.notes:
        print(f"warning: {note}", file=sys.stderr)
    print(headline(told), file=sys.stderr)
    write_json(verdict, told)
    write_json(metrics, flat(told))
    report.write_text(page(told, answer), encoding="utf-8")
