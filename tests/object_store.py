"""An S3 server for tests, and a proxy before it that fails a share of the requests in the ways that networks do."""

import http.client
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.storage.bucket import Bucket
from components.storage.digests import walk_files
from components.storage.sending import PIECE, send_files

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-canary-9", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
FAULTS = ("busy", "slow down", "reset", "answer lost", "answer cut", "body cut", "answer changed", "body changed")
SLOW = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int = 0) -> Iterator[str]:
    """The address of a server in a process of its own, which ends with the block."""
    port = port or free_port()
    small = os.environ | {"S3_UPLOAD_PART_MIN_SIZE": "1024"}
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], env=small,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def use(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let clients of this test talk to a server, with nothing of the user's own set-up."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        patch.delenv(name)
    for name, value in environment(endpoint).items():
        patch.setenv(name, value)


def environment(endpoint: str) -> dict[str, str]:
    return KEYS | {"AWS_ENDPOINT_URL": endpoint, "AWS_CONFIG_FILE": "/nonexistent",
                   "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}


def send_folder(url: str, folder: Path, name: str, piece: int = PIECE) -> None:
    """Put every file of a folder below a name."""
    names = {path: path.relative_to(folder).as_posix() for path in walk_files(folder)}
    send_files(Bucket(url), {f"{name}/{one}": path for path, one in names.items()}, piece)


def make_bucket(endpoint: str, name: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()


@dataclass
class Proxy:
    """Fails a share of requests before, behind or within a server. told: how often which fault was made."""

    behind: str
    share: float = 0.3
    faults: tuple[str, ...] = FAULTS
    seed: int = 0
    told: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def fault(self) -> str:
        with self.lock:
            self.requests += 1
            fault = self.chance.choice(self.faults) if self.chance.random() < self.share else ""
            if fault:
                self.told[fault] = self.told.get(fault, 0) + 1
            return fault

    @contextmanager
    def address(self) -> Iterator[str]:
        handler = type("Handler", (Handler,), {"proxy": self})
        listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        listening.daemon_threads = True
        listening.handle_error = lambda request, address: None  # type: ignore[method-assign]
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            listening.server_close()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Passes one request on."""

    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault()
        if fault in ("busy", "slow down"):
            content = SLOW if fault == "slow down" else b""
            self.answer(503, {"Content-Length": str(len(content))}, b"" if self.command == "HEAD" else content)
        elif fault == "reset":
            self.reset()
        elif fault == "body cut" and body:
            self.forward(body[: len(body) // 2])
            self.reset()
        else:
            self.relay(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

    def relay(self, body: bytes, fault: str) -> None:
        """Forward, and answer with what came, or with less or something else."""
        whole = "?" not in self.path and not any(name.lower().startswith("if-") for name in self.headers)
        if fault == "body changed" and body and (whole or "partNumber" in self.path):
            body = flipped(body, self.proxy.chance)
        status, headers, content = self.forward(body)
        if fault == "answer lost":
            self.reset()
        elif fault == "answer cut" and len(content) > 1:
            self.answer(status, headers, content[: len(content) // 2])
            self.reset()
        else:
            changed = fault == "answer changed" and self.command == "GET" and "?" not in self.path and content
            self.answer(status, headers, flipped(content, self.proxy.chance) if changed and status < 300 else content)

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.behind).netloc, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body)
        if len(body) < int(self.headers.get("Content-Length") or 0):
            connection.close()
            return 0, {}, b""
        answer = connection.getresponse()
        content = answer.read()
        headers = {name: value for name, value in answer.getheaders()
                   if name.lower() not in ("connection", "transfer-encoding", "server", "date")}
        connection.close()
        return answer.status, headers, content

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)

