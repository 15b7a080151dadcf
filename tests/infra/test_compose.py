"""compose.yaml: no password of ours, nothing open beyond the loopback, and everything that it names is there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from imports import ROOT

FILE = ROOT / "infra/compose.yaml"
WHOLE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
ENDS = {"bucket"}  # does its work and is gone


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_asked_for_and_have_no_default(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if any(word in variable for word in ("PASSWORD", "SECRET", "_KEY")):
            assert re.fullmatch(r"\$\{[A-Z_]+:\?set [A-Z_]+, .*for example in \.env\}", value), variable
    words = [*SERVICES[name].get("command", []), *SERVICES[name].get("entrypoint", [])]
    assert not [word for word in words if re.search(r"(?<!\$)\$\{?(?!MLFLOW_(ALLOWED|PORT))[A-Z_]", word)]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_reached_from_this_machine_alone_and_keeps_its_hands_off_the_rest(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert name == "objects" or not service["user"].startswith("0:")
    image = re.fullmatch(r"\$\{[A-Z]+_IMAGE:-([^}]+)\}", service["image"])
    assert image and image[1].partition(":")[2] not in ("", "latest")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_those_it_needs_and_says_when_it_is_ready(name: str) -> None:
    service = SERVICES[name]
    assert (name in ENDS) != ("healthcheck" in service) and (name in ENDS) != (service.get("restart") is not None)
    for other, how in service.get("depends_on", {}).items():
        awaited = "service_completed_successfully" if other in ENDS else "service_healthy"
        assert SERVICES[other] and how == {"condition": awaited}


def test_what_services_mount_and_join_is_declared() -> None:
    used = {"volumes": set(), "networks": set(), "configs": set()}
    for service in SERVICES.values():
        used["volumes"] |= {volume.partition(":")[0] for volume in service.get("volumes", [])}
        used["networks"] |= set(service["networks"])
        used["configs"] |= {config["source"] for config in service.get("configs", [])}
    assert used == {kind: set(WHOLE[kind]) for kind in used}
    assert all((FILE.parent / config["file"]).is_file() for config in WHOLE["configs"].values())
    assert "outside" not in SERVICES["postgresql"]["networks"] and WHOLE["networks"]["inside"] == {"internal": True}


def test_the_head_of_the_file_says_how_it_is_started_and_docs_name_every_secret() -> None:
    text = FILE.read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    page = (ROOT / "docs/services.md").read_text(encoding="utf-8")
    assert asked and not [name for name in asked if f"{name}=" not in page]


def test_docker_compose_itself_understands_the_file(tmp_path: Path) -> None:
    if shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], capture_output=True,
                                                        check=False).returncode:
        pytest.skip("docker compose is not installed")
    variables = tmp_path / "env"
    names = set(re.findall(r"\$\{([A-Z_]+):\?", FILE.read_text(encoding="utf-8")))
    variables.write_text("".join(f"{name}=for-this-test-only\n" for name in names))
    command = ["docker", "compose", "--file", str(FILE), "--env-file", str(variables), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
