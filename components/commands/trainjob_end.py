"""How it stands with a TrainJob: complete, failed and by what, or still waiting for something that may never come."""

from collections.abc import Callable
from typing import Any, Literal

from components.errors import Exit, TryAgain, UserError

State = Literal["complete", "failed", "under way"]

# Why Kubernetes took a pod away: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
LOST = ("Evicted", "NodeLost", "NodeShutdown", "NodeAffinity", "Preempting", "Shutdown", "Terminated",
        "UnexpectedAdmissionError")
HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
PASSING = (Exit.TRY_AGAIN, Exit.TERMINATED, 137)


class JobFailed(UserError):
    """A pod of a TrainJob has failed; its words and its exit code."""

    def __init__(self, cause: str, remedy: str, code: int) -> None:
        super().__init__(cause, remedy)
        self.exit_code = Exit(code) if code in list(Exit) else Exit.INTERNAL


def state_of(job: dict[str, Any]) -> tuple[State, dict[str, Any]]:
    """The state of a TrainJob and the condition that says so."""
    names: dict[str, State] = {"Complete": "complete", "Failed": "failed"}
    for condition in job.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") in names:
            return names[condition["type"]], condition
    return "under way", {}


def waiting_for(job: dict[str, Any], pods: list[dict[str, Any]], waited: float, limit: float) -> str:
    """What keeps the pods of a TrainJob from running, "" where nothing does.

    Raises UserError for what no waiting mends (an image or a secret that is not there), TryAgain where pods have
    waited longer than the limit.
    """
    for pod in pods:
        for container in statuses(pod):
            reason = container.get("state", {}).get("waiting", {})
            if reason.get("reason") in HOPELESS and waited > 60.0:
                said = f"{reason['reason']}: {reason.get('message', '')}".strip(": ")
                raise UserError(f"pod {pod['metadata']['name']} cannot start: {said}",
                                "correct image, image.secrets or pods.secrets in infra/kubeflow.yaml")
    nodes = int(job["spec"]["trainer"].get("numNodes", 1))
    pending = [pod for pod in pods if pod["status"].get("phase") == "Pending"]
    if len(pods) >= nodes and not pending:
        return ""
    why = reasons(pending) or suspended(job) or f"{len(pods)} of {nodes} pods are there"
    if waited > limit:
        raise TryAgain(f"the pods of TrainJob {job['metadata']['name']} do not start: {why}",
                       "ask for less in tasks.train, add nodes, or wait longer: training.start_seconds")
    return why


def reasons(pending: list[dict[str, Any]]) -> str:
    """Why pods are pending, as the scheduler says it."""
    found = [condition for pod in pending for condition in pod["status"].get("conditions", [])
             if condition.get("type") == "PodScheduled" and condition.get("status") == "False"]
    said = {f"{one.get('reason', 'pending')}: {one.get('message', '')}".strip(": ") for one in found}
    return "; ".join(sorted(said))


def suspended(job: dict[str, Any]) -> str:
    """That a queue keeps a TrainJob waiting, "" where none does."""
    held = [one for one in job.get("status", {}).get("conditions", [])
            if one.get("type") == "Suspended" and one.get("status") == "True"]
    return "it is suspended: its queue has not admitted it yet" if held else ""


def statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """The statuses of all containers of a pod."""
    status = pod["status"]
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def how_it_failed(job: dict[str, Any], pods: list[dict[str, Any]], log: Callable[[str], str]) -> UserError:
    """The error that a failed TrainJob stands for: TryAgain where another attempt may go better.

    log: the last lines of a pod by its name.
    """
    name, condition = job["metadata"]["name"], state_of(job)[1]
    if condition.get("reason") == "DeadlineExceeded":
        return UserError(f"TrainJob {name} took longer than it may",
                         "raise tasks.train.timeout in infra/kubeflow.yaml: it goes on from its last checkpoint")
    if lost := [pod for pod in pods if disrupted(pod)]:
        return TryAgain(f"pod {lost[0]['metadata']['name']} was taken away: {disrupted(lost[0])}",
                        "it goes on from its last checkpoint when it is tried again")
    ends = [(pod, end) for pod in pods for end in ended(pod)]
    if full := [pod for pod, end in ends if end.get("reason") == "OOMKilled"]:
        return UserError(f"pod {full[0]['metadata']['name']} needed more memory than it may have (OOMKilled)",
                         "raise tasks.train.memory_limit in infra/kubeflow.yaml, or accumulate, or lower batch")
    own = [(pod, int(end.get("exitCode", 0))) for pod, end in ends if int(end.get("exitCode", 0)) not in (0, *PASSING)]
    if own:
        cause, remedy = last_words(log(own[0][0]["metadata"]["name"]))
        return JobFailed(cause or f"pod {own[0][0]['metadata']['name']} ended with exit code {own[0][1]}",
                         remedy or "its log is above", own[0][1])
    said = " ".join(str(condition.get("message", "")).split())
    return TryAgain(f"TrainJob {name} has failed: {said or 'its pods are gone'}",
                    "it goes on from its last checkpoint when it is tried again")


def disrupted(pod: dict[str, Any]) -> str:
    """Why Kubernetes took a pod away, "" where it did not."""
    status = pod["status"]
    if status.get("reason") in LOST:
        return f"{status['reason']}: {status.get('message', '')}".strip(": ")
    marked = [one for one in status.get("conditions", [])
              if one.get("type") == "DisruptionTarget" and one.get("status") == "True"]
    return f"{marked[0].get('reason', 'disrupted')}: {marked[0].get('message', '')}".strip(": ") if marked else ""


def ended(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """How the containers of a pod have ended."""
    found = [container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
             for container in statuses(pod)]
    return [one for one in found if one]


def last_words(log: str) -> tuple[str, str]:
    """Cause and remedy as a step's last lines tell them, without the times before the lines; "" where they do not.

    >>> last_words("2026-01-01T00:00:00Z stillhouse: no such file\\n2026-01-01T00:00:00Z   remedy: make it")
    ('no such file', 'make it')
    """
    cause = remedy = ""
    for line in log.splitlines():
        text = line.partition(" ")[2]
        if text.startswith("stillhouse: "):
            cause, remedy = text.removeprefix("stillhouse: "), ""
        elif text.startswith("  remedy: ") and cause:
            remedy = text.removeprefix("  remedy: ")
    return cause, remedy
