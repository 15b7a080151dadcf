"""The first steps of docs/cluster.md lead where they say: its commands are run, its settings fit the manifests."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from imports import ROOT
from PIL import Image, ImageDraw
from repositories import git, run

from components.storage.digests import tree_digests
from components.strict_yaml import parse_yaml
from pipeline.__main__ import parser
from pipeline.api.access import IN_CLUSTER
from pipeline.cluster import Cluster, cluster_of

PAGE = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")


def step(number: int) -> str:
    """The text of a step of the page."""
    return re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)[number]


def commands(number: int) -> str:
    """The commands of a step, as a shell reads them."""
    return "\n".join(re.findall(r"^ {4}(.*)$", step(number), re.MULTILINE))


def block() -> str:
    """What the page writes into infra/kubeflow.yaml."""
    (found,) = re.findall(r"^```yaml\n(.*?)^```", step(4), re.MULTILINE | re.DOTALL)
    return str(found)


def facts(text: str) -> Cluster:
    return cluster_of(parse_yaml(text.encode(), "docs/cluster.md"), "docs/cluster.md")


@dataclass(frozen=True)
class Newcomer:
    """Who types the commands of the page, with places of this machine for those of the page."""

    folder: Path
    places: dict[str, str]

    @property
    def repository(self) -> Path:
        return self.folder / "garments"

    def here(self, text: str) -> str:
        for there, here in self.places.items():
            assert there in text
            text = text.replace(there, here)
        return text

    def types(self, commands: str) -> None:
        run(self.folder, "bash", "-euo", "pipefail", "-c", self.here(commands))


@pytest.fixture
def newcomer(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newcomer:
    """With a dozen drawn images in two classes, an empty bucket and an empty repository on a server."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for number in range(12):
        file = tmp_path / "photos" / ("shirt" if number % 2 else "skirt") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (32, 32), (20 * number, 90, 40))
        ImageDraw.Draw(image).rectangle((2 + number, 4, 20, 28), fill=(200, 10 * number, 60))
        image.save(file)
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    (tmp_path / "work").mkdir()
    return Newcomer(tmp_path / "work", {"/data/photos": str(tmp_path / "photos"), "s3://garments": bucket_url,
                                        "https://git.example.com/garments.git": f"file://{tmp_path / 'bare.git'}"})


@pytest.mark.slow
def test_images_that_step_1_pushes_are_those_that_pods_fetch_by_the_settings_of_step_4(
        newcomer: Newcomer, tmp_path: Path) -> None:
    newcomer.types(commands(1))
    assert git(newcomer.repository, "status", "--porcelain") == ""
    newcomer.places.pop("/data/photos")
    (newcomer.repository / "infra/kubeflow.yaml").write_text(newcomer.here(block()))
    git(newcomer.repository, "commit", "-qam", "The facts of the cluster")

    body = json.loads(run(newcomer.repository, "stillhouse", "pipeline", "submit", "--dry-run", "--json"))
    (line,) = re.findall(r"md5: (\w+\.dir)", (newcomer.repository / "images.dvc").read_text())
    assert f"md5:{line}" in json.dumps(body), "the run is for the images that were pushed"
    decision = run(newcomer.repository, "stillhouse", "pipeline", "retrain", "--on", "kubeflow", "--decide-only")
    assert f"{newcomer.places['s3://garments']}/registry holds no model yet" in decision

    given = facts(newcomer.here(block())).params["fetch"]
    settings = [word for name, value in given.items() for word in ("--set", f"fetch.{name}={value}")]
    pod = tmp_path / "pod"
    git(tmp_path, "clone", "-q", "--branch", given["rev"], given["repository"], str(pod))
    run(pod, "stillhouse", "fetch", "--data", "data/raw", *settings, "--set", "runtime.tracking=false")
    come = {name: digest for name, digest in tree_digests(pod / "data/raw").items() if name != "receipt.json"}
    assert come == tree_digests(tmp_path / "photos")


def test_the_example_asks_for_what_the_manifests_make_and_their_page_names() -> None:
    cluster = facts(block())
    manifests = ROOT / "infra/kubernetes"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(manifests.rglob("*.yaml")))
    assert f"\nnamespace: {cluster.server.namespace}\n" in text
    assert f"kubectl create namespace {cluster.server.namespace}`" in step(3)
    assert f"kind: ServiceAccount\nmetadata: {{name: {cluster.server.service_account}}}" in text
    assert all(f"kind: PersistentVolumeClaim\nmetadata: {{name: {one.claim}}}" in text for one in cluster.pods.volumes)
    named = (ROOT / "docs/cluster-kubernetes.md").read_text(encoding="utf-8")
    for secret in cluster.pods.secrets:
        (row,) = re.findall(rf"^\| `{secret.name}` \|.*$", named, re.MULTILINE)
        assert all(f"`{key}`" in row for key in secret.keys)
    settings = (manifests / "base/settings.env").read_text(encoding="utf-8")
    assert f"MLFLOW_TRACKING_URI={cluster.mlflow.uri}\n" in settings
    assert f"AWS_ENDPOINT_URL={cluster.pods.env['AWS_ENDPOINT_URL']}\n" in settings
    assert {name for name in cluster.tasks if cluster.task(name).gpus} == {"train", "student", "teach", "distill"}


def test_the_nightly_job_finds_kubeflow_and_its_namespace_by_itself() -> None:
    """Its pod has no token of the cluster, beside which the namespace would stand, and server.host is for outside."""
    job = parse_yaml((ROOT / "infra/kubernetes/base/retrain.yaml").read_bytes(), "retrain.yaml")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = parser().parse_args(container["args"][1:])
    assert pod["automountServiceAccountToken"] is False and options.host == IN_CLUSTER and options.promote
    (given,) = [one["valueFrom"] for one in container["env"] if f"$({one['name']})" == options.namespace]
    assert given == {"fieldRef": {"fieldPath": "metadata.namespace"}}
