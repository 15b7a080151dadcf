"""The pods of an Argo workflow: what a container is given, how long it may take, and when it is tried again."""

from typing import Any

from pipeline import pods
from pipeline.cluster import Cluster, Task

WORK = "/stillhouse"  # the pod's own folder; every path of dvc.yaml lies in it
SCRATCH = {"stillhouse": WORK, "tmp": "/tmp"}  # noqa: S108 - in a pod it is the pod's own

# Tried again: the step says so (75), it was told to end and kept its state (143), or the pod was lost: killed, evicted,
# or never heard of again (-1, or an error of Argo's). Too little memory and too little time would only be so again.
HOPELESS = 'lastRetry.message contains "OOMKilled" || lastRetry.message contains "deadline"'
LOST = 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [-1, 137, 143]'


def container(arguments: list[str], cluster: Cluster, task: Task) -> dict[str, Any]:
    """The container of a step. arguments: what stands behind `stillhouse` on the command line."""
    return {
        "image": cluster.image.name,
        "imagePullPolicy": cluster.image.pull,
        "command": ["stillhouse"],
        "args": arguments,
        "workingDir": WORK,
        "env": pods.environment(cluster, {"STILLHOUSE_RUN": "{{workflow.name}}"}),
        "resources": pods.resources(task),
        "securityContext": pods.NARROW,
        "volumeMounts": pods.mounts(cluster, task, SCRATCH),
    }


def pod_fields(cluster: Cluster, task: Task) -> dict[str, Any]:
    """What a template says of its pod besides the container: where it may run, how long, and when it is tried again."""
    memory = {"volumes": pods.memory(task)} if task.shm else {}
    deadline = {"activeDeadlineSeconds": str(task.timeout)} if task.timeout else {}
    return {"retryStrategy": retries(cluster)} | memory | deadline | pods.placement(task)


def retries(cluster: Cluster) -> dict[str, Any]:
    """A lost pod is replaced `pods` times, a step that asks for another try gets `tries` in all; nothing else does."""
    count = cluster.retries
    expression = (f"!({HOPELESS}) && (asInt(lastRetry.exitCode) == 75 || asInt(retries) < {count.pods} && ({LOST}))")
    return {
        "limit": str(max(count.pods, count.tries - 1)),
        "retryPolicy": "Always",
        "expression": expression,
        "backoff": {"duration": f"{count.pod_wait}s", "factor": "2", "cap": "1h"},
    }


def shared_volumes(cluster: Cluster) -> list[dict[str, Any]]:
    """The volumes that every pod has: its own scratch room, and the claims."""
    scratch: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in SCRATCH]
    return scratch + pods.volumes(cluster)
