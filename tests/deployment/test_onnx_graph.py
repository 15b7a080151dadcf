"""The graph against the model, against itself written again, and against names and networks that bite."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import expit, softmax
from small_models import write_photographs, write_small_model

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.deployment import parity
from components.deployment.onnx_graph import output_names, write_graph
from components.errors import UserError
from components.models.artifact import Model, load_model
from components.models.inference import logits_of
from components.models.network import build_network
from components.models.preprocessing import Preprocess, geometry_head
from components.models.settings import Architecture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("graph")
    dataset = Dataset.open(write_photographs(root / "dataset"))
    model = load_model(write_small_model(root / "model", "distilled", dataset, 3))
    write_graph(model, "d1" * 32, root / "model.onnx", 20)
    return root


@pytest.mark.parametrize("batch", [1, 2, 7, 20])
def test_a_batch_of_any_size_gives_the_calibrated_probabilities_of_the_model(root: Path, batch: int) -> None:
    dataset, model = Dataset.open(root / "dataset"), load_model(root / "model")
    rows = dataset.rows("test")[:batch]
    logits = logits_of(model, dataset, rows)
    found = parity.ask_graph(parity.open_graph(root / "model.onnx"), model, dataset.pixels(rows))
    assert found["kind"] == pytest.approx(softmax(logits["kind"] / 1.75, axis=1), abs=1e-5)
    assert found["trim"] == pytest.approx(expit(logits["trim"] / 1.75), abs=1e-5)
    assert found["embedding"].shape == (batch, 8)


def test_the_metadata_say_what_the_numbers_mean(root: Path) -> None:
    facts = parity.open_graph(root / "model.onnx").get_modelmeta().custom_metadata_map
    dataset = Dataset.open(root / "dataset")
    assert json.loads(facts["tasks"]) == dataset.head["tasks"]
    assert json.loads(facts["geometry"])["stored"] == list(dataset.size)
    assert facts["model"] == "d1" * 32
    assert json.loads(facts["temperatures"]) == {"kind": 1.75, "trim": 1.75}


def test_the_same_model_gives_the_same_bytes_in_another_process(root: Path, tmp_path: Path) -> None:
    program = ("import sys; from pathlib import Path; from components.models.artifact import load_model; "
               "from components.deployment.onnx_graph import write_graph; "
               "write_graph(load_model(Path(sys.argv[1])), 'd1' * 32, Path(sys.argv[2]), 20)")
    subprocess.run([sys.executable, "-c", program, root / "model", tmp_path / "again.onnx"], check=True,
                   env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"})
    assert (tmp_path / "again.onnx").read_bytes() == (root / "model.onnx").read_bytes()


def test_nothing_in_the_graph_tells_of_this_machine(root: Path) -> None:
    content = (root / "model.onnx").read_bytes()
    assert not re.findall(rb"site-packages|\.py\b|/home/|/root/|/tmp/|stack_trace|2\.14", content)
    graph = onnx.load(root / "model.onnx")
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)


def changed(model: Model, tasks: tuple[Task, ...], architecture: Architecture, size: tuple[int, int]) -> Model:
    """A model of other tasks and another network."""
    network = build_network(architecture, tasks, size, 0).eval()
    stored = (40, 40)
    temperatures = {task.name: 0.5 for task in tasks}
    return Model("odd", network, Preprocess(stored, size), tasks, temperatures,
                 {"geometry": geometry_head(stored, size, 128), "architecture": architecture.model_dump()})


def test_tasks_may_be_called_what_the_graph_calls_its_own_parts(root: Path, tmp_path: Path) -> None:
    names = ("softmax", "linear", "div", "view", "relu_1", "batch", "x/y", "Größe 1", "pixels_1")
    tasks = tuple(Task(name, "single", ("a", "b")) for name in names)
    base = load_model(root / "model")
    architecture = Architecture.model_validate(base.head["architecture"])
    model = changed(base, tasks, architecture, (24, 24))
    write_graph(model, "00", tmp_path / "odd.onnx", 20)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    found = parity.compare(model, tmp_path / "odd.onnx", pixels)
    assert set(found.tasks) == set(names)
    assert found.difference < 1e-5


@pytest.mark.parametrize("name", ["pixels", "embedding"])
def test_a_task_with_a_name_that_the_graph_needs_is_refused(name: str, root: Path) -> None:
    base = load_model(root / "model")
    model = Model("odd", base.network, base.preprocess, (Task(name, "single", ("a", "b")),), {}, {})
    with pytest.raises(UserError, match=f"a task is called {name}"):
        output_names(model)


def test_a_network_that_counts_on_one_batch_size_is_refused(root: Path, tmp_path: Path) -> None:
    model = load_model(root / "model")
    ask = model.network.forward

    def counting(images: torch.Tensor) -> object:
        outputs = ask(images)
        logits = {name: scores.reshape(len(scores), -1) for name, scores in outputs.logits.items()}
        return outputs._replace(logits=logits)

    model.network.forward = counting  # type: ignore[method-assign]
    with pytest.raises(UserError, match="resnet18 computes with a fixed number of images"):
        write_graph(model, "00", tmp_path / "model.onnx", 20)


NETWORKS = ["mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0",
            "torchvision/shufflenet_v2_x0_5", "torchvision/swin_t", "repvgg_a0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_many_kinds_keep_their_parity(name: str, root: Path, tmp_path: Path) -> None:
    options = {"depth": 2} if name.startswith("vit") else {}
    architecture = Architecture(name=name, options=options)
    model = changed(load_model(root / "model"), (Task("kind", "single", ("a", "b", "c")),), architecture, (64, 64))
    torch.nn.init.normal_(model.network.heads["kind"].weight, std=0.5)
    write_graph(model, "00", tmp_path / "model.onnx", 20)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    assert parity.compare(model, tmp_path / "model.onnx", pixels).difference < 1e-4
