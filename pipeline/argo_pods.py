"""The pods of an Argo workflow: what a container is given, and the narrow rights that it runs with.

They satisfy the Kubernetes standard "restricted": https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Any

from pipeline.cluster import Cluster, Task, Toleration, Variables

WORK = "/stillhouse"  # the pod's own folder; every path of dvc.yaml lies in it
SCRATCH = {"stillhouse": WORK, "tmp": "/tmp"}  # noqa: S108 - in a pod it is the pod's own
SHARED = "/dev/shm"  # noqa: S108 - where Linux keeps shared memory

# What each container may do, whatever its image says.
NARROW: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}

# Tried again: the step says so (75), it was told to end and kept its state (143), or the pod was lost: killed, evicted,
# or never heard of again (-1, or an error of Argo's). Too little memory and too little time would only be so again.
HOPELESS = 'lastRetry.message contains "OOMKilled" || lastRetry.message contains "deadline"'
LOST = 'lastRetry.status == "Error" || asInt(lastRetry.exitCode) in [-1, 137, 143]'


def container(arguments: list[str], cluster: Cluster, task: Task) -> dict[str, Any]:
    """The container of a step. arguments: what stands behind `stillhouse` on the command line."""
    mounts = [{"name": name, "mountPath": path} for name, path in SCRATCH.items()]
    mounts += [{"name": "shm", "mountPath": SHARED}] if task.shm else []
    for number, volume in enumerate(cluster.pods.volumes):
        below = {"subPath": volume.sub_path} if volume.sub_path else {}
        mounts.append({"name": f"claim-{number}", "mountPath": volume.path} | below)
    return {
        "image": cluster.image.name,
        "imagePullPolicy": cluster.image.pull,
        "command": ["stillhouse"],
        "args": arguments,
        "workingDir": WORK,
        "env": environment(cluster),
        "resources": resources(task),
        "securityContext": NARROW,
        "volumeMounts": mounts,
    }


def environment(cluster: Cluster) -> list[dict[str, Any]]:
    """The variables of every container; of secrets only their names are told."""
    tracking = {"MLFLOW_TRACKING_URI": cluster.mlflow.uri} if cluster.mlflow.uri else {}
    plain = {"STILLHOUSE_RUN": "{{workflow.name}}"} | tracking | cluster.pods.env
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    for kind, sources in (("secretKeyRef", cluster.pods.secrets), ("configMapKeyRef", cluster.pods.config_maps)):
        variables += [one for source in sources for one in referred(kind, source)]
    return variables


def referred(kind: str, source: Variables) -> list[dict[str, Any]]:
    """The variables that a secret or config map supplies."""
    optional = {"optional": True} if source.optional else {}
    return [{"name": variable, "valueFrom": {kind: {"name": source.name, "key": key} | optional}}
            for key, variable in source.keys.items()]


def resources(task: Task) -> dict[str, Any]:
    """What is set aside for a container, and what it may not exceed."""
    gpus = {task.gpu_type: str(task.gpus)} if task.gpus else {}
    asked = {"cpu": task.cpu, "memory": task.memory, "ephemeral-storage": task.disk}
    most = {"cpu": task.cpu_limit, "memory": task.memory_limit, "ephemeral-storage": task.disk}
    both = {"requests": {name: value for name, value in asked.items() if value},
            "limits": {name: value for name, value in most.items() if value} | gpus}
    return {name: values for name, values in both.items() if values}


def pod_fields(cluster: Cluster, task: Task) -> dict[str, Any]:
    """What a template says of its pod besides the container: where it may run, how long, and when it is tried again."""
    fields: dict[str, Any] = {"retryStrategy": retries(cluster)}
    if task.shm:
        fields["volumes"] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": task.shm}}]
    if task.timeout:
        fields["activeDeadlineSeconds"] = str(task.timeout)
    if task.node_selector:
        fields["nodeSelector"] = dict(task.node_selector)
    if task.tolerations:
        fields["tolerations"] = [toleration(one) for one in task.tolerations]
    return fields


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


def toleration(one: Toleration) -> dict[str, Any]:
    """A toleration as Kubernetes spells it."""
    words = {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
    spelt: dict[str, Any] = {name: value for name, value in words.items() if value}
    return spelt if one.seconds is None else spelt | {"tolerationSeconds": one.seconds}


def pod_security(cluster: Cluster) -> dict[str, Any]:
    """Who the containers of a pod run as, Argo's own included."""
    return {
        "runAsNonRoot": True,
        "runAsUser": cluster.pods.user,
        "runAsGroup": cluster.pods.group,
        "fsGroup": cluster.pods.group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def shared_volumes(cluster: Cluster) -> list[dict[str, Any]]:
    """The volumes that every pod has: its own scratch room, and the claims."""
    scratch: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in SCRATCH]
    claims = [{"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": volume.claim}}
              for number, volume in enumerate(cluster.pods.volumes)]
    return scratch + claims
