"""Who may import whom: pipeline -> steps and commands -> rooms -> storage, and one importer for each heavy library."""

import ast

import pytest
from imports import ROOT, first_party, imports_of, module_of, python_files

from components.contract import STEPS

COMPONENTS = python_files("components")
ROOMS = sorted(path.parent.name for path in (ROOT / "components").glob("*/__init__.py"))
LIBRARY_ROOMS = [room for room in ROOMS if room not in ("commands", "storage", "tracking")]

# What stands in components/ and is neither a step nor a room.
SHELL = {"components.cli", "components.contract", "components.__main__", "components.crew", "components.worker",
         "components.pin"}

# The one importer of each library: a module or a package.
IMPORTERS = {
    "kfp": "pipeline/kubeflow",
    "kfp.client": "pipeline/api/connection.py",
    "kfp_server_api": "pipeline/api/connection.py",
    "kubernetes": "components/commands/cluster_api.py",
    "mlflow": "components/tracking",
    "boto3": "components/storage/s3.py",
    "botocore": "components/storage/s3.py",
    "torch.distributed": "components/training/ranks",
}


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def is_step(module: str) -> bool:
    return module.count(".") == 1 and room_of(module) in STEPS


def importer_of(name: str) -> str:
    """The most specific library of the table that a module belongs to."""
    return max((one for one in IMPORTERS if f"{name}.".startswith(f"{one}.")), key=len, default="")


@pytest.mark.parametrize("library", list(IMPORTERS))
def test_a_library_has_one_importer(library: str) -> None:
    for path in python_files("components", "pipeline"):
        if any(importer_of(name) == library for name in imports_of(path)):
            assert path.relative_to(ROOT).as_posix().startswith(IMPORTERS[library])


def test_components_know_nothing_of_the_pipeline_package() -> None:
    assert not [path for path in COMPONENTS for name in first_party(path) if name.startswith("pipeline")]


def test_no_step_imports_another() -> None:
    for step in STEPS:
        assert not [name for name in first_party(ROOT / f"components/{step}.py") if is_step(name)], step


@pytest.mark.parametrize("room", LIBRARY_ROOMS)
def test_a_room_knows_nothing_of_steps_contracts_commands_or_tracking(room: str) -> None:
    for path in python_files(f"components/{room}"):
        above = {name for name in first_party(path)
                 if is_step(name) or name in SHELL or room_of(name) in ("commands", "tracking")}
        assert not above, path


@pytest.mark.parametrize("room", LIBRARY_ROOMS)
def test_a_room_takes_plain_arguments_and_reads_no_params_yaml(room: str) -> None:
    for path in python_files(f"components/{room}"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        taken = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                 and node.module == "components.settings" for alias in node.names}
        assert taken <= {"Settings", "near", "shown"}, f"{path}: a room takes the base class and words for messages"


def test_storage_stands_on_nothing_but_errors() -> None:
    for path in python_files("components/storage"):
        assert {room_of(name) for name in first_party(path)} <= {"storage", "errors"}, path


def test_only_steps_the_shell_and_commands_know_tracking() -> None:
    for path in COMPONENTS:
        module = module_of(path)
        if room_of(module) in LIBRARY_ROOMS:
            assert not [name for name in first_party(path) if room_of(name) == "tracking"], module


def test_an_init_file_holds_a_docstring_and_nothing_else() -> None:
    for path in python_files("components", "pipeline"):
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree) and len(tree.body) == 1, path


def test_there_are_no_import_cycles() -> None:
    files = python_files("components", "pipeline")
    graph = {module_of(path): first_party(path) - {"components", "pipeline"} for path in files}
    while graph:
        leaves = {module for module, names in graph.items() if not (names & graph.keys()) - {module}}
        assert leaves, f"a cycle among {sorted(graph)}"
        graph = {module: names for module, names in graph.items() if module not in leaves}


def test_settings_can_be_read_without_heavy_libraries() -> None:
    import subprocess
    import sys

    probe = ("import sys; from pathlib import Path; from components.settings import Params;"
             "Params.load(Path('params.yaml'));"
             "heavy = {'torch', 'mlflow', 'kfp', 'pandas', 'sklearn', 'matplotlib', 'onnx'};"
             "print(*sorted(heavy & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
