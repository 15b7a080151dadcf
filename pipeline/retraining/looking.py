"""Looks at champion, data, settings and stages, and asks every reason."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.settings import Params
from components.storage import receipts
from pipeline.retraining import reasons, tree
from pipeline.retraining.champion import Champion, age_in_days, settings_of
from pipeline.retraining.policy import Policy
from pipeline.retraining.reasons import Data, Decision, Reason


@dataclass(frozen=True)
class Told:
    """What only the user knows: a Dataset to hold this one against, counts in use, the day of publication.

    images: digest of what pods would fetch, "" where the training takes what is here.
    """

    reference: Path | None = None
    live: Path | None = None
    published: str = ""
    images: str = ""


def decision(champion: Champion | None, registry: str, params: Params, policy: Policy, told: Told) -> Decision:
    """Whether to retrain, with every reason; UserError for a champion or a file that cannot be judged by."""
    if champion is None:
        return reasons.decide(None, [reasons.on_champion(registry)])
    stale = tree.stale_stages()
    current = tree.data_are_current(stale)
    then, now = settings_of(params, champion)
    old, new = data_then(champion), Data(images=(told.images,)) if told.images else data_now(params, current)
    return reasons.decide(champion.digest, [
        reasons.on_data(old, new, policy), classes(champion, current),
        reasons.on_change(comparison(champion, told.reference) if current else None, reasons.differ(old, new), policy),
        reasons.on_settings(then, now, policy),
        reasons.on_stages(stale if stale is None else tree.code_and_settings(stale), policy),
        reasons.on_age(age_in_days(registry, champion.digest, told.published), policy),
        reasons.on_use(tree.live_counts(told.live), champion.promised(), policy),
    ])


def data_then(champion: Champion) -> Data:
    """What the champion comes from."""
    return Data(champion.dataset, tuple(champion.receipt.roots.values()))


def data_now(params: Params, current: bool) -> Data:
    """What a training would begin with. current: whether the Dataset here is made of the images of now."""
    if current:
        return Data(dataset=receipts.digest(tree.DATASET))
    images = tree.images_here(params)
    return Data(images=(images,) if images else ())


def classes(champion: Champion, current: bool) -> Reason:
    """Whether tasks and classes are others than the champion's."""
    from components.data.class_changes import changes, told
    from components.data.tasks import read_tasks

    if not current:
        return reasons.on_classes(None)
    head = json.loads((tree.DATASET / "dataset.json").read_text(encoding="utf-8"))
    before = champion.tasks
    found = told(changes(before, read_tasks(head["tasks"])), before)
    return reasons.on_classes([line.replace("the previous data set", "the champion") for line in found])


def comparison(champion: Champion, named: Path | None) -> dict[str, Any] | None:
    """What `compare-data` says of the Dataset here against the champion's; None where that is not here."""
    reference = tree.reference_of(champion, named)
    if reference is None:
        return None
    from components.data.comparing import compare, opened

    return compare(opened(reference), opened(tree.DATASET)).to_json()
