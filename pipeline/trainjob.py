"""The TrainJob of a training on several machines, as far as it is known before a run: all but its name and step."""

import json
from typing import Any

from pipeline.cluster import Cluster, Task

TEMPORARY, SHARED = "/tmp", "/dev/shm"  # noqa: S108 - places in a container
CONTAINER = "node"  # what Trainer's torch runtimes call their job and its container


def template(cluster: Cluster, name: str) -> str:
    """What a task needs for making its TrainJob, as one text: the manifest, the shared folder, how long to wait."""
    given = {"manifest": manifest(cluster, cluster.task(name)), "share": cluster.training.share,
             "start_seconds": cluster.training.start_seconds}
    return json.dumps(given, sort_keys=True, separators=(",", ":"))


def manifest(cluster: Cluster, task: Task) -> dict[str, Any]:
    """A TrainJob of so many pods as the training asks for, each with what the task is given.

    Trainer tells each pod its number and the first one's address; they stand in the arguments as Kubernetes fills in.
    """
    training = cluster.training
    job = {"name": CONTAINER, "template": {"spec": {"template": pod(cluster, task)}}}
    queue = {"kueue.x-k8s.io/queue-name": training.queue} if training.queue else {}
    deadline = {"activeDeadlineSeconds": task.timeout} if task.timeout else {}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"labels": {**cluster.pods.labels, **queue}, "annotations": dict(cluster.pods.annotations)},
        "spec": deadline | {
            "runtimeRef": {"name": training.runtime},
            "trainer": {
                "image": cluster.image.name,
                "command": ["stillhouse"],
                "args": ["--set", f"runtime.nodes={training.nodes}", "--set", "runtime.node=$(PET_NODE_RANK)",
                         "--set", "runtime.rendezvous=$(PET_MASTER_ADDR):$(PET_MASTER_PORT)",
                         "--set", f"runtime.devices={task.gpus or training.processes}"],
                "numNodes": training.nodes,
                "numProcPerNode": task.gpus or training.processes,
                "resourcesPerNode": resources(task),
                "env": environment(cluster),
            },
            "runtimePatches": [{"manager": "stillhouse.example.com/pipeline", "trainingRuntimeSpec": {
                "template": {"spec": {"replicatedJobs": [job]}}}}],
        },
    }


def resources(task: Task) -> dict[str, dict[str, str]]:
    """Requests and limits of a pod."""
    gpus = {task.gpu_type: str(task.gpus)} if task.gpus else {}
    requests = {"cpu": task.cpu, "memory": task.memory, "ephemeral-storage": task.disk}
    limits = {"cpu": task.cpu_limit, "memory": task.memory_limit, "ephemeral-storage": task.disk}
    return {"requests": {name: value for name, value in requests.items() if value} | gpus,
            "limits": {name: value for name, value in limits.items() if value} | gpus}


def environment(cluster: Cluster) -> list[dict[str, Any]]:
    """Environment variables, those from secrets by reference only."""
    plain = ({"MLFLOW_TRACKING_URI": cluster.mlflow.uri} if cluster.mlflow.uri else {}) | cluster.pods.env
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    for kind, sources in (("secretKeyRef", cluster.pods.secrets), ("configMapKeyRef", cluster.pods.config_maps)):
        for source in sources:
            found += [{"name": variable, "valueFrom": {kind: {"name": source.name, "key": key} | (
                {"optional": True} if source.optional else {})}} for key, variable in source.keys.items()]
    return found


def pod(cluster: Cluster, task: Task) -> dict[str, Any]:
    """What is patched into the pods that the runtime describes."""
    pods = cluster.pods
    account = {"serviceAccountName": cluster.training.service_account} if cluster.training.service_account else {}
    return {
        "metadata": {"labels": dict(pods.labels), "annotations": dict(pods.annotations)},
        "spec": account | {
            "nodeSelector": dict(task.node_selector),
            "tolerations": [toleration(one.model_dump()) for one in task.tolerations],
            "imagePullSecrets": [{"name": name} for name in cluster.image.secrets],
            "securityContext": {"runAsNonRoot": True, "runAsUser": pods.user, "runAsGroup": pods.group,
                                "fsGroup": pods.group, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": volumes(cluster, task),
            "containers": [{
                "name": CONTAINER,
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                    "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": mounts(cluster, task),
            }],
        },
    }


def toleration(values: dict[str, Any]) -> dict[str, Any]:
    """A toleration as Kubernetes spells it."""
    spelled = {"key": values["key"], "operator": values["operator"], "value": values["value"],
               "effect": values["effect"], "tolerationSeconds": values["seconds"]}
    return {name: value for name, value in spelled.items() if value not in ("", None)}


def volumes(cluster: Cluster, task: Task) -> list[dict[str, Any]]:
    """The claims, a place for temporary files, and shared memory."""
    claims = [{"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": one.claim}}
              for number, one in enumerate(cluster.pods.volumes)]
    memory = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": task.shm}}] if task.shm else []
    return [*claims, {"name": "tmp", "emptyDir": {}}, *memory]


def mounts(cluster: Cluster, task: Task) -> list[dict[str, Any]]:
    """Where those are."""
    claims = [{"name": f"volume-{number}", "mountPath": one.path} | ({"subPath": one.sub_path} if one.sub_path else {})
              for number, one in enumerate(cluster.pods.volumes)]
    memory = [{"name": "shm", "mountPath": SHARED}] if task.shm else []
    return [*claims, {"name": "tmp", "mountPath": TEMPORARY}, *memory]
