"""The graph of an Argo workflow: a task for every stage, a template for what it runs, artifacts between them.

Every pod works in a folder of its own that looks like the working copy, params.yaml and what the stage reads in their
places, and runs the very command of dvc.yaml. A path there is also the artifact's key in the bucket, below the run's
name: so what all teachers wrote to models/teachers/NAME is one folder for whoever reads models/teachers.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.argo_pods import WORK, container, pod_fields
from pipeline.cluster import Cluster
from pipeline.wiring import EACH, Condition, Stage, before, sources_of

ENTRY, REPORT = "pipeline", "report"
ALL_TEACHERS = "teachers"
TEACHER = "{{inputs.parameters.teacher}}"
REPORTER = "ended"  # the command that tells how a run ended
LOCK = "stillhouse-promote"  # one run at a time publishes


def templates(stages: Mapping[str, Stage], cluster: Cluster) -> list[dict[str, Any]]:
    """All templates, the one that a run starts with first."""
    steps = [step_template(stage, stages, cluster) for stage in stages.values()]
    return [entry(stages), each_teacher(stages, cluster), *steps, report_template(stages, cluster)]


def entry(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """The template that a run starts with: every stage a task, after those whose artifacts it reads."""
    return {"name": "pipeline", "dag": {"tasks": [task(stage, stages) for stage in stages.values()]}}


def task(stage: Stage, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """A stage's task: it runs when those before it have succeeded, so that what follows a skipped one is left out."""
    made: dict[str, Any] = {"name": stage.name, "template": ALL_TEACHERS if stage.repeated else stage.name}
    if names := before(stage, stages):
        made["depends"] = " && ".join(f"{name}.Succeeded" for name in names)
    if stage.condition:
        made["when"] = expression(stage.condition)
    artifacts = [{"name": port, "from": f"{{{{tasks.{owner.name}.outputs.artifacts.{written}}}}}"}
                 for port, (owner, written) in sources_of(stage, stages).items() if not owner.repeated]
    return made | ({"arguments": {"artifacts": artifacts}} if artifacts else {})


def expression(condition: Condition) -> str:
    """A condition as Argo evaluates it."""
    value = f"jsonpath(tasks.{condition.stage}.outputs.parameters.{condition.port}, '$.{condition.field}')"
    return f"{{{{={value}}}}} == true"


def each_teacher(stages: Mapping[str, Stage], cluster: Cluster) -> dict[str, Any]:
    """The template that runs a stage once a teacher, so many at once as the cluster file grants."""
    (stage,) = [one for one in stages.values() if one.repeated]
    ports = list(stage.of_kind("input"))
    most = {"parallelism": cluster.parallelism} if cluster.parallelism else {}
    return {"name": ALL_TEACHERS, "inputs": {"artifacts": [{"name": port} for port in ports]}} | most | {
        "dag": {"tasks": [{
            "name": stage.name, "template": stage.name, "withParam": "{{workflow.parameters.teachers}}",
            "arguments": {
                "parameters": [{"name": "teacher", "value": "{{item}}"}],
                "artifacts": [{"name": port, "from": f"{{{{inputs.artifacts.{port}}}}}"} for port in ports]},
        }]}}


def step_template(stage: Stage, stages: Mapping[str, Stage], cluster: Cluster) -> dict[str, Any]:
    """The template of a stage: its artifacts, its container, its pod."""
    settings = cluster.task(stage.name)
    params = {"name": "params", "path": f"{WORK}/params.yaml", "raw": {"data": "{{workflow.parameters.params}}"}}
    read = [artifact(port, stage.paths[port], owner, cluster, keyed=owner.repeated)
            for port, (owner, _) in sources_of(stage, stages).items()]
    written = [artifact(port, path, stage, cluster, keyed=True) for port, path in stage.of_kind("output").items()]
    asked = {one.condition.port for one in stages.values() if one.condition and one.condition.stage == stage.name}
    told = [{"name": port, "valueFrom": {"path": f"{WORK}/{stage.paths[port]}"}} for port in sorted(asked)]
    inputs: dict[str, Any] = {"parameters": [{"name": "teacher"}]} if stage.repeated else {}
    made = {
        "name": stage.name,
        "inputs": inputs | {"artifacts": [params, *read]},
        "outputs": {"artifacts": written} | ({"parameters": told} if told else {}),
        "container": container([filled(word) for word in stage.arguments()], cluster, settings),
    } | pod_fields(cluster, settings)
    return made | ({"synchronization": {"mutexes": [{"name": LOCK}]}} if stage.name == "promote" else {})


def report_template(stages: Mapping[str, Stage], cluster: Cluster) -> dict[str, Any]:
    """The exit handler: it tells how the run ended, with the figures and the verdict if it came so far."""
    told = {option: (stages[name], stages[name].paths[port])
            for option, name, port in (("evaluation", "evaluate", "metrics"), ("verdict", "compare", "verdict"))
            if name in stages}
    read = [artifact(option, path, owner, cluster, keyed=True) | {"optional": True}
            for option, (owner, path) in told.items()]
    words = [REPORTER, "--state", "{{workflow.status}}", "--failures", "{{workflow.failures}}"]
    words += [word for option, (_, path) in told.items() for word in (f"--{option}", path)]
    settings, place = cluster.task(REPORT), "reports/run.md"
    return {
        "name": REPORT,
        "inputs": {"artifacts": read},
        "outputs": {"artifacts": [placed(REPORT, place, cluster, {"none": {}}, keyed=True)]},
        "container": container([*words, "--report", place], cluster, settings),
    } | pod_fields(cluster, settings)


def artifact(port: str, path: str, owner: Stage, cluster: Cluster, *, keyed: bool) -> dict[str, Any]:
    """An artifact of a stage: in the bucket as it is, but raw images, which are many and small, as one archive."""
    packed = owner.name in ("fetch", "sample")
    return placed(port, path, cluster, {"tar": {"compressionLevel": 0}} if packed else {"none": {}}, keyed=keyed)


def placed(name: str, path: str, cluster: Cluster, form: dict[str, Any], *, keyed: bool) -> dict[str, Any]:
    """An artifact in its place in the pod; keyed: and in the bucket, not where another task says it is."""
    parts = [cluster.argo.repository.prefix, "{{workflow.name}}", filled(path)]
    key = "/".join(part for part in parts if part) + (".tgz" if "tar" in form else "")
    return {"name": name, "path": f"{WORK}/{filled(path)}", "archive": form} | ({"s3": {"key": key}} if keyed else {})


def filled(text: str) -> str:
    """A word of dvc.yaml with the teacher's name as Argo fills it in."""
    return text.replace(EACH, TEACHER)
