"""A workflow without a cluster: containers of a WorkflowTemplate as processes here, the bucket as a folder of files.

It takes the parts of Argo Workflows that our template uses literally: two kinds of tags, depends and when, loops,
artifacts by key and by reference, retries by expression, the exit handler. What it does not know it refuses.
"""

import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIMPLE = re.compile(r"\{\{([\w.-]+)\}\}")
EXPRESSION = re.compile(r"\{\{=jsonpath\(([\w.]+), '\$\.(\w+)'\)\}\}")
MOST_RETRIES = 20


@dataclass
class Node:
    """What became of a task: its phase, what it put out, and every attempt's exit code."""

    phase: str
    parameters: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)


@dataclass
class Workflow:
    """A run of a template: bucket and pods lie below a folder."""

    template: dict[str, Any]
    folder: Path
    environment: dict[str, str]
    name: str = "run-1"
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        return self.template["spec"]

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    def run(self) -> str:
        """Run the entry point, then the exit handler; the phase that the run ends in."""
        scope = self.scope()
        phase = self.execute(self.spec["entrypoint"], {}, scope, "").phase
        if handler := self.spec.get("onExit"):
            failed = [failure(name.rpartition("/")[2], number, code)
                      for name, node in self.nodes.items() for number, code in enumerate(node.exits) if code]
            failed += [failure(name.rpartition("/")[2], 0, 1) | {"displayName": name.rpartition("/")[2]}
                       for name, node in self.nodes.items() if node.phase == "Failed" and node.exits]
            told = {"workflow.status": phase, "workflow.failures": json.dumps(json.dumps(failed or None))}
            self.execute(handler, {}, scope | told, "exit")
        return phase

    def scope(self) -> dict[str, str]:
        """What tags mean everywhere in the run."""
        given = {f"workflow.parameters.{one['name']}": one["value"] for one in self.spec["arguments"]["parameters"]}
        return given | {"workflow.name": self.name}

    def execute(self, name: str, arguments: dict[str, Any], scope: dict[str, str], node: str) -> Node:
        """Run a template with arguments and keep its node under a name."""
        (template,) = [one for one in self.spec["templates"] if one["name"] == name]
        parameters = {one["name"]: one["value"] for one in arguments.get("parameters", [])}
        wanted = {one["name"] for one in template.get("inputs", {}).get("parameters", [])}
        assert wanted == set(parameters), f"{name} wants {wanted}, is given {set(parameters)}"
        artifacts = {one["name"]: one for one in arguments.get("artifacts", [])}
        inner = scope | {f"inputs.parameters.{key}": value for key, value in parameters.items()}
        made = self.dag(template, artifacts, inner, node) if "dag" in template else self.attempts(
            filled(template, inner), artifacts, node)
        self.nodes[node] = made
        return made

    def dag(self, template: dict[str, Any], given: dict[str, Any], scope: dict[str, str], node: str) -> Node:
        """Run the tasks of a graph, each once those before it have ended."""
        done: dict[str, Node] = {}
        waiting = list(template["dag"]["tasks"])
        while waiting:
            ready = [task for task in waiting if set(named(task.get("depends", ""))) <= set(done)]
            assert ready, f"a circle among {[task['name'] for task in waiting]}"
            for task in ready:
                waiting.remove(task)
                name = task["name"]
                done[name] = self.task(task, done, given, scope, f"{node}/{name}" if node else name)
        failed = any(one.phase == "Failed" for one in done.values())
        return Node("Failed" if failed else "Succeeded")

    def task(self, task: dict[str, Any], done: dict[str, Node], given: dict[str, Any], scope: dict[str, str],
             node: str) -> Node:
        """Run a task of a graph, or leave it out."""
        outputs = {f"tasks.{name}.outputs.parameters.{key}": value
                   for name, one in done.items() for key, value in one.parameters.items()}
        if not holds(task.get("depends", ""), done):
            return self.nodes.setdefault(node, Node("Omitted"))
        if "when" in task and not true(filled(task["when"], scope | outputs)):
            return self.nodes.setdefault(node, Node("Skipped"))
        if "withParam" not in task:
            return self.call(task, done, given, scope | outputs, node)
        items = json.loads(filled(task["withParam"], scope))
        parts = [self.call(task, done, given, scope | {"item": item}, f"{node}({number}:{item})")
                 for number, item in enumerate(items)]
        return Node("Failed" if any(one.phase == "Failed" for one in parts) else "Succeeded")

    def call(self, task: dict[str, Any], done: dict[str, Node], given: dict[str, Any], scope: dict[str, str],
             node: str) -> Node:
        """Run a task's template with its arguments, artifacts looked up where they were put out."""
        arguments = task.get("arguments", {})
        artifacts = []
        for one in arguments.get("artifacts", []):
            source = re.fullmatch(r"\{\{(?:tasks\.(\w+)\.outputs|inputs)\.artifacts\.(\w+)\}\}", one["from"])
            assert source, one["from"]
            found = done[source[1]].artifacts[source[2]] if source[1] else given[source[2]]
            artifacts.append(found | {"name": one["name"]})
        parameters = filled(arguments.get("parameters", []), scope)
        return self.execute(task["template"], {"parameters": parameters, "artifacts": artifacts}, scope, node)

    def attempts(self, template: dict[str, Any], given: dict[str, Any], node: str) -> Node:
        """Run a container until it succeeds or its retry strategy gives up."""
        exits: list[int] = []
        strategy = template["retryStrategy"]
        while True:
            made = self.container(template, given, node, len(exits))
            exits += made.exits
            made.exits = exits
            last = {"exitCode": str(exits[-1]), "status": "Failed", "message": f"main: Error (exit code {exits[-1]})"}
            if made.phase == "Succeeded" or len(exits) > int(strategy["limit"]) or not again(
                    strategy["expression"], last, len(exits) - 1):
                return made
            assert len(exits) < MOST_RETRIES

    def container(self, template: dict[str, Any], given: dict[str, Any], node: str, attempt: int) -> Node:
        """Run a container once, in folders that stand for the volumes it mounts; nothing else is there for it."""
        pod = self.folder / "pods" / re.sub(r"[^\w.-]", "_", f"{node}-{attempt}")
        volumes = {one["name"]: one for one in [*self.spec["volumes"], *template.get("volumes", [])]}
        container = template["container"]
        mounts = {}
        for one in container["volumeMounts"]:  # a claim lies here where a pod would see it
            place = pod / one["name"] if "emptyDir" in volumes[one["name"]] else Path(one["mountPath"])
            place.mkdir(parents=True, exist_ok=True)
            mounts[one["mountPath"]] = place
        for one in template.get("inputs", {}).get("artifacts", []):
            source = given.get(one["name"], one)
            if one.get("optional") and not (self.bucket / source["s3"]["key"]).exists():
                continue
            self.load(one, source, inside(one["path"], mounts))
        exit_code = self.start(container, inside(container["workingDir"], mounts), pod)
        if exit_code:
            return Node("Failed", exits=[exit_code])
        outputs = template.get("outputs", {})
        for one in outputs.get("artifacts", []):
            self.save(inside(one["path"], mounts), one)
        values = {one["name"]: inside(one["valueFrom"]["path"], mounts).read_text().removesuffix("\n")
                  for one in outputs.get("parameters", [])}
        return Node("Succeeded", values, {one["name"]: one for one in outputs.get("artifacts", [])}, [0])

    def start(self, container: dict[str, Any], folder: Path, pod: Path) -> int:
        """Run the command to its end, its words kept beside the pod's folders."""
        plain = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        with (pod / "log.txt").open("w") as log:
            done = subprocess.run([*container["command"], *container["args"]], cwd=folder, check=False, stdout=log,
                                  stderr=log, env=self.environment | plain, timeout=500)
        return done.returncode if done.returncode >= 0 else 128 - done.returncode

    def load(self, wanted: dict[str, Any], source: dict[str, Any], target: Path) -> None:
        """Put an input artifact into its place: a text, a file, the files below a key, or what an archive holds."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if "raw" in source:
            target.write_text(source["raw"]["data"])
            return
        stored = self.bucket / source["s3"]["key"]
        assert stored.exists(), f"NoSuchKey: {source['s3']['key']}"
        if "tar" in wanted["archive"]:
            with tarfile.open(stored) as archive:
                (name,) = {member.name.split("/")[0] for member in archive.getmembers()}
                archive.extractall(target.parent / ".tar", filter="data")
            (target.parent / ".tar" / name).rename(target)
        elif stored.is_dir():
            shutil.copytree(stored, target)
        else:
            shutil.copy(stored, target)

    def save(self, path: Path, wanted: dict[str, Any]) -> None:
        """Put an output artifact into the bucket, which knows files only: no empty folder, link or mode survives."""
        assert path.exists(), f"{path} was not written"
        stored = self.bucket / wanted["s3"]["key"]
        stored.parent.mkdir(parents=True, exist_ok=True)
        if "tar" in wanted["archive"]:
            with tarfile.open(stored, "w:gz", compresslevel=wanted["archive"]["tar"]["compressionLevel"]) as archive:
                archive.add(path, path.name)
            return
        assert "none" in wanted["archive"]
        for file in [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]:
            target = stored / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def failure(name: str, number: int, code: int) -> dict[str, str]:
    """A failed attempt as the exit handler is told of it."""
    return {"displayName": f"{name}({number})", "phase": "Failed", "podName": f"pod-{name}", "templateName": name,
            "message": f"main: Error (exit code {code})", "finishedAt": f"2026-11-21T20:00:{number:02}Z"}


def filled(value: Any, scope: dict[str, str]) -> Any:
    """A value with its tags filled in as Argo does: in its JSON text, each put in as a quoted string's content."""

    def simple(match: re.Match[str]) -> str:
        return json.dumps(scope[match[1]])[1:-1]

    def expression(match: re.Match[str]) -> str:
        found = json.loads(scope[match[1]])[match[2]]
        return str(found).lower() if isinstance(found, bool) else json.dumps(str(found))[1:-1]

    return json.loads(SIMPLE.sub(simple, EXPRESSION.sub(expression, json.dumps(value))))


def named(depends: str) -> list[str]:
    """The tasks that a `depends` names."""
    return [one.split(".")[0] for one in depends.split(" && ") if one]


def holds(depends: str, done: dict[str, Node]) -> bool:
    """Whether a `depends` of the form `a.Succeeded && b.Succeeded` holds."""
    wanted = [one.split(".") for one in depends.split(" && ") if one]
    return all(done[name].phase == phase for name, phase in wanted)


def true(when: str) -> bool:
    """Whether a `when` of the form `X == Y` holds."""
    left, _, right = when.partition(" == ")
    assert right, when
    return left == right


def again(expression: str, last: dict[str, str], retries: int) -> bool:
    """Whether a retry strategy's expression grants another attempt."""
    words = re.sub(r'lastRetry\.message contains ("[^"]*")', r'(\1 in message)', expression)
    words = words.replace("&&", " and ").replace("||", " or ").replace("!(", "not (")
    words = re.sub(r"lastRetry\.(\w+)", r"\1", words)
    return bool(eval(words, {"__builtins__": {}}, {"asInt": int, "retries": str(retries)} | last))


def inside(path: str, mounts: dict[str, Path]) -> Path:
    """Where a path of a pod lies here; there is nothing outside its mounts."""
    (found,) = [folder / Path(path).relative_to(mount) for mount, folder in mounts.items()
                if Path(path).is_relative_to(mount)]
    return found

