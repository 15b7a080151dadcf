"""A pipeline as a graph, read from dvc.yaml, from a compiled Kubeflow pipeline and from an Argo template alike."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc_stages import Stage, params, raw, stages

from components.settings import Params, Settings
from components.strict_yaml import parse_yaml

Port = tuple[str, str]
Edge = tuple[str, str, str, str]

# Paths of dvc.yaml that no stage writes, each with the reason.
GIVEN = {"registry/latest.json": "the user publishes models; that makes `compare` stale, as it should"}


@dataclass(frozen=True)
class Graph:
    """Tasks with the ports that they read and write; an edge is (task, port, task that wrote it, its port).

    settings: of every section that a task runs with. All teachers are one task. skipped: by task, those that are left
    out where it says so.
    """

    ports: dict[str, tuple[frozenset[str], frozenset[str]]]
    edges: frozenset[Edge]
    settings: dict[str, Settings]
    skipped: dict[str, frozenset[str]]

    @property
    def tasks(self) -> set[str]:
        return set(self.ports)


def of_dvc() -> Graph:
    """The stages of dvc.yaml, connected by the paths that they write and read."""
    found = stages()
    written = {path: (name.partition("@")[0], port)
               for name, stage in found.items() for port, path in stage.of_kind("output").items()}
    edges = set()
    for name, stage in found.items():
        for port, path in read_by(name, stage).items():
            owners = {owner for out, owner in written.items() if out == path or Path(path) in Path(out).parents}
            assert len(owners) == (path not in GIVEN), f"{name}.{port}"
            edges |= {(name.partition("@")[0], port, *owner) for owner in owners}
    ports = {name.partition("@")[0]: (frozenset(read_by(name, stage)), frozenset(stage.of_kind("output")))
             for name, stage in found.items()}
    return Graph(ports, frozenset(edges), {one.section: params().section(one.section) for one in found.values()}, {})


def read_by(name: str, stage: Stage) -> dict[str, str]:
    """What a stage depends on, by port; the raw images are watched by one stage alone."""
    return stage.of_kind("input", "inputs") | ({"source": raw()} if name == "validate" else {})


@dataclass(frozen=True)
class Compiled:
    """A compiled Kubeflow pipeline."""

    whole: dict[str, Any]

    def component(self, task: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["components"][task["componentRef"]["name"]]
        return found

    def walk(self, tasks: dict[str, Any],
             given: dict[str, Port]) -> Iterator[tuple[str, dict[str, Any], dict[str, Port]]]:
        """Every task that runs a container, with the writers of its artifacts; loops and conditions looked into."""
        for name, task in tasks.items():
            values = task.get("inputs", {}).get("artifacts", {})
            sources = {port: self.source(tasks, value, given) for port, value in values.items()}
            inner = self.component(task).get("dag")
            if inner is None:
                yield name, task, sources
            else:
                yield from self.walk(inner["tasks"], sources)

    def source(self, tasks: dict[str, Any], value: dict[str, Any], given: dict[str, Port]) -> Port:
        """Which task wrote an artifact, on which port."""
        if "componentInputArtifact" in value:
            return given[value["componentInputArtifact"]]
        producer, port = value["taskOutputArtifact"]["producerTask"], value["taskOutputArtifact"]["outputArtifactKey"]
        while (dag := self.component(tasks[producer]).get("dag")) is not None:
            (selected,) = dag["outputs"]["artifacts"][port]["artifactSelectors"]
            tasks, producer, port = dag["tasks"], selected["producerSubtask"], selected["outputArtifactKey"]
        return producer, port


def of_kubeflow(whole: dict[str, Any]) -> Graph:
    """A compiled pipeline, its first document."""
    compiled, ports, edges = Compiled(whole), {}, set()
    for name, task, sources in compiled.walk(whole["root"]["dag"]["tasks"], {}):
        component = compiled.component(task)
        ports[name] = (frozenset(component.get("inputDefinitions", {}).get("artifacts", {})),
                       frozenset(component.get("outputDefinitions", {}).get("artifacts", {})))
        edges |= {(name, port, *source) for port, source in sources.items()}
    return Graph(ports, frozenset(edges), kubeflow_settings(whole), kubeflow_conditions(compiled))


def kubeflow_conditions(compiled: Compiled) -> dict[str, frozenset[str]]:
    """The tasks below every condition, by the task whose answer it asks for."""
    found = {}
    for name, component in compiled.whole["components"].items():
        for task in component.get("dag", {}).get("tasks", {}).values():
            if "triggerPolicy" not in task:
                continue
            asked = re.search(r"pipelinechannel--(\w+?)-Output'\]", task["triggerPolicy"]["condition"])
            assert asked, f"{name}: {task['triggerPolicy']}"
            below = compiled.component(task)["dag"]["tasks"]
            given = dict.fromkeys(task.get("inputs", {}).get("artifacts", {}), ("", ""))
            found[asked[1]] = frozenset(one for one, _, _ in compiled.walk(below, given))
    return found


def kubeflow_settings(whole: dict[str, Any]) -> dict[str, Settings]:
    """The settings that the run's inputs hand to its tasks by default, by section."""
    inputs = {name: one.get("defaultValue") for name, one in whole["root"]["inputDefinitions"]["parameters"].items()}
    texts = {name.removesuffix("_settings"): text for name, text in inputs.items() if name.endswith("_settings")}
    texts |= {f"teachers.{item['teacher']}": item["settings_json"] for item in inputs["teachers"]}
    return {section: Params(json.loads(text), "settings").section(section) for section, text in texts.items()}


def of_argo(template: dict[str, Any]) -> Graph:
    """A WorkflowTemplate."""
    spec = template["spec"]
    known = {one["name"]: one for one in spec["templates"]}
    keys = {one["s3"]["key"]: (name, one["name"]) for name, step in known.items() if "container" in step
            for one in step["outputs"]["artifacts"]}
    ports: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    edges = set()
    for name, sources in argo_tasks(known, spec["entrypoint"], {}):
        step = known[name]
        read = {one["name"]: one for one in step["inputs"]["artifacts"] if one["name"] != "params"}
        ports[name] = (frozenset(read), frozenset(one["name"] for one in step["outputs"]["artifacts"]))
        by_key = {port: owner for port, one in read.items() if "s3" in one
                  for key, owner in keys.items() if key.startswith(f"{one['s3']['key']}/")}
        assert set(sources) | set(by_key) == set(read), f"{name}: every artifact comes from somewhere"
        edges |= {(name, port, *source) for port, source in (sources | by_key).items()}
    if "onExit" in spec:
        ports[spec["onExit"]] = (frozenset(), frozenset())
    return Graph(ports, frozenset(edges), argo_settings(template, set(ports)), argo_conditions(known))


def argo_conditions(known: dict[str, Any]) -> dict[str, frozenset[str]]:
    """The tasks that are left out where validate fails, and those that ask another one's verdict first."""
    tasks = {one["name"]: one for one in known["pipeline"]["dag"]["tasks"]}
    waited = {name: set(re.findall(r"(\w+)\.Succeeded", one.get("depends", ""))) for name, one in tasks.items()}
    later = {"validate"}
    while more := {name for name, names in waited.items() if names & later} - later:
        later |= more
    asked = {match[1]: frozenset({name}) for name, one in tasks.items()
             if (match := re.search(r"tasks\.(\w+)\.outputs", one.get("when", "")))}
    return {"validate": frozenset(later - {"validate"})} | asked


def argo_tasks(known: dict[str, Any], name: str, given: dict[str, Port]) -> Iterator[tuple[str, dict[str, Port]]]:
    """Every template that runs a container, with the writers of the artifacts that it is handed."""
    if "container" in known[name]:
        yield name, given
        return
    tasks = {one["name"]: one for one in known[name]["dag"]["tasks"]}
    for task in tasks.values():
        sources: dict[str, Port] = {}
        for one in task.get("arguments", {}).get("artifacts", []):
            match = re.fullmatch(r"\{\{(?:tasks\.(\w+)\.outputs|inputs)\.artifacts\.(\w+)\}\}", one["from"])
            assert match, one["from"]
            sources[one["name"]] = (tasks[match[1]]["template"], match[2]) if match[1] else given[match[2]]
        waited = set(re.findall(r"(\w+)\.Succeeded", task.get("depends", "")))
        writers = {owner for owner, _ in sources.values() if owner in tasks}
        assert writers <= waited, f"{task['name']} waits for whoever writes what it reads"
        yield from argo_tasks(known, task["template"], sources)


def argo_settings(template: dict[str, Any], tasks: set[str]) -> dict[str, Settings]:
    """The settings that the tasks find in params.yaml by default, by section."""
    told = {one["name"]: one["value"] for one in template["spec"]["arguments"]["parameters"]}
    values = Params(parse_yaml(told["params"].encode(), "params"), "params")
    sections = (tasks - {"train", "report"}) | {f"teachers.{name}" for name in json.loads(told["teachers"])}
    return {section: values.section(section) for section in sections}
