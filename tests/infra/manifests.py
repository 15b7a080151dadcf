"""The manifests as a cluster would get them: rendered by kubectl, and the pods in them, whatever makes them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import yaml
from imports import ROOT

FOLDER = ROOT / "infra/kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
SCHEMAS = ROOT.parent / "shared/schemas"
Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """What a manifest says of pods: whose, how many at most, their labels and their spec."""

    owner: str
    count: int
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def rendered(overlay: str) -> list[Object]:
    """Every object of an overlay; skips where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the overlays, is not installed")
    objects: list[Object] = json.loads(as_json(overlay))
    return objects


@cache
def as_json(overlay: str) -> str:
    """What kubectl renders, read once."""
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)], capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of what it will stop to understand
    return json.dumps(list(yaml.load_all(done.stdout, yaml.CSafeLoader)))


def applied_by_hand() -> Object:
    """The pod beside an overlay into which a registry is copied."""
    made: Object = yaml.safe_load((FOLDER / "overlays/local/copy.yaml").read_text(encoding="utf-8"))
    return made


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    found = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    assert len(found) == 1, (kind, name, [one["metadata"]["name"] for one in of_kind(objects, kind)])
    return found[0]


def pods(objects: list[Object]) -> Iterator[Pod]:
    """The pods that the objects of an overlay lead to."""
    most = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicas"]
            for one in of_kind(objects, "HorizontalPodAutoscaler")}
    for one in objects:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        if one["kind"] == "Deployment":
            yield of_template(f"Deployment {name}", most.get(name, spec.get("replicas", 1)), spec["template"])
        elif one["kind"] == "CronJob":
            yield of_template(f"CronJob {name}", 1, spec["jobTemplate"]["spec"]["template"])
        elif one["kind"] == "TrainingRuntime":
            for job in spec["template"]["spec"]["replicatedJobs"]:
                made = of_template(f"TrainingRuntime {name}", nodes(objects, name), job["template"]["spec"]["template"])
                yield replace(made, labels=made.labels | {"jobset.sigs.k8s.io/jobset-name": name})
        elif one["kind"] == "Pod":
            yield Pod(f"Pod {name}", 1, one["metadata"]["labels"], spec)
        elif one["kind"] == "InferenceService":
            yield Pod(f"InferenceService {name}", spec["predictor"]["maxReplicas"], spec["predictor"]["labels"],
                      predictor_pod(spec["predictor"]))


def of_template(owner: str, count: int, template: Object) -> Pod:
    return Pod(owner, count, template["metadata"]["labels"], template["spec"])


def nodes(objects: list[Object], runtime: str) -> int:
    """How many pods the TrainJobs of a runtime have together."""
    jobs = [one["spec"] for one in of_kind(objects, "TrainJob") if one["spec"]["runtimeRef"]["name"] == runtime]
    return sum(job["trainer"]["numNodes"] for job in jobs)


def predictor_pod(predictor: Object) -> Object:
    """The pod of a predictor as KServe makes it: its model becomes a container of the runtime's image."""
    model = {key: value for key, value in predictor["model"].items()
             if key not in ("modelFormat", "protocolVersion", "runtime", "runtimeVersion", "storageUri", "storage")}
    own = ("model", "labels", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout", "storageUris")
    spec = {key: value for key, value in predictor.items() if key not in own}
    return spec | {"containers": [{"name": "kserve-container"} | model]}


def amount(text: str | int) -> float:
    """A quantity of Kubernetes as a number.

    >>> amount("250m"), amount("2Gi"), amount("3")
    (0.25, 2147483648.0, 3.0)
    """
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9}
    unit = next((unit for unit in units if str(text).endswith(unit)), "")
    return float(str(text).removesuffix(unit)) * units.get(unit, 1.0)
