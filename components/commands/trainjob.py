"""A training on several machines: this task makes a TrainJob, waits for it, passes its words on, and removes it.

Pods see each other's files in one shared folder only (a ReadWriteMany volume): inputs are copied there once, by digest,
and what the TrainJob seals there is copied to where the task's artifacts belong.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.commands.cluster_api import Jobs, connect
from components.commands.trainjob_end import how_it_failed, state_of, waiting_for
from components.contract import Step
from components.errors import TryAgain, UserError
from components.settings import Params, Settings
from components.storage import atomic, receipts
from components.storage.digests import value_digest
from components.storage.locks import locked

TEMPLATE = "STILLHOUSE_TRAINJOB"  # the TrainJob without name and step, as the pipeline was compiled with
STEPS = ("train", "distill")
# Of the environment of this pod, what its TrainJob is told as well. None of it is a secret.
PASSED = ("KFP_RUN_ID", "STILLHOUSE_RUN", "STILLHOUSE_COMMIT", "MLFLOW_TRACKING_URI", "MLFLOW_WORKSPACE",
          "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_AUTH")
POLL = 5.0
GONE_SECONDS = 300.0


@dataclass(frozen=True)
class Plan:
    """How TrainJobs are made: the manifest to fill in, the shared folder, and seconds until all pods must run."""

    manifest: dict[str, Any]
    share: Path
    start_seconds: float
    poll: float = POLL


def plan_of(environment: Mapping[str, str] = os.environ) -> Plan | None:
    """The plan that this pod was given, None where it does its work itself."""
    text = environment.get(TEMPLATE, "")
    if not text:
        return None
    given = json.loads(text)
    return Plan(given["manifest"], Path(given["share"]), float(given["start_seconds"]), float(given.get("poll", POLL)))


def run_in_trainjob(step: Step, params: Params, section: str, paths: Mapping[str, Path], plan: Plan) -> dict[str, Any]:
    """Let a TrainJob do a step, and put what it sealed where the outputs belong; the step's facts.

    Raises what the step would raise here (UserError, TryAgain), also for what befalls pods.
    """
    inputs = {port: staged(paths[port], plan.share) for port, one in step.ports.items() if one.kind == "input"}
    name = job_name(step, params.section(section), section, inputs)
    folder = plan.share / "jobs" / name
    outputs = {port: folder / port for port, one in step.ports.items() if one.kind == "output"}
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_file(folder / "params.yaml", json.dumps(placed(params.values, folder, plan.share)) + "\n")
    words = [step.name, *([section] if step.sections() != step.name else []), "--params", str(folder / "params.yaml"),
             *(word for port, path in {**inputs, **outputs}.items() for word in (f"--{port}", str(path)))]
    supervise(connect(), filled(plan.manifest, name, words), plan)
    for port, path in outputs.items():
        deliver(path, paths[port])
    facts = last_facts(folder / "reports" / section / "run.json")
    shutil.rmtree(folder, ignore_errors=True)
    return facts


def job_name(step: Step, settings: Settings, section: str, inputs: Mapping[str, Path]) -> str:
    """A name that only the same work of the same run has: a pod that comes after a lost one finds its TrainJob."""
    run = os.environ.get("KFP_RUN_ID", "")
    digests = {port: path.name for port, path in inputs.items()}
    key = value_digest([run, receipts.key(step.name, section, settings.digestible(), digests)])
    slug = "".join(letter if letter.isalnum() else "-" for letter in section.lower()).strip("-")
    return f"stillhouse-{slug[:20].strip('-')}-{key[:12]}"  # pods' host names must stay within 63 letters


def staged(source: Path, share: Path) -> Path:
    """A sealed artifact in the shared folder, found by its digest, copied there if need be."""
    if not receipts.is_sealed(source):
        raise UserError(f"{source} is not sealed, so it cannot be handed to other machines", "make it again: dvc repro")
    place = share / "artifacts" / receipts.digest(source)
    if not receipts.is_sealed(place):
        deliver(source, place)
    return place


def deliver(source: Path, target: Path) -> None:
    """Copy a file or a sealed folder: its place holds all of it or nothing, and what was sealed."""
    with locked([target]), atomic.private([target]) as (written,):
        if source.is_dir():
            shutil.copytree(source, written)
            receipts.verify(written)
        else:
            shutil.copyfile(source, written)
        atomic.flush(written)
        atomic.move_into_place(written, target)


def placed(values: dict[str, Any], folder: Path, share: Path) -> dict[str, Any]:
    """The step's part of params.yaml, with all that it keeps in the shared folder."""
    kept = {"work": str(share / "work"), "reports": str(folder / "reports"), "cache": str(share / "cache")}
    return values | {"runtime": values.get("runtime", {}) | kept}


def filled(template: dict[str, Any], name: str, words: list[str]) -> dict[str, Any]:
    """The manifest of one TrainJob. words: the command line of the step, before what the template says of machines."""
    manifest: dict[str, Any] = json.loads(json.dumps(template))
    trainer = manifest["spec"]["trainer"]
    manifest["metadata"]["name"] = name
    trainer["args"] = [*words, *trainer.get("args", [])]
    known = {one["name"] for one in trainer.setdefault("env", [])}
    trainer["env"] += [{"name": variable, "value": os.environ[variable]}
                       for variable in PASSED if os.environ.get(variable) and variable not in known]
    return manifest


def supervise(jobs: Jobs, manifest: dict[str, Any], plan: Plan) -> None:
    """Make a TrainJob, or find the one that an earlier pod made, wait for its end, and remove it whatever happens."""
    name = manifest["metadata"]["name"]
    begin(jobs, manifest, plan.poll)
    try:
        follow(jobs, name, plan)
    finally:
        try:
            jobs.delete(name)
        except UserError as error:
            print(f"warning: {error.cause}; remove it by hand: kubectl delete trainjob {name} -n {jobs.namespace}",
                  file=sys.stderr)


def begin(jobs: Jobs, manifest: dict[str, Any], poll: float) -> None:
    """Make a TrainJob unless it runs already; one that has failed or is on its way out goes first."""
    name, end = manifest["metadata"]["name"], time.monotonic() + GONE_SECONDS
    while not jobs.create(manifest):
        known = jobs.get(name)
        if known is None:
            continue
        leaving = "deletionTimestamp" in known["metadata"]
        if not leaving and state_of(known)[0] != "failed":
            print(f"TrainJob {name} is there already: going on with it", file=sys.stderr, flush=True)
            return
        if time.monotonic() > end:
            raise TryAgain(f"an earlier TrainJob {name} does not go away", f"kubectl describe trainjob {name}")
        if not leaving:
            jobs.delete(name)
        time.sleep(poll)
    print(f"TrainJob {name} in namespace {jobs.namespace}", file=sys.stderr, flush=True)


def follow(jobs: Jobs, name: str, plan: Plan) -> None:
    """Wait until a TrainJob is complete, and say what its first pod says; the error that it ended with, if it did.

    The API may be away for as long as a TrainJob may take to begin.
    """
    voice, started, heard = Voice(jobs), time.monotonic(), time.monotonic()
    running = False
    while True:
        try:
            job, pods = jobs.get(name), jobs.pods(name)
            voice.pass_on(pods)
            heard = time.monotonic()
        except TryAgain as error:
            if time.monotonic() - heard > plan.start_seconds:
                raise
            print(f"warning: {error.cause}", file=sys.stderr, flush=True)
            time.sleep(plan.poll)
            continue
        if job is None:
            raise TryAgain(f"TrainJob {name} was removed by somebody else", "see who does that: kubectl get events")
        state, _ = state_of(job)
        if state == "complete":
            return
        if state == "failed":
            raise how_it_failed(job, pods, lambda pod: jobs.log(pod, lines=50))
        running = running or waiting_for(job, pods, time.monotonic() - started, plan.start_seconds) == ""
        time.sleep(plan.poll)


class Voice:
    """What the first pod of a TrainJob says, each line once, however often it is asked."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.last = ""
        self.asked = 0.0

    def pass_on(self, pods: list[dict[str, Any]]) -> None:
        """Print what is new since the last time."""
        if not pods or pods[0]["status"].get("phase") == "Pending":
            return
        now = time.monotonic()
        since = int(now - self.asked) + 10 if self.asked else None  # clocks differ: what comes twice is left out
        self.asked = now
        for line in self.jobs.log(pods[0]["metadata"]["name"], since=since).splitlines():
            stamp, _, text = line.partition(" ")
            if stamp > self.last:
                self.last = stamp
                print(text, file=sys.stderr)
        sys.stderr.flush()


def last_facts(path: Path) -> dict[str, Any]:
    """The facts of the newest run in a run.json."""
    runs: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return list(runs.values())[-1]
