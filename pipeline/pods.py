"""What pods are told in Kubernetes' own words, by Argo's templates and by TrainJobs alike.

They satisfy the Kubernetes standard "restricted": https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Any

from pipeline.cluster import Cluster, Task, Toleration, Variables

SHARED = "/dev/shm"  # noqa: S108 - where Linux keeps shared memory

# What each container may do, whatever its image says.
NARROW: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_security(cluster: Cluster) -> dict[str, Any]:
    """Who all containers of a pod run as."""
    return {
        "runAsNonRoot": True,
        "runAsUser": cluster.pods.user,
        "runAsGroup": cluster.pods.group,
        "fsGroup": cluster.pods.group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def placement(task: Task) -> dict[str, Any]:
    """On which nodes a pod may run."""
    selector = {"nodeSelector": dict(task.node_selector)} if task.node_selector else {}
    tolerations = {"tolerations": [toleration(one) for one in task.tolerations]} if task.tolerations else {}
    return selector | tolerations


def toleration(one: Toleration) -> dict[str, Any]:
    """A toleration as Kubernetes spells it."""
    words = {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
    spelt: dict[str, Any] = {name: value for name, value in words.items() if value}
    return spelt if one.seconds is None else spelt | {"tolerationSeconds": one.seconds}


def resources(task: Task) -> dict[str, dict[str, str]]:
    """What is set aside for a container, and what it may not exceed."""
    gpus = {task.gpu_type: str(task.gpus)} if task.gpus else {}
    asked = {"cpu": task.cpu, "memory": task.memory, "ephemeral-storage": task.disk}
    most = {"cpu": task.cpu_limit, "memory": task.memory_limit, "ephemeral-storage": task.disk}
    both = {"requests": {name: value for name, value in asked.items() if value},
            "limits": {name: value for name, value in most.items() if value} | gpus}
    return {name: values for name, values in both.items() if values}


def environment(cluster: Cluster, own: dict[str, str]) -> list[dict[str, Any]]:
    """The variables of a container, its own first; of secrets only their names are told."""
    tracking = {"MLFLOW_TRACKING_URI": cluster.mlflow.uri} if cluster.mlflow.uri else {}
    plain = own | tracking | cluster.pods.env
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    for kind, sources in (("secretKeyRef", cluster.pods.secrets), ("configMapKeyRef", cluster.pods.config_maps)):
        variables += [one for source in sources for one in referred(kind, source)]
    return variables


def referred(kind: str, source: Variables) -> list[dict[str, Any]]:
    """The variables that a secret or config map supplies."""
    optional = {"optional": True} if source.optional else {}
    return [{"name": variable, "valueFrom": {kind: {"name": source.name, "key": key} | optional}}
            for key, variable in source.keys.items()]


def volumes(cluster: Cluster) -> list[dict[str, Any]]:
    """The claims that every pod sees."""
    return [{"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": one.claim}}
            for number, one in enumerate(cluster.pods.volumes)]


def memory(task: Task) -> list[dict[str, Any]]:
    """The volume that is shared memory, for steps that want some."""
    return [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": task.shm}}] if task.shm else []


def mounts(cluster: Cluster, task: Task, own: dict[str, str]) -> list[dict[str, Any]]:
    """Where a container sees its volumes. own: path by name of those that the pod has besides."""
    found: list[dict[str, Any]] = [{"name": name, "mountPath": path} for name, path in own.items()]
    found += [{"name": "shm", "mountPath": SHARED}] if task.shm else []
    for number, one in enumerate(cluster.pods.volumes):
        below = {"subPath": one.sub_path} if one.sub_path else {}
        found.append({"name": f"claim-{number}", "mountPath": one.path} | below)
    return found
