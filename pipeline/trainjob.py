"""The TrainJob of a training on several machines, as far as it is known before a run: all but its name and step."""

import json
from typing import Any

from pipeline import pods
from pipeline.cluster import Cluster, Task

TEMPORARY = "/tmp"  # noqa: S108 - a place in a container
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
                "env": pods.environment(cluster, {}),
            },
            "runtimePatches": [{"manager": "stillhouse.example.com/pipeline", "trainingRuntimeSpec": {
                "template": {"spec": {"replicatedJobs": [job]}}}}],
        },
    }



def resources(task: Task) -> dict[str, dict[str, str]]:
    """A pod's resources, GPUs among the requests too: for a group of pods Trainer adds up requests alone."""
    found = pods.resources(task)
    gpus = {task.gpu_type: str(task.gpus)} if task.gpus else {}
    return found | {"requests": found.get("requests", {}) | gpus}


def pod(cluster: Cluster, task: Task) -> dict[str, Any]:
    """What is patched into the pods that the runtime describes."""
    account = {"serviceAccountName": cluster.training.service_account} if cluster.training.service_account else {}
    return {
        "metadata": {"labels": dict(cluster.pods.labels), "annotations": dict(cluster.pods.annotations)},
        "spec": account | pods.placement(task) | {
            "imagePullSecrets": [{"name": name} for name in cluster.image.secrets],
            "securityContext": pods.pod_security(cluster),
            "volumes": [*pods.volumes(cluster), {"name": "tmp", "emptyDir": {}}, *pods.memory(task)],
            "containers": [{
                "name": CONTAINER,
                "securityContext": pods.NARROW,
                "volumeMounts": pods.mounts(cluster, task, {"tmp": TEMPORARY}),
            }],
        },
    }
