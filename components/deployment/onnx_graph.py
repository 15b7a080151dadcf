"""A model as one ONNX graph: stored pixels in, calibrated probabilities of every task out."""

import json
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from components.errors import UserError
from components.models.artifact import Model

SCHEMA = 1
INPUT, EMBEDDING = "pixels", "embedding"
PLACE = "stillhouse output"  # what outputs are called until the graph's own names are out of the way


class Calibrated(nn.Module):
    """Stored pixels uint8 [N, H, W, 3] -> probabilities [N, C] of each task in order, then the embedding [N, D].

    A task with one true label goes through softmax(logits / temperature), one with several through the sigmoid.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.preprocess, self.network = model.preprocess, model.network
        self.tasks, self.temperatures = model.tasks, model.temperatures

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Preprocess, ask the network, calibrate."""
        outputs = self.network(self.preprocess(pixels))
        said = []
        for task in self.tasks:
            scores = outputs.logits[task.name] / self.temperatures[task.name]
            said.append(torch.softmax(scores, dim=1) if task.kind == "single" else torch.sigmoid(scores))
        return (*said, outputs.embedding)


def output_names(model: Model) -> list[str]:
    """The graph's outputs in order, the tasks by name, then the embedding; UserError for a task that is called so."""
    names = [task.name for task in model.tasks]
    for taken in (INPUT, EMBEDDING):
        if taken in names:
            raise UserError(f"a task is called {taken}, a name that the graph needs itself", "call the task otherwise")
    return [*names, EMBEDDING]


def write_graph(model: Model, digest: str, path: Path, opset: int) -> None:
    """Write a model's graph with any batch size; the same model gives the same bytes.

    digest: of the sealed model, kept in the graph's metadata beside tasks, classes and geometry.
    """
    height, width = model.head["geometry"]["stored"]
    pixels = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    wrapped, names = Calibrated(model).cpu().eval(), output_names(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own use of torch
        program = torch.onnx.export(
            wrapped, (pixels,), dynamo=True, opset_version=opset, verbose=False, input_names=[INPUT],
            output_names=[f"{PLACE} {place}" for place in range(len(names))],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    assert program is not None
    graph = program.model_proto
    refuse_fixed_batch(graph.graph, model.head["architecture"]["name"])
    rename_outputs(graph.graph, names)
    strip(graph)
    describe(graph, model, digest)
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def refuse_fixed_batch(graph: onnx.GraphProto, network: str) -> None:
    """UserError where torch took the batch size of the example for the only one, which it does without a word."""
    for value in (*graph.input, *graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise UserError(f"{network} computes with a fixed number of images, so its graph would take no other",
                            "choose another network in params.yaml: student.model.name")


def rename_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    """Call outputs by the tasks; what torch called so inside (`linear`, `softmax`) gets another name first."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.initializer, *graph.value_info)}
    final = {}
    for name in names:
        final[name] = name
        while name in taken and final[name] in taken | set(names):
            final[name] += "_"
    final |= {f"{PLACE} {place}": name for place, name in enumerate(names)}
    for node in graph.node:
        node.input[:] = [final.get(name, name) for name in node.input]
        node.output[:] = [final.get(name, name) for name in node.output]
    for value in (*graph.output, *graph.initializer, *graph.value_info):
        value.name = final.get(value.name, value.name)


def strip(graph: onnx.ModelProto) -> None:
    """Remove what tells of this machine and not of the model: stack traces with paths, versions, comments."""
    graph.producer_name, graph.producer_version, graph.doc_string = "stillhouse", "", ""
    for part in (graph.graph, *graph.functions):
        part.doc_string = ""
        del part.metadata_props[:]
        for node in part.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info, *graph.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]


def describe(graph: onnx.ModelProto, model: Model, digest: str) -> None:
    """Put into the graph's metadata what a reader needs to use its numbers."""
    facts = {
        "schema": str(SCHEMA),
        "name": model.name,
        "model": digest,
        "tasks": json.dumps([task.to_json() for task in model.tasks], ensure_ascii=False, sort_keys=True),
        "geometry": json.dumps(model.head["geometry"], sort_keys=True),
        "temperatures": json.dumps(model.temperatures, ensure_ascii=False, sort_keys=True),
    }
    del graph.metadata_props[:]
    for name in sorted(facts):
        graph.metadata_props.add(key=name, value=facts[name])
