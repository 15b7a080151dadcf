"""A loopback server with the few paths of the Kubernetes API that a TrainJob needs; bodies must fit its schema."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from imports import ROOT
from ruamel.yaml import YAML

SCHEMA = ROOT.parent / "shared/schemas/trainer.kubeflow.org_trainjobs.yaml"
JOBS = re.compile(r"/apis/trainer\.kubeflow\.org/v1alpha1/namespaces/([^/]+)/trainjobs(?:/([^/]+))?")
PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+)/log)?")


def strict(schema: Any) -> Any:
    """A schema of a custom resource in which unknown keys are errors, as the API server's strict mode has it."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@cache
def trainjob_schema() -> Any:
    """A validator of whole TrainJobs; None where the schema is not there."""
    if not SCHEMA.exists():
        return None
    from jsonschema import Draft202012Validator

    whole = YAML(typ="safe", pure=True).load(SCHEMA.read_text())
    schema: dict[str, Any] = strict(whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object", "additionalProperties": False, "properties": {
        "name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}}}}
    return Draft202012Validator(schema)


@dataclass
class Pod:
    """A pod: number, status, and what its container has said."""

    index: int
    status: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    name: str = ""


@dataclass
class Moment:
    """The state of a TrainJob at one time."""

    conditions: list[dict[str, Any]] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)


Life = Callable[[dict[str, Any]], Callable[[], Moment]]


class FakeCluster:
    """What the server knows. life: of a manifest, a function that says how it stands with the TrainJob now."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.made: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.moments: dict[str, Callable[[], Moment]] = {}
        self.latest: dict[str, Moment] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.statuses: list[tuple[int, str]] = []  # answers to give instead, in turn: status and message
        self.schema = trainjob_schema()

    def create(self, namespace: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if self.schema is not None:
            errors = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
                      for error in self.schema.iter_errors(body)]
            if errors:
                return 422, said("; ".join(errors))
        if name in self.manifests:
            return 409, said(f'trainjobs.trainer.kubeflow.org "{name}" already exists')
        self.made.append(body)
        self.manifests[name] = body
        self.moments[name] = self.life(body)
        return 201, body

    def read(self, name: str) -> tuple[int, Any]:
        if name not in self.manifests:
            return 404, said(f'trainjobs.trainer.kubeflow.org "{name}" not found')
        self.latest[name] = self.moments[name]()
        return 200, self.manifests[name] | {"status": {"conditions": self.latest[name].conditions}}

    def remove(self, name: str) -> tuple[int, Any]:
        if name not in self.manifests:
            return 404, said("not found")
        del self.manifests[name], self.moments[name]
        self.deleted.append(name)
        return 200, {"kind": "Status", "status": "Success"}

    def pods(self, selector: str) -> tuple[int, Any]:
        job = selector.partition("jobset.sigs.k8s.io/jobset-name=")[2]
        moment = self.latest.get(job, Moment())
        items = [{"metadata": {"name": f"{job}-node-0-{pod.index}", "creationTimestamp": "2026-01-01T00:00:00Z",
                               "labels": {"batch.kubernetes.io/job-completion-index": str(pod.index)}},
                  "status": pod.status} for pod in moment.pods]
        return 200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}

    def log(self, name: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        job, _, index = name.rpartition("-node-0-")
        for pod in self.latest.get(job, Moment()).pods:
            if pod.index == int(index):
                lines = pod.lines[-int(query.get("tailLines", ["1000000"])[0]):]
                return 200, "".join(f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}.000000001Z {line}\n"
                                    for n, line in enumerate(pod.lines) if line in lines)
        return 404, said("pod not found")

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        address = urlsplit(target)
        self.asked.append((method, address.path))
        if self.statuses:
            status, message = self.statuses.pop(0)
            if status:
                return status, said(message)
        query = parse_qs(address.query)
        if match := JOBS.fullmatch(address.path):
            act = {"POST": lambda: self.create(match[1], body), "GET": lambda: self.read(match[2]),
                   "DELETE": lambda: self.remove(match[2])}[method]
            return act()
        if (match := PODS.fullmatch(address.path)) and method == "GET":
            return self.log(match[2], query) if match[2] else self.pods(query["labelSelector"][0])
        return 404, said(f"no such path: {method} {address.path}")


def said(message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": message}


@contextmanager
def serving(cluster: FakeCluster, folder: Path) -> Iterator[Path]:
    """The server under way; the KUBECONFIG that leads to it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = cluster.answer(self.command, self.path, body)
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    config = folder / "kubeconfig"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "vision"}}],
        "users": [{"name": "me", "user": {"token": "canary-token"}}]}))
    try:
        yield config
    finally:
        server.shutdown()
        server.server_close()


def running() -> dict[str, Any]:
    return {"phase": "Running", "containerStatuses": [{"name": "node", "state": {"running": {}}}]}


def over(code: int, reason: str = "Error") -> dict[str, Any]:
    end = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else reason}}
    return {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [{"name": "node", "state": end}]}


def condition(kind: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def through(*moments: Moment) -> Life:
    """A life that goes from moment to moment each time it is looked at, and stays at the last."""

    def life(manifest: dict[str, Any]) -> Callable[[], Moment]:
        left = list(moments)
        return lambda: left.pop(0) if len(left) > 1 else left[0]

    return life


class Machines:
    """A life in which every pod is a process of this machine that runs what the TrainJob says."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self.folder, self.environment, self.port = folder, environment, port
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, manifest: dict[str, Any]) -> Callable[[], Moment]:
        trainer = manifest["spec"]["trainer"]
        first = len(self.processes)
        for index in range(trainer["numNodes"]):
            told = {"PET_NODE_RANK": str(index), "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(self.port)}
            words = [re.sub(r"\$\((\w+)\)", lambda match, told=told: told[match[1]], word)  # type: ignore[misc]
                     for word in [*trainer["command"], *trainer["args"]]]
            given = {one["name"]: one["value"] for one in trainer["env"]}
            with (self.folder / f"log-{first + index}").open("wb") as log:
                self.processes.append(subprocess.Popen(
                    words, cwd=self.folder, env=self.environment | given | told, stdout=log, stderr=log))
        mine = self.processes[first:]
        return lambda: self.moment(mine, first)

    def moment(self, mine: list["subprocess.Popen[bytes]"], first: int) -> Moment:
        codes = [process.poll() for process in mine]
        pods = [Pod(index, running() if code is None else over(code % 256),
                    (self.folder / f"log-{first + index}").read_text(errors="replace").splitlines())
                for index, code in enumerate(codes)]
        if any(code not in (0, None) for code in codes) and None not in codes:
            return Moment([condition("Failed", "FailedJobs", "jobset failed")], pods)
        return Moment([condition("Complete", "AllJobsCompleted")] if set(codes) == {0} else [], pods)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.kill(process.pid, 9)
            process.wait()
