"""Write the pipeline for Argo Workflows as YAML: a WorkflowTemplate, and a CronWorkflow that starts it.

Made of dvc.yaml's wiring, params.yaml and infra/kubeflow.yaml; docs/cluster-argo.md tells how to run it.
"""

import argparse
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import Exit, UserError
from components.settings import Params
from components.storage.atomic import write_file
from pipeline import options as shared
from pipeline import pods
from pipeline.argo_graph import ENTRY, REPORT, templates
from pipeline.argo_pods import WORK, shared_volumes
from pipeline.cluster import FIXED, Cluster, Tracking, elsewhere
from pipeline.compiling import notes
from pipeline.cron import FIELDS, is_part
from pipeline.wiring import planned, read_stages

API = "argoproj.io/v1alpha1"
WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")  # beside five fields


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `argo`."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="YAML file to write (default: standard output)")
    parser.add_argument("--schedule", metavar="CRON", help="also a CronWorkflow, e.g. '0 3 * * 1': Mondays at three")
    parser.add_argument("--dvc", type=Path, default=Path("dvc.yaml"), metavar="FILE",
                        help="the wiring (default: dvc.yaml)")
    shared.arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Write the YAML; what a run will not do is said."""
    cluster = shared.cluster_of(options)
    params = there(shared.params_of(options), cluster)
    documents = [workflow_template(params, cluster, options.dvc)]
    documents += [cron_workflow(options.schedule, cluster)] if options.schedule is not None else []
    for note in [*image_notes(cluster), *notes(params, cluster)]:
        print(f"warning: {note}", file=sys.stderr)
    if options.output is None:
        sys.stdout.write(as_yaml(documents))
    else:
        write_file(options.output, as_yaml(documents))
        print(f"{options.output}: {' and '.join(one['kind'] for one in documents)} {cluster.argo.name}")
    return Exit.OK


def image_notes(cluster: Cluster) -> list[str]:
    """A word on an image whose name may come to mean another one."""
    if cluster.image.mutable or FIXED.search(cluster.image.name):
        return []
    return [f"image.name is {cluster.image.name}, whose content can change between two runs; "
            "--image NAME@sha256:... names one for ever"]


def there(params: Params, cluster: Cluster) -> Params:
    """The settings as the cluster wants them; the tracking plugin is Kubeflow's own."""
    own = cluster.model_copy(update={"mlflow": Tracking(uri=cluster.mlflow.uri)})
    changed = Params(elsewhere(params.values, own), f"{params.origin} with params of the cluster")
    changed.check()
    return changed


def workflow_template(params: Params, cluster: Cluster, dvc: Path) -> dict[str, Any]:
    """The WorkflowTemplate of the pipeline of a dvc.yaml, with the values of params.yaml as its default arguments.

    params: as the cluster wants them. Raises UserError for what a cluster could not run.
    """
    refuse_impossible(cluster)
    stages = planned(read_stages(dvc), params, cluster)
    spec: dict[str, Any] = {
        "entrypoint": ENTRY,
        "onExit": REPORT,
        "arguments": {"parameters": [
            {"name": "params", "value": settings_text(params.values), "description": "params.yaml, as JSON"},
            {"name": "teachers", "value": json.dumps(teachers(params)), "description": "the names below teachers"},
        ]},
        "templates": templates(stages, cluster),
        **run_fields(cluster),
        "securityContext": pods.pod_security(cluster),
        "volumes": shared_volumes(cluster),
    }
    return {"apiVersion": API, "kind": "WorkflowTemplate", "metadata": metadata(cluster), "spec": spec}


def cron_workflow(schedule: str, cluster: Cluster) -> dict[str, Any]:
    """The CronWorkflow that starts the template: one run at a time, and none made up for that was missed.

    schedule: five fields of cron, or a word of its own such as @daily. Raises UserError for anything else.
    """
    refuse_schedule(schedule)
    return {"apiVersion": API, "kind": "CronWorkflow", "metadata": metadata(cluster), "spec": {
        "schedules": [schedule],
        "timezone": cluster.argo.timezone,
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "workflowMetadata": {"labels": dict(cluster.pods.labels)},
        "workflowSpec": {"workflowTemplateRef": {"name": cluster.argo.name}},
    }}


def refuse_impossible(cluster: Cluster) -> None:
    """UserError for settings that have no meaning in Argo."""
    if cluster.training.mode == "trainjob":
        raise UserError("training.mode is trainjob, which the tasks of Kubeflow make; Argo's run one pod each",
                        "training.mode: torchrun uses all GPUs of the pod, tasks.train.gpus says how many")
    for volume in cluster.pods.volumes:
        if Path(volume.path).is_relative_to(WORK) or Path(WORK).is_relative_to(volume.path):
            raise UserError(f"pods.volumes mounts {volume.claim} at {volume.path}, where a pod keeps its own {WORK}",
                            "mount it elsewhere, for example at /mnt/shared")


def refuse_schedule(schedule: str) -> None:
    """UserError for what is neither a word of cron nor its five fields; Kubeflow has a sixth, the second."""
    texts = schedule.lower().split()
    if schedule not in WORDS and not (len(texts) == len(FIELDS) - 1 and all(
            is_part(part, least, most, names)
            for text, (_, least, most, names) in zip(texts, FIELDS[1:], strict=True) for part in text.split(","))):
        raise UserError(f"--schedule {schedule!r} is not understood: minute hour day month weekday, or "
                        f"{', '.join(WORDS)}", "for example --schedule '0 3 * * 1': Mondays at three")


def teachers(params: Params) -> list[str]:
    """The names of the teachers, in their order."""
    return [name.partition(".")[2] for name in params.sections() if name.startswith("teachers.")]


def settings_text(values: Mapping[str, Any]) -> str:
    """params.yaml as JSON, in which Argo finds nothing to fill in and which its quoting leaves valid."""
    lines = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in values.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    return text.replace("{{", "{\\u007b").replace("\x7f", "\\u007f")


def metadata(cluster: Cluster) -> dict[str, Any]:
    """Name, place and labels of a resource."""
    place = {"namespace": cluster.argo.namespace} if cluster.argo.namespace else {}
    labels = {"app.kubernetes.io/name": "stillhouse"} | cluster.pods.labels
    return {"name": cluster.argo.name} | place | {"labels": labels, "annotations": {
        "workflows.argoproj.io/title": "Stillhouse",
        "workflows.argoproj.io/description": "Labelled images in; a small, calibrated, exported classifier out"}}


def run_fields(cluster: Cluster) -> dict[str, Any]:
    """What holds for a whole run: who it runs as, how long it may take, what is kept of it."""
    argo, life = cluster.argo, cluster.lifetime
    fields: dict[str, Any] = {
        "archiveLogs": True,
        "podGC": {"strategy": "OnWorkflowSuccess"},
        "podMetadata": {"labels": dict(cluster.pods.labels), "annotations": dict(cluster.pods.annotations)},
        "workflowMetadata": {"labels": dict(cluster.pods.labels)},
        "automountServiceAccountToken": not argo.executor,
    }
    optional = {
        "activeDeadlineSeconds": life.deadline,
        "ttlStrategy": {"secondsAfterCompletion": life.keep} if life.keep else None,
        "imagePullSecrets": [{"name": name} for name in cluster.image.secrets],
        "serviceAccountName": argo.service_account,
        "executor": {"serviceAccountName": argo.executor} if argo.executor else None,
        "artifactRepositoryRef": repository_reference(cluster),
    }
    return fields | {name: value for name, value in optional.items() if value}


def repository_reference(cluster: Cluster) -> dict[str, str]:
    """Where the artifact repository is described, empty for the controller's own."""
    repository = cluster.argo.repository
    known = {"configMap": repository.config_map, "key": repository.key}
    return {name: value for name, value in known.items() if value}


def as_yaml(documents: list[dict[str, Any]]) -> str:
    """Documents as YAML, the same bytes for the same content; texts of several lines stay readable."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import walk_tree

    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda data: True
    stream = io.StringIO()
    for document in documents:
        walk_tree(document)
    yaml.dump_all(documents, stream)
    return stream.getvalue()
