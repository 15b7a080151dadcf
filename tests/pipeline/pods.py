"""What the pod of a task is given, read from a compiled Kubeflow pipeline and from an Argo template alike."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pod:
    """One task's pod; what is absent is empty or None. variables: their values, or where they are taken from."""

    image: tuple[str, str, tuple[str, ...]]
    requests: dict[str, str]
    limits: dict[str, str]
    variables: dict[str, Any]
    claims: frozenset[tuple[str, str, str]]
    shm: str | None
    selector: dict[str, str]
    tolerations: list[dict[str, str]]
    seconds: int | None
    user: tuple[str, str]
    labels: dict[str, str]
    annotations: dict[str, str]


def pods_of_kubeflow(documents: list[dict[str, Any]]) -> dict[str, Pod]:
    """By task, from both documents of a compiled pipeline."""
    containers = documents[0]["deploymentSpec"]["executors"]
    extras = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): of_executor(one["container"], extras.get(name, {}))
            for name, one in containers.items() if "container" in one}


def of_executor(container: dict[str, Any], extra: dict[str, Any]) -> Pod:
    resources = container.get("resources", {})
    named = {"cpu": "Cpu", "memory": "Memory"}
    requests = {name: resources.get(f"resource{word}Request") for name, word in named.items()}
    limits = {name: resources.get(f"resource{word}Limit") for name, word in named.items()}
    if gpu := resources.get("accelerator"):
        limits[gpu["resourceType"]] = gpu["resourceCount"]
    variables: dict[str, Any] = {one["name"]: one["value"] for one in container.get("env", [])}
    for kind, source, key in (("secret", "secretAsEnv", "secretKey"), ("configMap", "configMapAsEnv", "configMapKey")):
        variables |= {one["envVar"]: (kind, given[f"{kind}Name"], one[key], bool(given.get("optional")))
                      for given in extra.get(source, []) for one in given["keyToEnv"]}
    secure, told = extra.get("securityContext", {}), extra.get("podMetadata", {})
    return Pod(
        (container["image"], extra.get("imagePullPolicy", ""),
         tuple(one["secretName"] for one in extra.get("imagePullSecret", []))),
        present(requests), present(limits), variables,
        frozenset((one["constant"], one["mountPath"], one.get("subPath", "")) for one in extra.get("pvcMount", [])),
        next((one["sizeLimit"] for one in extra.get("emptyDirMounts", []) if one["mountPath"] == "/dev/shm"), None),
        extra.get("nodeSelector", {}).get("labels", {}),
        [{name: str(value) for name, value in one.items()} for one in extra.get("tolerations", [])],
        int(extra["activeDeadlineSeconds"]) if "activeDeadlineSeconds" in extra else None,
        (str(secure.get("runAsUser")), str(secure.get("runAsGroup"))),
        told.get("labels", {}), told.get("annotations", {}))


def present(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}


def pods_of_argo(template: dict[str, Any]) -> dict[str, Pod]:
    """By task, from a WorkflowTemplate."""
    spec = template["spec"]
    return {one["name"]: of_template(one, spec) for one in spec["templates"] if "container" in one}


def of_template(step: dict[str, Any], spec: dict[str, Any]) -> Pod:
    container = step["container"]
    volumes = {one["name"]: one for one in [*spec["volumes"], *step.get("volumes", [])]}
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    claims = frozenset((volumes[one["name"]]["persistentVolumeClaim"]["claimName"], path, one.get("subPath", ""))
                       for path, one in mounts.items() if "persistentVolumeClaim" in volumes[one["name"]])
    shm = volumes[mounts["/dev/shm"]["name"]]["emptyDir"] if "/dev/shm" in mounts else {}
    assert shm.get("medium", "Memory") == "Memory"
    secure = spec["securityContext"]
    return Pod(
        (container["image"], container["imagePullPolicy"],
         tuple(one["name"] for one in spec.get("imagePullSecrets", []))),
        container["resources"].get("requests", {}), container["resources"].get("limits", {}),
        {one["name"]: value_of(one) for one in container["env"]}, claims, shm.get("sizeLimit"),
        step.get("nodeSelector", {}),
        [{name: str(value) for name, value in one.items()} for one in step.get("tolerations", [])],
        int(step["activeDeadlineSeconds"]) if "activeDeadlineSeconds" in step else None,
        (str(secure["runAsUser"]), str(secure["runAsGroup"])),
        spec["podMetadata"]["labels"], spec["podMetadata"]["annotations"])


def value_of(variable: dict[str, Any]) -> Any:
    if "value" in variable:
        return variable["value"]
    ((kind, given),) = variable["valueFrom"].items()
    return kind.removesuffix("KeyRef"), given["name"], given["key"], given.get("optional", False)
