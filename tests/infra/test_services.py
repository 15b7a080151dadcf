"""Starting and stopping the services: programs, ports, passwords, and what the object store keeps."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from imports import ROOT
from processes import until
from served import missing

from components.errors import UserError
from pipeline.services import facts, programs
from pipeline.services.command import checked_store, exports
from pipeline.services.objects import ask, listed
from pipeline.services.processes import (
    Server,
    beside_proxies,
    launch,
    log_file,
    running,
    shell_environment,
    stop,
)


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


@pytest.mark.parametrize("moved", [{}, {"redis": 1}])
def test_a_port_that_another_service_has_is_refused_before_anything_is_written(
        tmp_path: Path, moved: dict[str, int]) -> None:
    first = facts.settle(tmp_path, list(facts.NAMES), {})
    written = (tmp_path / "facts.json").read_bytes()
    taken = facts.free_port() if moved else first.ports["redis"]  # twice wanted, or that of a stopped one
    wanted = {"mlflow": taken} | dict.fromkeys(moved, taken)
    with pytest.raises(UserError, match=rf"port {taken}, wanted for \w+, is that of \w+") as caught:
        facts.settle(tmp_path, list(facts.NAMES), wanted)
    assert "=NUMBER" in caught.value.remedy and (tmp_path / "facts.json").read_bytes() == written
    other = facts.free_port()
    second = facts.settle(tmp_path, list(facts.NAMES), {"mlflow": first.ports["redis"], "redis": other})
    assert dict(second.ports) == first.ports | {"mlflow": first.ports["redis"], "redis": other}


def test_a_port_for_what_is_not_started_is_not_heeded_and_that_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = facts.free_port()
    known = facts.settle(tmp_path, ["postgresql", "redis", "mlflow"], {"objects": port, "mlflow": port})
    assert known.ports["mlflow"] == port and "objects" not in known.ports
    assert f"warning: --port objects={port} is not heeded" in capsys.readouterr().err


def test_services_that_were_once_given_one_port_are_told_apart_again(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = facts.free_port()
    (tmp_path / "facts.json").write_text(json.dumps({"ports": {"mlflow": port, "redis": port}, "passwords": {}}))
    assert len(set(facts.settle(tmp_path, list(facts.NAMES), {}).ports.values())) == len(facts.NAMES)
    assert f"port {port}, which" in capsys.readouterr().err
    middle = sorted(facts.free_port() for _ in range(9))[4]
    assert all(facts.free_port(range(middle + 1)) > middle for _ in range(9)), "none of those that are spoken for"


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_no_proxy_is_asked_for_the_loopback_by_us_by_servers_or_by_clients(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert beside_proxies() == {}
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "internal.example.com")
    for name, value in beside_proxies().items():
        assert value == "internal.example.com,127.0.0.1,localhost" and shell_environment()[name] == value
        monkeypatch.setenv(name, value)
    assert set(beside_proxies().values()) == {"internal.example.com,127.0.0.1,localhost"}  # told once
    known = facts.settle(tmp_path, list(facts.NAMES), {})
    assert exports(known, "", False)["NO_PROXY"] == os.environ["NO_PROXY"]
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        try:
            assert programs.http_answers(url) and ask("GET", url) == (b"here", "text/plain")
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Path, facts.Facts]]:
    """PostgreSQL alone, laid out."""
    if reason := missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="stillhouse-database-") as place:
        folder = Path(place)
        folder.chmod(0o711)  # where root runs the tests, PostgreSQL is another user
        known = facts.settle(folder, ["postgresql"], {})
        programs.lay_out_postgres(folder, known)
        yield folder, known


@contextmanager
def answering(server: Server, folder: Path) -> Iterator[None]:
    """A server that answers, stopped as it is told to in any case."""
    process = launch(server, folder)
    try:
        until(server.ready, 60)
        yield
    finally:
        stop(server.name, folder)
        process.wait()


def test_the_health_check_of_compose_asks_the_server_that_clients_will_reach(
        database: tuple[Path, facts.Facts]) -> None:
    folder, known = database
    server, place = programs.postgres(folder, known), folder / "postgresql"
    compose = yaml.safe_load((ROOT / "infra/compose.yaml").read_text(encoding="utf-8"))
    kind, program, *words = compose["services"]["postgresql"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "pg_isready")
    # As libpq looks in the image where it is told nothing: at the socket of the image's own folder.
    inside = shell_environment() | {"PGPORT": str(known.ports["postgresql"]), "PGHOST": str(place)}

    def check(*asked: str) -> bool:
        command = [programs.postgres_program(program, place / "data"), *asked]
        return subprocess.run(command, env=inside, check=False, timeout=30).returncode == 0

    alone = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={place}")
    with answering(replace(server, command=server.command + alone, ready=lambda: check("--quiet")), folder):
        assert not check(*words)  # while the image lays the databases out
    with answering(server, folder):
        before = len(log_file("postgresql", folder).read_bytes())
        assert check(*words)
    assert b"FATAL" not in log_file("postgresql", folder).read_bytes()[before:]  # no line for each question


@pytest.mark.parametrize(("name", "value"), [
    ("PGPASSWORD", "of another one"), ("PGSSLMODE", "require"), ("PGSERVICE", "another"), ("PGOPTIONS", "-c no.such")])
def test_what_the_shell_knows_of_another_postgresql_is_not_asked_of_ours(
        database: tuple[Path, facts.Facts], monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    folder, known = database
    monkeypatch.setenv(name, value)
    with answering(programs.postgres(folder, known), folder):
        programs.make_databases(folder, known)
        programs.make_databases(folder, known)  # those that are there are left alone
        for made in programs.DATABASES:
            found = programs.database_client(folder, known, "psql", f"--dbname={made}", "-tAc", "SELECT current_user")
            assert found.strip() == programs.OWNER


def test_a_database_that_cannot_be_made_is_told_in_the_words_of_postgresql(
        database: tuple[Path, facts.Facts]) -> None:
    folder, known = database

    def change(*statements: str) -> None:
        for one in statements:
            programs.database_client(folder, known, "psql", "--dbname=postgres", f"--command={one}")

    with answering(programs.postgres(folder, known), folder):
        programs.make_databases(folder, known)
        change("DROP DATABASE mlflow", "ALTER DATABASE template1 RENAME TO aside")
        with pytest.raises(UserError, match=r'createdb: error: .*"template1" does not exist') as caught:
            programs.make_databases(folder, known)
        assert "postgresql.log" in caught.value.remedy
        change("ALTER DATABASE aside RENAME TO template1")
        (folder / "pgpass").write_text("")  # nobody who starts services is asked for a password
        with pytest.raises(UserError, match="no password supplied"):
            change("SELECT 1")
        programs.make_databases(folder, known)


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
