"""TrainJobs and their pods, spoken of with the Kubernetes API; the only importer of its client."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import TryAgain, UserError

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
TIMEOUT = (5.0, 30.0)  # seconds to connect and to answer
TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
RIGHTS = ("let the pipeline's service account create, get and delete trainjobs.trainer.kubeflow.org and get and list "
          "pods and pods/log: docs/cluster-kubeflow.md")


@dataclass(frozen=True)
class Jobs:
    """The TrainJobs of one namespace. custom, core: the client's two interfaces."""

    namespace: str
    custom: Any
    core: Any

    def create(self, manifest: dict[str, Any]) -> bool:
        """Make a TrainJob; False where one of that name is there already."""
        with explained(f"create a TrainJob in namespace {self.namespace}", absent=(409,)) as answer:
            self.custom.create_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, manifest,
                                                        _request_timeout=TIMEOUT)
        return answer.present

    def get(self, name: str) -> dict[str, Any] | None:
        """A TrainJob, None where there is none."""
        found: dict[str, Any] | None = None
        with explained(f"read TrainJob {name}", absent=(404,)):
            found = self.custom.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name,
                                                             _request_timeout=TIMEOUT)
        return found

    def delete(self, name: str) -> None:
        """Remove a TrainJob and its pods, or nothing."""
        with explained(f"delete TrainJob {name}", absent=(404,)):
            self.custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name,
                                                        propagation_policy="Foreground", _request_timeout=TIMEOUT)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The pods of a TrainJob as Kubernetes spells them, by their number; of a restarted one the newest."""
        with explained(f"list the pods of TrainJob {name}"):
            answer = self.core.list_namespaced_pod(  # as it comes: the client is older than clusters are
                self.namespace, label_selector=f"jobset.sigs.k8s.io/jobset-name={name}", _request_timeout=TIMEOUT,
                _preload_content=False)
            plain: list[dict[str, Any]] = json.loads(answer.data)["items"]
        plain.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
        newest = {index_of(pod): pod for pod in plain}
        return [newest[index] for index in sorted(newest)]

    def log(self, pod: str, since: int | None = None, lines: int | None = None) -> str:
        """What a pod's container has said, each line with its time; "" where nothing can be read yet.

        since: of the last so many seconds. lines: the last so many.
        """
        said = ""
        limits = {name: value for name, value in (("since_seconds", since), ("tail_lines", lines)) if value is not None}
        with explained(f"read the log of pod {pod}", absent=(400, 404)):
            said = str(self.core.read_namespaced_pod_log(pod, self.namespace, timestamps=True,
                                                         _request_timeout=TIMEOUT, **limits))
        return said


def index_of(pod: dict[str, Any]) -> int:
    """The number of a pod among those of its job."""
    labels = pod["metadata"].get("labels", {})
    return int(labels.get("batch.kubernetes.io/job-completion-index", 0))


def connect() -> Jobs:
    """The API of the cluster that this pod runs in, or of the one that KUBECONFIG names.

    Raises UserError where neither is there.
    """
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        if TOKEN.exists() and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(settings)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
    except config.ConfigException as error:
        raise UserError(f"the cluster's API is not to be found: {error}",
                        "a TrainJob is made from within the cluster; elsewhere set KUBECONFIG") from None
    settings.retries = 2
    api = client.ApiClient(settings)
    return Jobs(namespace(), client.CustomObjectsApi(api), client.CoreV1Api(api))


def namespace() -> str:
    """The namespace of this pod."""
    beside = TOKEN.with_name("namespace")
    if given := os.environ.get("STILLHOUSE_NAMESPACE"):
        return given
    return beside.read_text(encoding="utf-8").strip() if beside.exists() else "default"


@dataclass
class Answer:
    """Whether what was asked for is there."""

    present: bool = True


@contextmanager
def explained(doing: str, absent: tuple[int, ...] = ()) -> Iterator[Answer]:
    """Errors of the API in plain words; of the statuses in `absent` it is only noted that something is not there."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    answer = Answer()
    try:
        yield answer
    except ApiException as error:
        if error.status not in absent:
            raise failure(doing, int(error.status or 0), said_by(error)) from None
        answer.present = False
    except HTTPError as error:
        raise TryAgain(f"the cluster's API does not answer (to {doing}): {type(error).__name__}",
                       "wait until it is back; a NetworkPolicy may keep this pod from it") from None


def failure(doing: str, status: int, said: str) -> UserError:
    """The error for a status of the API."""
    if status in (401, 403):
        return UserError(f"the cluster does not let this pod {doing}: {said}", RIGHTS)
    if status == 404:
        return UserError(f"the cluster knows no TrainJobs, so this pod cannot {doing}",
                         "install Kubeflow Trainer v2, or set training.mode: torchrun in infra/kubeflow.yaml")
    if status in (408, 409, 429) or status >= 500 or status == 0:
        return TryAgain(f"the cluster's API cannot {doing} now (status {status}): {said}", "wait until it is well")
    return UserError(f"the cluster refuses to {doing} (status {status}): {said}",
                     "correct training and tasks in infra/kubeflow.yaml")


def said_by(error: Any) -> str:
    """The message in an answer of the API, on one line and not too long."""
    try:
        text = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        text = str(error.reason)
    return " ".join(text.split())[:400]
