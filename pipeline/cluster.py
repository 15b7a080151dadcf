"""infra/kubeflow.yaml: how and where a cluster runs the pipeline, as typed settings, for Kubeflow and Argo alike."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from components.errors import UserError
from components.settings import Settings, complaint, override
from components.strict_yaml import parse_yaml
from pipeline.argo_settings import Argo

# What runs as a pod of its own: steps, the plain student, Kubeflow's form of matrices, and the report at the end.
TaskName = Literal["fetch", "sample", "validate", "index", "train", "student", "teach", "distill", "evaluate",
                   "confusion", "pull", "compare", "export", "promote", "report"]
TASKS: tuple[str, ...] = get_args(TaskName)

# Sections of params.yaml that may differ on a cluster: places and ways, nothing that a laptop would compute otherwise.
Elsewhere = Literal["data", "fetch", "pull", "promote", "runtime"]

Processors = Annotated[str, Field(pattern=r"^(|[0-9]+m|[0-9]*\.?[0-9]+)$")]
Bytes = Annotated[str, Field(pattern=r"^(|[0-9]+([KMGTPE]i?)?)$")]
Named = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

FIXED = re.compile(r"@sha256:[0-9a-f]{64}$|:[0-9a-f]{7,40}$")


class Image(Settings):
    """The one image that every task runs."""

    name: str = Field("stillhouse:dev", min_length=1, description=(
        "image with registry, and digest (NAME@sha256:...) or a commit as its tag"))
    pull: Literal["IfNotPresent", "Always", "Never"] = Field("IfNotPresent", description="when nodes fetch the image")
    secrets: tuple[Named, ...] = Field((), description="image pull secrets")
    mutable: bool = Field(False, description=(
        "submit an image whose tag can come to mean other code; Kubeflow's cache then serves what the old code made"))

    def refuse_mutable(self) -> None:
        """UserError where the name does not hold one content for ever, unless that is allowed."""
        if not self.mutable and not FIXED.search(self.name):
            raise UserError(f"image.name is {self.name}, whose content can change: Kubeflow's cache goes by the name",
                            "name the image by digest (NAME@sha256:...) or with its commit as tag: --image NAME; "
                            "or allow it: image.mutable: true")


class Toleration(Settings):
    """A taint of nodes that pods put up with."""

    key: str = Field("", description="taint; empty with Exists: every one")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="compare the value, or not")
    value: str = Field("", description="value of the taint, with Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="empty: every effect")
    seconds: int | None = Field(None, ge=0, description="how long NoExecute is put up with; null: for ever")


class Task(Settings):
    """What the pod of a task is given."""

    cpu: Processors = Field("1", description="CPUs that are set aside, as 2 or 500m; empty: none")
    cpu_limit: Processors = Field("", description="most CPUs; empty: no limit")
    memory: Bytes = Field("2Gi", description="memory that is set aside; empty: none")
    memory_limit: Bytes = Field("8Gi", description="most memory, /dev/shm included; empty: no limit")
    disk: Bytes = Field("", description=(
        "disk of the node that is set aside and never exceeded (ephemeral-storage); Argo and TrainJobs only: "
        "Kubeflow's SDK cannot say it, a LimitRange can; empty: none"))
    gpus: int = Field(0, ge=0, le=64, description="GPUs of the pod")
    gpu_type: str = Field("nvidia.com/gpu", min_length=1, description="resource name of the GPUs")
    shm: Bytes = Field("", description=(
        "size of /dev/shm as memory, for loader workers and GPUs that talk; empty: 64 MiB, the container's own"))
    node_selector: dict[str, str] = Field({}, description="labels that a node must have")
    tolerations: tuple[Toleration, ...] = Field((), description="taints of nodes that are put up with")
    timeout: int = Field(0, ge=0, le=2_000_000_000, description="seconds after which the pod is ended; 0: never")
    cache: bool = Field(True, description="take the outputs of an earlier task of the same inputs, settings and image")


class Retries(Settings):
    """What is tried again, how often and after how long."""

    pods: int = Field(2, ge=0, le=20, description="times that a task is started again whose pod was lost or has failed")
    pod_wait: int = Field(30, ge=0, le=3600, description="seconds before the first of these, doubled each time")
    tries: int = Field(6, ge=1, le=100, description=(
        "times that a step is run in its pod as long as it says to try again (exit code 75)"))
    wait: float = Field(5.0, ge=0, le=3600, description="seconds before the second of these, doubled each time")
    seconds: float = Field(1800.0, ge=0, description="longest time that a pod spends on tries before the last one")


class Volume(Settings):
    """A claim that every task mounts."""

    claim: Named = Field(description="name of the PersistentVolumeClaim")
    path: str = Field(pattern="^/.+", description="where it is mounted")
    sub_path: str = Field("", description="folder within it; empty: its top")


class Variables(Settings):
    """Environment variables from a secret or a config map, which are named here but never read."""

    name: Named = Field(description="name of the secret or config map")
    keys: dict[str, Variable] = Field(description="key in it: environment variable")
    optional: bool = Field(False, description="start without it where it is absent")


class Pods(Settings):
    """What all pods have in common."""

    user: int = Field(10001, ge=1, description="user id; the image's own")
    group: int = Field(10001, ge=1, description="group id")
    labels: dict[str, str] = Field({"app.kubernetes.io/part-of": "stillhouse"}, description="labels")
    annotations: dict[str, str] = Field({}, description="annotations, e.g. sidecar.istio.io/inject: \"false\"")
    env: dict[Variable, str] = Field({}, description="environment variables that are no secret")
    secrets: tuple[Variables, ...] = Field((), description="environment variables from secrets")
    config_maps: tuple[Variables, ...] = Field((), description="environment variables from config maps")
    volumes: tuple[Volume, ...] = Field((), description="PersistentVolumeClaims mounted in every task")
    outcomes: str = Field("", description=(
        "folder of one of these volumes where tasks leave how they ended: the report at the end reads it, and a task "
        "that failed for good is not tried by another pod; empty: none"))


class Training(Settings):
    """How a training uses several GPUs or machines."""

    mode: Literal["off", "torchrun", "trainjob"] = Field("off", description=(
        "off: one process; torchrun: one process a GPU in the task's own pod; trainjob: the task makes a TrainJob "
        "(Kubeflow Trainer v2) of several pods and waits for it"))
    nodes: int = Field(2, ge=1, le=1024, description="pods of a TrainJob, each with what tasks.train is given")
    processes: int = Field(1, ge=1, le=64, description="processes a pod where it has no GPU; else one a GPU")
    runtime: Named = Field("torch-distributed", description="ClusterTrainingRuntime of the TrainJob")
    share: str = Field("", description=(
        "folder below pods.volumes that all pods of a TrainJob see (ReadWriteMany): Dataset in, Model out"))
    service_account: Named | Literal[""] = Field("", description="service account of the TrainJob's pods")
    start_seconds: int = Field(1800, ge=1, description="longest wait until all pods of a TrainJob run")
    queue: str = Field("", description="LocalQueue of Kueue that admits TrainJobs; empty: none")

    @model_validator(mode="after")
    def _shared(self) -> "Training":
        if self.mode == "trainjob" and not self.share.startswith("/"):
            raise ValueError("training.share as an absolute folder on one of pods.volumes, with mode: trainjob")
        return self


class Tracking(Settings):
    """Where the pods' MLflow is."""

    uri: str = Field("", description="MLFLOW_TRACKING_URI of the pods; empty: none, or the plugin's")
    plugin: bool = Field(False, description="Kubeflow's own MLflow plugin makes the runs and names the server")
    experiment: str = Field("", description="experiment that the plugin is told; empty: its administrator's choice")
    no_plugin: bool = Field(False, description="tell a server that has the plugin to make no runs for these")

    @model_validator(mode="after")
    def _one_way(self) -> "Tracking":
        if self.no_plugin and (self.plugin or self.experiment):
            raise ValueError("mlflow.no_plugin without mlflow.plugin and mlflow.experiment")
        return self


class Server(Settings):
    """How Kubeflow Pipelines is reached and what its runs are called."""

    host: str = Field("", description="URL of the API or UI; empty: the environment's, or the one in this cluster")
    namespace: str = Field("", description="namespace of the runs, in multi-user mode")
    experiment: Annotated[str, Field(min_length=1)] = Field("stillhouse", description="experiment that runs belong to")
    pipeline: Named = Field("stillhouse", description="name of the pipeline")
    root: str = Field("", description="where artifacts go, e.g. s3://bucket/prefix; empty: the server's own place")
    service_account: Named | Literal[""] = Field("", description="service account of the runs; empty: the server's")
    certificate: str = Field("", description="file with the authority that signed the server's certificate")
    token_file: str = Field("", description="file with a token, read anew for every request; empty: the environment's")
    ui: str = Field("", description="URL of the UI, for links; empty: host")
    proxy: str = Field("", description="URL of a proxy on the way to the host")


class Lifetime(Settings):
    """How long runs may take and stay visible in the cluster."""

    deadline: int = Field(0, ge=0, le=2_000_000_000, description="seconds after which a run is ended; 0: never")
    keep: int = Field(604800, ge=0, le=2_000_000_000, description="seconds that ended runs keep pods; 0: for ever")


class Cluster(Settings):
    """How a cluster runs the pipeline; nothing of it changes what is computed."""

    image: Image = Field(Image(), description="the image")
    server: Server = Field(Server(), description="Kubeflow Pipelines")
    pods: Pods = Field(Pods(), description="all pods")
    defaults: Task = Field(Task(), description="what every task is given that says nothing else below tasks")
    tasks: dict[TaskName, Task] = Field({}, description="by task, what differs from defaults")
    parallelism: int = Field(0, ge=0, le=1000, description="teachers trained at once; 0: all")
    retries: Retries = Field(Retries(), description="retries")
    training: Training = Field(Training(), description="several GPUs or machines")
    lifetime: Lifetime = Field(Lifetime(), description="time to live")
    mlflow: Tracking = Field(Tracking(), description="tracking")
    argo: Argo = Field(Argo(), description="Argo Workflows")
    params: dict[Elsewhere, dict[str, Any]] = Field({}, description=(
        "what differs on the cluster from params.yaml: places (runtime.work, fetch.repository, promote.registry)"))

    @model_validator(mode="after")
    def _mounted(self) -> "Cluster":
        if self.training.mode == "trainjob" and not self.sees(self.training.share):
            raise ValueError(f"training.share below the path of one of pods.volumes, found {self.training.share}")
        if self.pods.outcomes and not self.sees(self.pods.outcomes):
            raise ValueError(f"pods.outcomes below the path of one of pods.volumes, found {self.pods.outcomes}")
        return self

    def sees(self, place: str) -> bool:
        """Whether all pods find the same in a place: an object store, or a folder of a mounted claim."""
        return "://" in place or self.mounted(place) is not None

    def mounted(self, place: str) -> Path | None:
        """Where the claim is mounted that a folder lies in."""
        return next((Path(one.path) for one in self.pods.volumes if Path(place).is_relative_to(one.path)), None)

    def task(self, name: str) -> Task:
        """What the pod of a task is given."""
        assert name in TASKS, name
        return next((task for key, task in self.tasks.items() if key == name), self.defaults)


def load_cluster(path: Path, overrides: Iterable[str] = ()) -> Cluster:
    """Read and check the file; UserError says what is wrong and where. overrides: NAME=VALUE."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "name the file with --cluster FILE") from None
    values = parse_yaml(content, str(path))
    for text in overrides:
        override(values, text, "--cluster-set", "image.name=registry.example.com/stillhouse@sha256:...")
    return cluster_of(values, str(path))


def cluster_of(values: dict[str, Any], origin: str) -> Cluster:
    """The typed settings in plain values, what tasks leave open taken from defaults."""
    try:
        return Cluster.model_validate_json(json.dumps(filled(values)))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        cause = f"{origin}: {name} {complaint(detail, Cluster)}" if name else f"{origin}: {sentence(detail['msg'])}"
        raise UserError(cause, "see docs/kubeflow.md") from None


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """The values with defaults put below each task's own; what is no mapping is left as it is, to be refused."""
    defaults, tasks = values.get("defaults", {}), values.get("tasks", {})
    if not isinstance(defaults, dict) or not isinstance(tasks, dict):
        return values
    merged = {name: defaults | own if isinstance(own, dict) else own for name, own in tasks.items()}
    return values | {"tasks": merged}


def sentence(message: str) -> str:
    """What a check of several settings together expects."""
    return message.replace("Value error, ", "expected ")


def elsewhere(values: dict[str, Any], cluster: Cluster) -> dict[str, Any]:
    """The values of params.yaml as the cluster wants them: other places, processes of a training, tracking or none."""
    changed = merged(values, cluster.model_dump()["params"])
    if cluster.training.mode != "trainjob":
        processes = 0 if cluster.task("train").gpus else cluster.training.processes  # 0: all GPUs of the pod
        devices = 1 if cluster.training.mode == "off" else processes
        changed = merged(changed, {"runtime": {"devices": devices}})
    if not cluster.mlflow.uri and not cluster.mlflow.plugin:
        changed = merged(changed, {"runtime": {"tracking": False}})
    return changed


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested values with others laid over them.

    >>> merged({"runtime": {"threads": 2, "work": "w"}}, {"runtime": {"work": "/workspace"}})
    {'runtime': {'threads': 2, 'work': '/workspace'}}
    """
    result = dict(below)
    for name, value in above.items():
        known = result.get(name)
        result[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
