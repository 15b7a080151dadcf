"""Whether an exported graph answers as its model does, from the bytes of image files on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.decoding import Undecodable
from components.data.forms import pixels_of, stored
from components.deployment.onnx_graph import EMBEDDING, INPUT, output_names
from components.errors import UserError
from components.evaluation.metrics import log_probabilities
from components.models.artifact import Model

Answers = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """The largest differences between graph and model over the example files.

    tasks: of a probability, by task. embedding: of a component, relative to the largest one. examples: how many files.
    """

    examples: int
    tasks: dict[str, float]
    embedding: float

    @property
    def difference(self) -> float:
        """The largest difference of any probability."""
        return max(self.tasks.values())


def read_examples(dataset: Dataset) -> NDArray[np.uint8]:
    """The Dataset's example files, decoded and fitted as `index` does, uint8 [n, H, W, 3].

    UserError where one does not give the pixels that the Dataset holds of it: what is served would not be what was
    trained on.
    """
    names = list(dataset.head["examples"])
    if not names:
        raise UserError(f"{dataset.path} holds no example files, so a graph cannot be proved on them",
                        "make the Dataset again from images of a val or test split: dvc repro index")
    pixels = np.stack([_read(dataset, name) for name in names])
    rows = {sample: row for row, sample in enumerate(dataset.samples["id"])}
    stored = dataset.pixels(np.array([rows[name.partition(".")[0]] for name in names]))
    for name, ours, theirs in zip(names, pixels, stored, strict=True):
        if (ours != theirs).any():
            largest = int(np.abs(ours.astype(int) - theirs).max())
            raise UserError(f"{dataset.path / 'examples' / name} decodes to other pixels than the Dataset holds "
                            f"(largest difference {largest})", "the decoder has changed since; run: dvc repro -f index")
    return pixels


def _read(dataset: Dataset, name: str) -> NDArray[np.uint8]:
    path = dataset.path / "examples" / name
    try:
        return pixels_of(stored(path.read_bytes(), dataset.form), dataset.form)
    except Undecodable as error:
        raise UserError(f"{path} cannot be decoded: {error}", "make the Dataset again: dvc repro -f index") from None


def compare(model: Model, graph: Path, pixels: NDArray[np.uint8]) -> Parity:
    """Ask model and graph about the same pixels; the graph about all at once and about each alone."""
    expected = ask_model(model, pixels)
    session = open_graph(graph)
    whole = ask_graph(session, model, pixels)
    single = [ask_graph(session, model, pixels[place : place + 1]) for place in range(len(pixels))]
    alone = {name: np.concatenate([one[name] for one in single]) for name in whole}
    largest = {name: max(_largest(expected[name], found[name]) for found in (whole, alone)) for name in expected}
    scale = float(np.abs(expected[EMBEDDING]).max()) or 1.0
    return Parity(len(pixels), {task.name: largest[task.name] for task in model.tasks}, largest[EMBEDDING] / scale)


def _largest(expected: NDArray[Any], found: NDArray[Any]) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(expected.astype(np.float64) - found).max())


def ask_model(model: Model, pixels: NDArray[np.uint8]) -> Answers:
    """Probabilities by task and the embedding, from PyTorch, calibrated in double precision outside the network."""
    with torch.inference_mode():
        outputs = model.network(model.preprocess(torch.from_numpy(pixels)))
    answers: Answers = {EMBEDDING: outputs.embedding.numpy()}
    for task in model.tasks:
        logits = outputs.logits[task.name].numpy()
        answers[task.name] = np.exp(log_probabilities(logits, model.temperatures[task.name], task.kind))
    return answers


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime on one CPU thread, so that its sums are always made in the same order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ask_graph(session: onnxruntime.InferenceSession, model: Model, pixels: NDArray[np.uint8]) -> Answers:
    """The graph's outputs by name."""
    names = output_names(model)
    return dict(zip(names, session.run(names, {INPUT: pixels}), strict=True))


def refuse_difference(parity: Parity, limit: float) -> None:
    """UserError where the graph's probabilities differ from the model's by more than a limit."""
    worst = max(parity.tasks, key=lambda name: parity.tasks[name])
    if not parity.difference <= limit:
        cause = f"the graph's probabilities of {worst} differ from the model's by {parity.difference:.2g}"
        raise UserError(f"{cause}; at most {limit:g} passes", "try another export.opset, or raise max_difference there")


def parity_head(parity: Parity, limit: float) -> Mapping[str, Any]:
    """What `parity.json` says."""
    return {"schema": 1, "kind": "parity", "examples": parity.examples, "batches": sorted({1, parity.examples}),
            "max_difference": parity.difference, "limit": limit, "tasks": parity.tasks,
            "embedding_relative": parity.embedding}
