"""What the step `teach` puts into a store, and who is refused it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from imports import ROOT, first_party, module_file
from small_models import write_photographs, write_small_model

from components.contract import load_step, run_step
from components.data.augment_settings import Augment
from components.data.dataset import Dataset
from components.errors import UserError
from components.models.artifact import load_model
from components.probabilities.judging import Program, view_images
from components.probabilities.origin import VIEW_CODE, code_digest, generator_digest
from components.probabilities.store import Store
from components.settings import Params
from components.storage import receipts

PARAMS = """
seed: 3
teachers: {deep: {}, broad: {}}
student:
  epochs: 1
  sizes: [24]
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [4, 8, 8, 8], stem_type: deep, stem_width: 4}}
teach: {views: 2}
runtime: {tracking: false, threads: 1}
"""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("taught")
    dataset = Dataset.open(write_photographs(root / "dataset"))
    for seed, name in enumerate(("deep", "broad")):
        write_small_model(root / "teachers" / name, name, dataset, seed)
    return root


@pytest.fixture
def root(artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("dataset", "teachers"):
        (tmp_path / name).symlink_to(artifacts / name)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taught(root: Path, name: str = "probabilities", **more: object) -> Store:
    values = Params.load(root / "params.yaml", [f"teach.{key}={json.dumps(value)}" for key, value in more.items()])
    paths = {"dataset": root / "dataset", "teachers": root / "teachers", "probabilities": root / name,
             "metrics": root / f"{name}.json"}
    run_step(load_step("teach"), values.section("teach"), "teach", paths)
    return Store.open(root / name)


def test_the_head_says_what_the_store_was_made_of(root: Path) -> None:
    store, dataset = taught(root), Dataset.open(root / "dataset")
    assert store.head["dataset"] == receipts.digest(root / "dataset")
    assert store.head["models"] == {name: receipts.digest(root / "teachers" / name) for name in ("deep", "broad")}
    assert store.head["augmentation"] == Program(Augment(), 3, dataset.size).digest()
    assert (store.head["code"], store.head["generator"], store.head["seed"]) == (code_digest(), generator_digest(), 3)
    assert store.head["coverage"] == {split: {"rows": 20, "of": 20} for split in ("train", "val", "test")}
    assert np.array_equal(store.ids, dataset.ids)
    assert sorted(path.name for path in store.path.iterdir()) == ["ids.npy", "probabilities.json", "receipt.json",
                                                                  "shards"]
    assert receipts.verify(store.path) == receipts.digest(store.path)


def test_embeddings_and_likeliest_classes_are_those_of_the_network(
        root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, dataset = taught(root, k=1, dtype="float32", embedding=True), Dataset.open(root / "dataset")
    assert {name: form.k for name, form in store.forms.items()} == {"kind": 1, "trim": 1}
    model, rows = load_model(root / "teachers" / "deep"), np.array([51, 3, 20])
    program = Program(Augment(), 3, dataset.size)
    for view in (0, 1, 2):
        with torch.no_grad():
            outputs = model.network(view_images(model, dataset, program, rows, view))
        kept = store.sparse("deep", "kind", rows, np.full(3, view))
        said = torch.softmax(outputs.logits["kind"], dim=1)
        assert kept.indices[:, 0].tolist() == said.argmax(dim=1).tolist()
        assert np.allclose(np.exp(kept.log_probabilities[:, 0]), said.amax(dim=1), atol=1e-4)
        assert np.allclose(kept.residual, 1 - said.amax(dim=1), atol=1e-4)
        assert np.allclose(store.embeddings("deep", rows)[:, view], outputs.embedding, rtol=2e-3, atol=1e-3)
    taught(root, "whole", k=2)
    assert "warning: all classes of kind, trim are kept" in capsys.readouterr().err


KILLED = """
import os, signal, sys

from components.cli import main
from components.probabilities.store import StoreWriter

put = StoreWriter.put_cells


def put_cells(self, source, task, shard, cells):
    if (source, task) == ("broad", "trim"):
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, source, task, shard, cells)


StoreWriter.put_cells = put_cells
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_teach_goes_on_and_seals_the_bytes_of_an_undisturbed_one(root: Path) -> None:
    whole = taught(root, views=12)
    digest = receipts.digest(whole.path)
    command = [sys.executable, "-c", KILLED, "teach", "--dataset", "dataset", "--teachers", "teachers",
               "--probabilities", "killed", "--metrics", "killed.json", "--set", "teach.views=12"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=root, check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL
    work = root / ".stillhouse" / "work"
    kept = {path.parent.name: path.stat().st_ino for path in work.rglob("deep/*/*.npy")}
    assert kept.keys() == {"kind", "trim"} and not (root / "killed").exists()
    assert [path.parent.name for path in work.rglob("broad/*/*.npy")] == ["kind"], "in the middle of a shard"
    again = taught(root, "killed", views=12)
    assert receipts.digest(again.path) == digest
    assert kept == {path.parent.name: path.stat().st_ino for path in again.path.rglob("deep/*/*.npy")}
    assert not list(work.iterdir())


@pytest.mark.slow
def test_two_processes_judge_together_and_seal_the_bytes_of_one(root: Path) -> None:
    whole = taught(root, "whole", views=12)
    command = [sys.executable, "-m", "components", "teach", "--dataset", "dataset", "--teachers", "teachers",
               "--probabilities", "shared", "--metrics", "shared.json", "--set", "teach.views=12", "--set",
               "runtime.devices=2", "--json"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=root, text=True, capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranks"] == 2
    assert receipts.digest(root / "shared") == receipts.digest(whole.path)


FULL = """
mount -t tmpfs -o size={size}k tmpfs full || exit 99
{teach}
echo "ended with $?"; (cd full/work; ls */store/shards/deep/kind); mount -o remount,size=100m full
{teach}
echo "ended with $?"; cp full/probabilities/receipt.json .
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_named_and_the_next_run_goes_on(root: Path) -> None:
    """On a file system of its own, which is enlarged after the first run."""
    able = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0
    if not able:
        pytest.skip("this machine lends no file systems (unshare -rm)")
    digest = receipts.digest(taught(root, "whole", views=20).path)
    (root / "full").mkdir()
    teach = (f"{sys.executable} -m components teach --dataset dataset --teachers teachers --probabilities "
             "full/probabilities --metrics m.json --set teach.views=20 --set runtime.work=full/work")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", FULL.format(size=36, teach=teach)], cwd=root, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    if done.returncode == 99:
        pytest.skip("this machine lends no file systems (mount -t tmpfs)")
    assert done.stdout.split("\n")[:3] == ["ended with 1", "00000.npy", "ended with 0"], done.stderr
    assert "No space left on device" in done.stderr and "remedy: make room on that disk" in done.stderr
    assert receipts.file_digest(root / "receipt.json") == digest


def distilled(root: Path, store: Path) -> None:
    values = Params.load(root / "params.yaml", ["distill.match=exact"])
    run_step(load_step("distill"), values.section("distill"), "distill", {
        "dataset": root / "dataset", "probabilities": store, "student": root / "teachers" / "deep",
        "model": root / "model", "metrics": root / "d.json", "curves": root / "d.csv"})


@pytest.mark.parametrize("field", ["code", "generator"])
def test_views_that_other_code_would_draw_otherwise_are_not_replayed(
        root: Path, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr(f"components.probabilities.origin.{field}_digest", lambda: "cd" * 32)
        store = taught(root)
    with pytest.raises(UserError, match=f"{field} is cdcd.*; expected "):
        distilled(root, store.path)


# What the code of views imports and what decides nothing about them, each with the reason.
BESIDE_VIEWS = {
    "components.data.loader": "hands on what is stored, which the digest of the Dataset covers",
    "components.data.dataset": "hands on what is stored, which the digest of the Dataset covers",
    "components.data.parts": "says which process holds which rows of a batch",
    "components.data.batch_settings": "values, which the digest of the augmentation covers",
    "components.data.augment_settings": "values, which the digest of the augmentation covers",
}


def test_the_code_of_views_is_all_that_draws_and_renders_them() -> None:
    for name in VIEW_CODE:
        path = module_file(name)
        assert path is not None
        imported = {one for one in first_party(path) if one.startswith("components.data.")}
        assert imported <= set(VIEW_CODE) | set(BESIDE_VIEWS), name


def test_comments_and_docstrings_are_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = []
    for number, text in enumerate(["def f(x):\n    return x + 1\n", '"""About."""\ndef f(x):  # why\n    "Says."\n    '
                                   "return (x +\n        1)\n", "def f(x):\n    return x + 2\n"]):
        (tmp_path / f"one{number}").mkdir()
        (tmp_path / f"one{number}" / "drawn.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path / f"one{number}"))
        digests.append(code_digest(("drawn",)))
    assert digests[0] == digests[1] != digests[2]
