"""The step `export`: one graph that holds preprocessing, network and calibration, proved equal to the model."""

import shutil
from pathlib import Path

from pydantic import Field

from components.contract import Input, Output
from components.runtime import Runtime, SharedRuntime
from components.settings import Settings
from components.storage.atomic import write_json


class Export(Settings):
    """How the graph is written, and how near to the model its answers must be."""

    opset: int = Field(20, ge=18, le=23, description="version of the ONNX operators that the graph uses")
    max_difference: float = Field(1e-4, gt=0, lt=1, description="largest difference of a probability that passes")
    runtime: SharedRuntime = Runtime()


def export(settings: Export, /, *, dataset: Input, model: Input, evaluation: Input, exported: Output,
           metrics: Output) -> None:
    """Write the ONNX graph, check its parity on raw image files, describe the model."""
    import torch

    from components.data.dataset import Dataset
    from components.deployment import parity
    from components.deployment.card import Facts, figures_of, render
    from components.deployment.onnx_graph import write_graph
    from components.models.artifact import load_model
    from components.storage.receipts import digest

    torch.set_num_threads(1)  # sums in one order: what the parity file says must not hang on the machine
    samples, network = Dataset.open(dataset), load_model(model)
    figures, pixels = figures_of(evaluation, network.name), parity.read_examples(samples)
    exported.mkdir()
    graph = exported / "model.onnx"
    write_graph(network, digest(model), graph, settings.opset)
    found = parity.compare(network, graph, pixels)
    parity.refuse_difference(found, settings.max_difference)
    head = parity.parity_head(found, settings.max_difference)
    write_json(exported / "parity.json", head)
    shutil.copyfile(model / "model.json", exported / "model.json")
    facts = Facts(network.head, figures, digests(dataset, model), samples.head["splits"], head, network.tasks,
                  graph.stat().st_size)
    (exported / "README.md").write_text(render(facts), encoding="utf-8")
    write_json(metrics, {"max_difference": found.difference, "bytes": graph.stat().st_size, "examples": found.examples})


def digests(dataset: Path, model: Path) -> dict[str, str]:
    """The digests of what the export hangs on, by what they are of."""
    from components.storage import receipts

    roots = {f"images ({name})": value for name, value in receipts.read(model).roots.items()}
    return roots | {"Dataset": receipts.digest(dataset), "model": receipts.digest(model)}
