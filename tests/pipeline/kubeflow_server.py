"""A loopback API server of Kubeflow Pipelines with state: strict about bodies, and able to fail as real ones do."""

import json
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_plus, urlsplit

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

IMAGE = "registry.example.com/stillhouse@sha256:" + "0f" * 32
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
ID_NAMES = {"experiments": "experiment_id", "pipelines": "pipeline_id", "versions": "pipeline_version_id",
            "runs": "run_id", "recurringruns": "recurring_run_id"}
LISTS = {"experiments": "experiments", "pipelines": "pipelines", "versions": "pipeline_versions", "runs": "runs",
         "recurringruns": "recurringRuns"}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Failure:
    """What happens to the next requests that match: a status, or a way to break the line."""

    match: str
    how: str | int
    times: int
    words: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class State:
    token: str = ""
    multi_user: bool = False
    things: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in ID_NAMES})
    packages: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    before_create: Callable[[str], None] = lambda kind: None
    trouble: Callable[[], str | int | None] = lambda: None  # asked before every request how it shall fail

    def fail(self, match: str, how: str | int, times: int = 1, words: str = "", **headers: str) -> None:
        """how: a status, or reset (nothing is done), lost (done, but not answered), slow, page, login."""
        self.failures.append(Failure(match, how, times, words, headers))

    def asked(self, match: str) -> int:
        return sum(bool(re.search(match, f"{method} {path}")) for method, path in self.requests)

    def only(self, kind: str) -> dict[str, Any]:
        (thing,) = self.things[kind].values()
        return thing

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.before_create(kind)
        with self.lock:
            name, space = body.get("display_name"), body.get("namespace")
            alike = [one for one in self.things[kind].values()
                     if one["display_name"] == name and one.get("namespace") == space
                     and (kind != "versions" or one["pipeline_id"] == body["pipeline_id"])]
            if alike and kind in ("experiments", "pipelines", "versions"):
                raise Refused(409, f"Already exist error: {name}")
            identity = str(uuid.uuid4())
            moment = BEGUN + timedelta(seconds=sum(map(len, self.things.values())))
            thing = body | {ID_NAMES[kind]: identity, "created_at": moment.isoformat().replace("+00:00", "Z")}
            if kind == "recurringruns":
                thing |= {"status": "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"}
            if kind == "runs":
                thing |= {"state": "PENDING", "storage_state": "AVAILABLE"}
            self.things[kind][identity] = thing
            return thing


def strict(value: Any, kind: str, place: str = "body") -> None:
    """Refuse what the generated models would not know or take, at any depth."""
    if kind.startswith("list["):
        for number, one in enumerate(value):
            strict(one, kind[5:-1], f"{place}[{number}]")
    elif kind.startswith("dict("):
        refuse(not isinstance(value, dict), f"{place} is no mapping")
        for name, one in value.items():
            strict(one, kind.partition(", ")[2][:-1], f"{place}.{name}")
    elif kind in ("str", "bool", "object", "datetime"):
        wrong = (kind == "str" and not isinstance(value, str)) or (kind == "bool" and not isinstance(value, bool))
        refuse(wrong, f"{place} is {value!r}, no {kind}")
    else:
        model = getattr(kfp_server_api.models, kind)
        if not model.openapi_types:
            known = [text for name, text in vars(model).items() if name.isupper() and isinstance(text, str)]
            refuse(value not in known, f"{place} is {value!r}")
            return
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        for name, one in value.items():
            refuse(name not in names, f"unknown field {place}.{name}")
            strict(one, model.openapi_types[names[name]], f"{place}.{name}")


def refuse(wrong: bool, words: str, status: int = 400) -> None:
    if wrong:
        raise Refused(status, words)


class Answers(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms

    def do_GET(self) -> None:
        self.serve("GET")

    def do_POST(self) -> None:
        self.serve("POST")

    def do_DELETE(self) -> None:
        self.serve("DELETE")

    def serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests.append((method, parts.path))
        self.state.received.append(self.path.encode() + b"\n" + self.body)
        failure = self.failing(f"{method} {parts.path}")
        if failure and not self.broken(failure):
            return
        try:
            refuse(bool(self.state.token) and self.headers.get("Authorization") != f"Bearer {self.state.token}",
                   "Unauthenticated", 401)
            answer, status = self.answer(method, parts.path.removeprefix("/apis/v2beta1/")), 200
        except Refused as error:
            answer, status = {"error": str(error), "code": 3, "message": str(error), "details": []}, error.status
        if failure and failure.how == "lost":
            self.reset()
        else:
            self.send(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode(),
                      "text/plain" if isinstance(answer, bytes) else "application/json")

    def failing(self, request: str) -> Failure | None:
        with self.state.lock:
            for failure in self.state.failures:
                if failure.times > 0 and re.search(failure.match, request):
                    failure.times -= 1
                    return failure
            how = self.state.trouble()
        return Failure("", how, 0) if how else None

    def broken(self, failure: Failure) -> bool:
        """Break as told; True where the request is served all the same."""
        if isinstance(failure.how, int):
            self.send(failure.how, failure.words.encode() or b"upstream connect error", "text/plain", failure.headers)
        elif failure.how == "reset":
            self.reset()
        elif failure.how == "page":
            self.send(200, b"<html><title>Sign in</title></html>", "text/html")
        elif failure.how == "login":
            self.send(302, b"", "text/plain", {"Location": self.path})
        elif failure.how == "slow":
            time.sleep(float(failure.words))
            return True
        return failure.how == "lost"

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.wfile = self.rfile  # nothing is left to be flushed

    def send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def answer(self, method: str, path: str) -> Any:
        state = self.state
        if path == "healthz":
            return {"multi_user": state.multi_user, "pipeline_store": "database"}
        if found := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            refuse(unquote(found[2]) not in state.logs, "Failed to read logs: pod not found", 500)
            return state.logs[unquote(found[2])]
        if path == "pipelines/upload_version":
            return self.upload()
        if found := re.fullmatch(r"pipelines/([^/]+)/versions", path):
            return self.listed("versions", lambda one: one["pipeline_id"] == found[1])
        if path in ID_NAMES:
            return self.listed(path, self.within) if method == "GET" else self.made(path)
        found = re.fullmatch(r"(runs|recurringruns)/([^/:]+)(?::(\w+))?", path)
        refuse(not found or found[2] not in state.things[found[1]], f"{path} not found", 404)
        assert found
        return self.one(method, found[1], found[2], found[3])

    def one(self, method: str, kind: str, identity: str, act: str | None) -> Any:
        things = self.state.things[kind]
        if method == "DELETE":
            del things[identity]
            return {}
        if act:
            things[identity] |= {"terminate": {"state": "CANCELING"}, "enable": {"status": "ENABLED"},
                                 "disable": {"status": "DISABLED"}}[act]
            return {}
        return things[identity]

    def within(self, one: dict[str, Any]) -> bool:
        wanted = {name: self.query[name] for name in ("experiment_id", "namespace") if name in self.query}
        refuse("namespace" in wanted and not self.state.multi_user, "In single-user mode, namespace must be empty")
        return all(one.get(name, value) == value for name, value in wanted.items())

    def listed(self, kind: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        spec = json.loads(unquote_plus(self.query.get("filter", "{}")))  # decoded once more, as the Go server does
        strict(spec, "V2beta1Filter", "filter")
        with self.state.lock:
            found = [one for one in self.state.things[kind].values() if wanted(one) and all(
                one[rule["key"]] == rule["string_value"] for rule in spec.get("predicates", []))]
        found.sort(key=lambda one: one["created_at"], reverse="desc" in self.query.get("sort_by", ""))
        begin, size = int(self.query.get("page_token") or 0), int(self.query.get("page_size") or 20)
        rest = {"next_page_token": str(begin + size)} if begin + size < len(found) else {}
        return {LISTS[kind]: found[begin:begin + size]} | rest

    def made(self, kind: str) -> dict[str, Any]:
        body = json.loads(self.body)
        model = {"experiments": "V2beta1Experiment", "pipelines": "V2beta1Pipeline", "runs": "V2beta1Run",
                 "recurringruns": "V2beta1RecurringRun"}[kind]
        strict(body, model)
        if kind in ("runs", "recurringruns"):
            self.check_run(body)
        return self.state.create(kind, body)

    def check_run(self, body: dict[str, Any]) -> None:
        """What the server checks of a run: its experiment, its version, its parameters by name and kind."""
        reference = body["pipeline_version_reference"]
        versions, experiments = self.state.things["versions"], self.state.things["experiments"]
        refuse(body["experiment_id"] not in experiments, "experiment not found", 404)
        version = versions.get(reference["pipeline_version_id"])
        refuse(version is None or version["pipeline_id"] != reference["pipeline_id"], "version not found", 404)
        spec = next(yaml.safe_load_all(self.state.packages[reference["pipeline_version_id"]]))
        known = spec["root"]["inputDefinitions"]["parameters"]
        for name, value in body.get("runtime_config", {}).get("parameters", {}).items():
            refuse(name not in known, f"parameter {name} is not found in the pipeline's inputs")
            kind = {"STRING": str, "LIST": list, "BOOLEAN": bool}.get(known[name]["parameterType"], object)
            refuse(not isinstance(value, kind), f"parameter {name} is no {known[name]['parameterType']}")

    def upload(self) -> dict[str, Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = message_from_bytes(head + self.body).get_payload()
        assert not isinstance(part, str)
        refuse(not str(part.get_filename()).endswith(".yaml"), "unexpected pipeline file format")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        spec, *platforms = yaml.safe_load_all(content)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        for platform in platforms:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        tags = json.loads(self.query.get("tags", "{}"))
        refuse(any("." in key or len(key + value) > 126 or len(value) > 63 for key, value in tags.items()), "tags")
        refuse(not re.fullmatch("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", self.query["name"]), "name of the version")
        version = self.state.create("versions", {"pipeline_id": self.query["pipelineid"], "tags": tags,
                                                 "display_name": self.query["name"]})
        self.state.packages[version["pipeline_version_id"]] = content
        return version

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(state: State) -> Iterator[str]:
    """The address of a server with that state."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answers,), {"state": state}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
