"""What the pods of Kubeflow's tasks are given, from the cluster's facts."""

from typing import Any

from kfp import kubernetes

from components.commands.outcomes import PLACE
from components.commands.patience import SECONDS, TRIES, WAIT
from components.commands.trainjob import STEPS, TEMPLATE
from pipeline.cluster import Cluster, Task
from pipeline.pods import SHARED
from pipeline.trainjob import template

ELSEWHERE = {*STEPS, "student"}  # tasks whose work a TrainJob does, where there are to be any
RUN = {"KFP_RUN_ID": "metadata.labels['pipeline/runid']", "STILLHOUSE_NAMESPACE": "metadata.namespace"}


def in_pod(task: Any, name: str, cluster: Cluster, *, cached: bool) -> Any:
    """A task with its image, resources, environment, volumes, retries and security."""
    away = cluster.training.mode == "trainjob" and name in ELSEWHERE
    given = cluster.defaults if away else cluster.task(name)
    task.set_container_image(cluster.image.name)
    task.set_caching_options(cached and cluster.task(name).cache)
    with_resources(task, given)
    with_environment(task, cluster)
    if away:
        task.set_env_variable(TEMPLATE, template(cluster, "train" if name == "student" else name))
    elif given.timeout:
        kubernetes.set_timeout(task, given.timeout)
    if cluster.retries.pods and name != "report":  # an exit handler is run once
        task.set_retry(cluster.retries.pods, backoff_duration=f"{cluster.retries.pod_wait}s", backoff_factor=2.0)
    with_pod(task, cluster)
    return task


def with_resources(task: Any, given: Task) -> None:
    """CPUs, memory, GPUs, and nodes that have them."""
    for value, setter in ((given.cpu, task.set_cpu_request), (given.cpu_limit, task.set_cpu_limit),
                          (given.memory, task.set_memory_request), (given.memory_limit, task.set_memory_limit)):
        if value:
            setter(value)
    if given.gpus:
        task.set_accelerator_type(given.gpu_type).set_accelerator_limit(given.gpus)
    if given.shm:
        kubernetes.empty_dir_mount(task, "shm", SHARED, medium="Memory", size_limit=given.shm)
    for label, value in given.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for one in given.tolerations:
        kubernetes.add_toleration(task, one.key or None, one.operator, one.value or None, one.effect or None,
                                  one.seconds)


def with_environment(task: Any, cluster: Cluster) -> None:
    """Environment variables: which run it is, patience, tracking, the user's own, and those from secrets."""
    retries, pods = cluster.retries, cluster.pods
    values = {TRIES: str(retries.tries), WAIT: str(retries.wait), SECONDS: str(retries.seconds)}
    values |= {PLACE: pods.outcomes} if pods.outcomes else {}
    values |= {"MLFLOW_TRACKING_URI": cluster.mlflow.uri} if cluster.mlflow.uri else {}
    for name, value in (values | pods.env).items():
        task.set_env_variable(name, value)
    for variable, field in RUN.items():
        kubernetes.use_field_path_as_env(task, variable, field)
    for secret in pods.secrets:
        kubernetes.use_secret_as_env(task, secret.name, dict(secret.keys), secret.optional)
    for one in pods.config_maps:
        kubernetes.use_config_map_as_env(task, one.name, dict(one.keys), one.optional)


def with_pod(task: Any, cluster: Cluster) -> None:
    """Where the image comes from, who the process is, what is mounted, and how the pod is labelled."""
    pods = cluster.pods
    kubernetes.set_image_pull_policy(task, cluster.image.pull)
    if cluster.image.secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image.secrets))
    kubernetes.set_security_context(task, run_as_user=pods.user, run_as_group=pods.group, run_as_non_root=True)
    for volume in pods.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, volume.sub_path)
    for label, value in pods.labels.items():
        kubernetes.add_pod_label(task, label, value)
    for name, value in pods.annotations.items():
        kubernetes.add_pod_annotation(task, name, value)
