"""Starting and stopping the services: programs, ports, passwords, and what the object store keeps."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from processes import until

from components.errors import UserError
from pipeline.services import facts, programs
from pipeline.services.command import checked_store
from pipeline.services.objects import ask, listed
from pipeline.services.processes import Server, launch, running, stop


def test_an_object_store_that_is_killed_or_stopped_has_its_objects_again(tmp_path: Path) -> None:
    known = facts.Facts(ports={"objects": facts.free_port()})
    url = f"http://127.0.0.1:{known.ports['objects']}/{programs.BUCKET}"
    server = programs.objects(tmp_path, known)
    contents = {"a/model.bin": bytes(range(256)) * 40, "with space & ü/n%41me": b"x", "gone": b"soon"}
    with launched(server, tmp_path) as process:
        for key, content in contents.items():
            ask("PUT", f"{url}/{quote(key)}", content, "text/x-cask")
        until(lambda: len(kept_index(tmp_path)) == 3)
        process.kill()
    with launched(server, tmp_path) as process:
        assert {key for key, _ in listed(url)} == contents.keys()
        assert all(ask("GET", f"{url}/{quote(key)}") == (content, "text/x-cask") for key, content in contents.items())
        ask("DELETE", f"{url}/gone")
        ask("PUT", f"{url}/a/model.bin", b"newer")
        process.terminate()
        process.wait(30)
    assert kept_index(tmp_path).keys() == contents.keys() - {"gone"}
    assert sorted(file.read_bytes() for file in (tmp_path / "objects").iterdir() if file.suffix != ".json") == [
        b"newer", b"x"]
    assert running("objects", tmp_path) is None and stop("objects", tmp_path) is False


@contextmanager
def launched(server: Server, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A server that answers, ended in any case."""
    process = launch(server, folder)
    try:
        until(server.ready, 60)
        yield process
    finally:
        process.kill()
        process.wait()


def kept_index(folder: Path) -> dict[str, dict[str, str]]:
    index = folder / "objects/index.json"
    found: dict[str, dict[str, str]] = json.loads(index.read_text()) if index.exists() else {}
    return found


def test_a_program_that_is_missing_is_told_by_its_debian_package(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(UserError) as caught:
        programs.redis(tmp_path, facts.Facts(ports={"redis": 1}, passwords={"redis": "x"}))
    assert (caught.value.cause, caught.value.remedy) == (
        "redis-server is not installed", "apt-get install redis-server")
    (tmp_path / "PG_VERSION").write_text("9.1\n")  # data of a version that is not installed any more
    with pytest.raises(UserError, match="is not installed") as caught:
        programs.postgres_program("postgres", tmp_path)
    assert caught.value.remedy == "apt-get install postgresql-9.1"


def test_a_folder_that_the_database_s_user_cannot_enter_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "services").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(UserError, match="may not enter") as caught:
        programs.require_entry(closed / "services", "nobody")
    assert "--folder" in caught.value.remedy
    programs.require_entry(closed / "services", "")


@pytest.mark.parametrize("text", ["mlflo=5001", "mlflow", "mlflow=80", "mlflow=70000", "mlflow=x"])
def test_a_port_that_is_none_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(UserError) as caught:
        facts.port_of(text)
    assert "mlflow=5001" in caught.value.remedy and text in caught.value.cause


def test_ports_stay_and_give_way_only_to_others_with_a_word(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = facts.settle(tmp_path, ["mlflow", "redis"], {})
    assert facts.settle(tmp_path, ["mlflow", "redis"], {}) == first and len(set(first.passwords.values())) == 4
    with socket.create_server(("127.0.0.1", first.ports["mlflow"])):
        with pytest.raises(UserError, match=r"is taken"):
            facts.settle(tmp_path, ["mlflow"], {"mlflow": first.ports["mlflow"]})
        second = facts.settle(tmp_path, ["mlflow", "redis"], {})
    assert second.ports["redis"] == first.ports["redis"] and second.ports["mlflow"] != first.ports["mlflow"]
    assert second.passwords == first.passwords and "is taken; it gets another one" in capsys.readouterr().err


@pytest.mark.parametrize("store", ["bucket", "http://bucket", "s3://", "s3://UPPER"])
def test_only_the_address_of_a_bucket_is_taken_for_a_store(store: str) -> None:
    with pytest.raises(UserError, match="expected s3://BUCKET"):
        checked_store(store)
    assert checked_store("s3://bucket/runs") == "s3://bucket/runs" and checked_store("") == ""


def test_a_store_that_is_named_is_used_and_none_is_started_here(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://objects.example.com")
    known = facts.settle(tmp_path, ["postgresql", "mlflow"], {})
    server = programs.mlflow(tmp_path, known, "s3://bucket/runs", False)
    assert server.command[server.command.index("--artifacts-destination") + 1] == "s3://bucket/runs/mlflow"
    assert server.environment["AWS_ENDPOINT_URL"] == "https://objects.example.com" and "objects" not in known.ports
    assert not [word for word in server.command for secret in known.passwords.values() if secret in word]
