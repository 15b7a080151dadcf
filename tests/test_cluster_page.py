"""The first steps of docs/cluster.md lead where they say: its commands are run, its settings fit the manifests."""

import re
import sys
from pathlib import Path
from typing import Any

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
PHOTOS, BUCKET, REPOSITORY = "/data/photos", "s3://garments/dvc", "https://git.example.com/garments.git"


def step(number: int) -> str:
    """The text of a step of the page."""
    return re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)[number]


def facts() -> dict[str, Any]:
    """The block of infra/kubeflow.yaml that the page shows."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", step(4), re.MULTILINE | re.DOTALL)
    return parse_yaml(block.encode(), "docs/cluster.md")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A dozen drawn images in two classes."""
    for number in range(12):
        file = tmp_path / "photos" / ("shirt" if number % 2 else "skirt") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (32, 32), (20 * number, 90, 40))
        ImageDraw.Draw(image).rectangle((2 + number, 4, 20, 28), fill=(200, 10 * number, 60))
        image.save(file)
    return tmp_path / "photos"


@pytest.mark.slow
def test_images_that_step_1_pushes_are_those_that_a_pod_of_step_4_fetches(
        photos: Path, bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    lines = "\n".join(re.findall(r"^ {4}(.*)$", step(1), re.MULTILINE))
    for there, here in ((PHOTOS, str(photos)), (BUCKET, f"{bucket_url}/dvc"), (REPOSITORY, f"file://{bare}")):
        assert lines.count(there) == 1
        lines = lines.replace(there, here)
    (tmp_path / "shell").mkdir()
    run(tmp_path / "shell", "bash", "-euo", "pipefail", "-c", lines)
    assert git(tmp_path / "shell/garments", "status", "--porcelain") == ""

    given = facts()["params"]["fetch"]
    assert given["repository"] == REPOSITORY
    settings = [word for name, value in given.items()
                for word in ("--set", f"fetch.{name}={f'file://{bare}' if name == 'repository' else value}")]
    pod = tmp_path / "pod"
    git(tmp_path, "clone", "-q", "--branch", given["rev"], str(bare), str(pod))
    run(pod, "stillhouse", "fetch", "--data", "data/raw", *settings, "--set", "runtime.tracking=false")
    come = {name: digest for name, digest in tree_digests(pod / "data/raw").items() if name != "receipt.json"}
    assert come == tree_digests(photos)


def test_the_example_asks_for_what_the_manifests_make_and_their_page_names() -> None:
    cluster: Cluster = cluster_of(facts(), "docs/cluster.md")
    manifests = ROOT / "infra/kubernetes"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(manifests.rglob("*.yaml")))
    assert f"\nnamespace: {cluster.server.namespace}\n" in text
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
