"""dvc.yaml as the wiring that Argo follows, and what a run on a cluster has besides it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.contract import Step, load_step
from components.errors import UserError
from components.settings import Params
from components.strict_yaml import parse_yaml
from pipeline.cluster import Cluster
from pipeline.inputs import own_source
from pipeline.shape import shape_of

EACH = "${key}"  # how dvc.yaml writes the name of a teacher

# Steps that run on clusters only, and the paths that they have there.
CLUSTER_STAGES: dict[str, dict[str, str]] = {
    "fetch": {"data": "data/raw"},
    "pull": {"champion": "champion"},
    "promote": {"model": "models/distilled", "exported": "exported", "verdict": "reports/compare/verdict.json",
                "published": "reports/promote/published.json"},
}

# stage -> paths that are others there: the champion is what `pull` brought, where a laptop has the registry itself.
INSTEAD = {"compare": {"champion": "champion"}}

# stage -> others that it waits for though it reads nothing of theirs: the champion of the moment is wanted.
AFTER = {"pull": ("evaluate",)}


@dataclass(frozen=True)
class Condition:
    """What must be true in a JSON file that another stage wrote, for a stage and all that follow it to run."""

    stage: str
    port: str
    field: str


CONDITIONS = {"promote": Condition("compare", "verdict", "promote")}


@dataclass(frozen=True)
class Stage:
    """A step on its paths, and when it runs; where that is once a teacher, section and paths hold EACH."""

    name: str
    step: Step
    section: str
    paths: dict[str, str]
    condition: Condition | None = None

    @property
    def repeated(self) -> bool:
        """Whether it runs once a teacher."""
        return EACH in self.section

    def of_kind(self, *kinds: str) -> dict[str, str]:
        """The paths of its ports of some kinds, by port."""
        return {port: path for port, path in self.paths.items() if self.step.ports[port].kind in kinds}

    def arguments(self) -> list[str]:
        """What stands behind `stillhouse` on the command line."""
        section = [] if self.section == self.step.name else [self.section]
        options = [word for port, path in self.paths.items() for word in (f"--{port}", path)]
        return [self.step.name, *section, *options]


def read_stages(file: Path) -> dict[str, Stage]:
    """The stages of dvc.yaml by name, in their order; UserError for a stage that runs something else than a step."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", "run this in the folder of dvc.yaml") from None
    stages = parse_yaml(content, str(file)).get("stages") or {}
    return {name: stage_of(name, fields, str(file)) for name, fields in stages.items()}


def stage_of(name: str, fields: dict[str, Any], origin: str) -> Stage:
    """A stage of dvc.yaml, its command taken apart."""
    command = str(fields.get("do", fields).get("cmd", ""))
    program, *words = shlex.split(command) or [""]
    if program != "stillhouse" or not words:
        raise UserError(f"{origin}: stage {name} runs {program or 'nothing'}; expected stillhouse STEP ...",
                        "only steps can run on a cluster; take other stages out, or run them before")
    if "${" in command.replace(EACH, ""):
        raise UserError(f"{origin}: stage {name} has a template besides {EACH} in its command", "write the value out")
    step = load_step(words.pop(0))
    section = words.pop(0) if words and not words[0].startswith("--") else step.name
    paths = {option.removeprefix("--"): path for option, path in zip(words[::2], words[1::2], strict=False)}
    expected = {port for port, one in step.ports.items() if not one.setting}
    if len(words) % 2 or not expected <= set(paths) <= set(step.ports):
        raise UserError(f"{origin}: stage {name} gives {', '.join(paths)}; expected {', '.join(sorted(expected))}",
                        f"stillhouse {step.name} --help")
    return Stage(name, step, section, paths)


def planned(stages: Mapping[str, Stage], params: Params, cluster: Cluster) -> dict[str, Stage]:
    """The stages that a run on a cluster consists of, in order: dvc.yaml's, and those that only clusters have.

    The images come from `fetch` where it is told of a repository, from `sample` where params.yaml names no others, or
    lie on a mounted claim; whoever reads them is handed what the first two wrote. Raises UserError where no pod could
    see them; where no pod sees the registry, nothing is promoted.
    """
    images = source_of_images(params, cluster)
    names = [images] if images else []
    for name in stages:
        names += ["pull", name] if name == "compare" else [name] if name != "sample" else []
    publish = shape_of(params, cluster).publish
    names += ["promote"] if "compare" in stages and publish != "never" else []
    found = {name: stages[name] if name in stages else cluster_stage(name) for name in names}
    place = found[images].paths["data"] if images else ""
    conditions = CONDITIONS if publish == "verdict" else {}
    return {name: replace(stage, paths=paths_there(stage, place), condition=conditions.get(name))
            for name, stage in found.items()}


def source_of_images(params: Params, cluster: Cluster) -> str:
    """The stage that brings the images: fetch, sample, or "" where they lie on a claim."""
    if params.setting("fetch.repository"):
        return "fetch"
    path = own_source(params)
    if path is None:
        return "sample"
    if "://" in path or not cluster.sees(path):
        raise UserError(f"data.path is {path}, which no pod sees",
                        "name where the images come from (fetch.repository), or a folder of a claim in pods.volumes")
    return ""


def cluster_stage(name: str) -> Stage:
    """A stage that dvc.yaml does not have."""
    return Stage(name, load_step(name), name, CLUSTER_STAGES[name])


def paths_there(stage: Stage, images: str) -> dict[str, str]:
    """The paths of a stage in a pod, the images handed over where its step would look for them at data.path."""
    readers = [port for port, one in stage.step.ports.items() if one.setting == "data.path"] if images else []
    return stage.paths | INSTEAD.get(stage.name, {}) | dict.fromkeys(readers, images)


def sources_of(stage: Stage, stages: Mapping[str, Stage]) -> dict[str, tuple[Stage, str]]:
    """Which stage writes what each port of a stage reads, and on which port; UserError where none does."""
    found = {}
    for port, path in stage.of_kind("input", "inputs").items():
        source = writer(stages, path)
        if source is None:
            raise UserError(f"nothing writes {path}, which {stage.name} reads as {port}",
                            f"let a stage of dvc.yaml write it; stages are {', '.join(stages)}")
        found[port] = source
    return found


def writer(stages: Mapping[str, Stage], path: str) -> tuple[Stage, str] | None:
    """The stage and the port that write a path, or what lies in it (a folder of what each teacher wrote)."""
    for stage in stages.values():
        for port, written in stage.of_kind("output").items():
            if written == path or Path(path) in Path(written).parents:
                return stage, port
    return None


def before(stage: Stage, stages: Mapping[str, Stage]) -> list[str]:
    """The names of the stages that must have succeeded before one runs, in their order."""
    names = {owner.name for owner, _ in sources_of(stage, stages).values()} | set(AFTER.get(stage.name, ()))
    names |= {stage.condition.stage} if stage.condition else set()
    return [name for name in stages if name in names]
