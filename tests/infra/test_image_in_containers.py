"""The image, built by a real engine: the whole pipeline in containers of it, and what must not be in it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from copies import TINY, Project, make_project
from imports import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TOOL = ROOT.parent / "shared/tools/container-engine"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CANARY = "kestrel-that-nobody-may-see-4711"
NAME = "stillhouse:image-test"


@dataclass(frozen=True)
class Engine:
    """A running engine and the client that speaks to it."""

    client: str
    environment: dict[str, str] = field(default_factory=dict)

    def docker(self, *arguments: str, check: bool = True) -> str:
        """What a command of the client prints."""
        done = subprocess.run([self.client, *arguments], env=os.environ | self.environment, text=True, timeout=600,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0 or not check, done.stdout[-4000:]
        return done.stdout

    def answers(self) -> bool:
        """Whether an engine is there."""
        return "Server Version" in self.docker("info", check=False)

    def run(self, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """What a container prints that is held as a cluster holds it; its entry point is the image's own."""
        held = ("--rm", "--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
        return self.docker("run", *held, *options, NAME, *arguments)

    def python(self, code: str, *options: str) -> str:
        """What some Python in a container prints."""
        return self.run("-c", code, options=("--entrypoint", "python3", *options))

    def facts(self, template: str, name: str = NAME) -> str:
        """What the engine knows of an image or container."""
        return self.docker("inspect", "--format", template, name).strip()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The engine that runs, or one that is started for these tests and ended after them."""
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else shutil.which("docker")
    if client is not None and (running := Engine(client)).answers():
        yield running
        return
    if not TOOL.exists() or os.getuid():
        pytest.skip("no container engine runs here, and none can be started")
    home = Path(os.environ.get("CONTAINER_ENGINE_HOME", "/var/tmp/container-engine"))
    there = Engine("/usr/bin/docker", {"DOCKER_HOST": f"unix://{home}/docker.sock"})
    found = Path(there.client).exists() and there.answers()
    done = subprocess.run([TOOL, "up"], text=True, capture_output=True, timeout=1200)
    if done.returncode:
        pytest.skip(f"no container engine could be started: {done.stderr[-300:]}")
    yield there
    if not found:
        subprocess.run([TOOL, "down"], timeout=60, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree with its commits, in which secrets lie about as they do."""
    folder = tmp_path_factory.mktemp("image") / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in (".env", "components/.env", "pipeline/.netrc", "infra/id_rsa", "data/raw/labels.csv", "mlflow.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"PASSWORD={CANARY}\n")
    return folder


def build(engine: Engine, checkout: Path, name: str = NAME) -> None:
    """`make image`; certificates and pip's settings reach it as secrets, with the canary in them."""
    certificates, settings = checkout.parent / "certificates", checkout.parent / "pip.conf"
    certificates.write_text((CERTIFICATES.read_text() if CERTIFICATES.exists() else "") + f"# {CANARY}\n")
    settings.write_text(f"[global]\ntimeout = 60\n# {CANARY}\n")
    done = subprocess.run(
        ["make", "image", f"IMAGE={name}", f"DOCKER={engine.client}", "NETWORK=host",
         f"CERTIFICATES={certificates}", f"PIP_CONF={settings}"],
        cwd=checkout, env=os.environ | engine.environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="module")
def image(engine: Engine, checkout: Path) -> Iterator[Engine]:
    """The engine, once it has the image."""
    build(engine, checkout)
    yield engine
    engine.docker("image", "rm", "--force", NAME)


def test_the_labels_tell_the_commit_the_lock_and_that_not_all_was_committed(image: Engine, checkout: Path) -> None:
    labels = json.loads(image.facts("{{json .Config.Labels}}"))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True)
    lock = subprocess.run(["sha256sum", "requirements.lock"], cwd=checkout, check=True, capture_output=True, text=True)
    assert labels["org.opencontainers.image.revision"] == commit.stdout.strip()
    assert labels["com.example.stillhouse.lock"] == f"sha256:{lock.stdout.split()[0]}"
    assert labels["com.example.stillhouse.dirty"] == "true"
    assert f"stillhouse {labels['org.opencontainers.image.version']}" == image.run("--version").strip()


def test_no_secret_is_in_any_layer_or_in_what_the_image_says_of_itself(image: Engine) -> None:
    said = image.docker("history", "--no-trunc", NAME) + image.facts("{{json .}}")
    assert CANARY not in said
    assert "index-url" not in said and "find-links" not in said and "://" not in said
    known = b"Store what each teacher says of every sample and view"
    assert found_in_layers(image, CANARY.encode(), known) == {known}


def found_in_layers(engine: Engine, *texts: bytes) -> set[bytes]:
    """Which of some bytes stand anywhere in the layers of the image."""
    found: set[bytes] = set()
    tail = b""
    with subprocess.Popen([engine.client, "save", NAME], env=os.environ | engine.environment,
                          stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        while chunk := saving.stdout.read(1 << 24):
            found |= {text for text in texts if text in chunk or text in tail + chunk[:len(text)]}
            tail = chunk[-max(map(len, texts)):]
    assert saving.returncode == 0
    return found


def test_nothing_in_it_builds_fetches_settings_or_makes_another_user(image: Engine) -> None:
    tools = ["gcc", "g++", "cc", "c++", "clang", "ld", "as", "make", "cmake", "nvcc", "pip.conf", ".env"]
    names = ["(", *" -o ".join(f"-name {tool}" for tool in tools).split(), ")"]
    held = ("--user=0", "--entrypoint", "find")
    programs = image.run("/", "-xdev", *names, "-not", "-type", "d", options=held).split()
    assert [one for one in programs if "/share/" not in one] == []
    assert image.run("/", "-xdev", "-type", "f", "-perm", "/6000", options=held) == ""
    writable = image.run("/opt", "-xdev", "-perm", "/0002", "-not", "-type", "l", options=held)
    assert writable == "", "nobody changes the program"


def test_what_is_installed_fits_together(image: Engine) -> None:
    code = ("import subprocess, sys; base = sys.base_prefix + '/bin/python3';"
            "sys.exit(subprocess.run([base, '-m', 'pip', '--python', sys.executable, 'check']).returncode)")
    assert "No broken requirements found" in image.python(code)


@pytest.mark.parametrize("user", ["10001:10001", "54321:0"])
def test_any_user_can_run_it_over_a_root_that_is_only_read(image: Engine, tmp_path: Path, user: str) -> None:
    settings = tmp_path / "params.yaml"
    settings.write_text(TINY.replace("tracking: false, ", ""))
    settings.chmod(0o644)
    tmp_path.chmod(0o755)
    steps = ("stillhouse sample --data data/raw && stillhouse validate --manifest m --report r.html --metrics m.json"
             " && stillhouse index --manifest m --dataset d --metrics i.json"
             " && stillhouse track && ls -d d/receipt.json mlflow.db && id -u")
    said = image.run("-ec", steps, options=("--user", user, "--entrypoint", "sh", "--mount",
                                            f"type=bind,source={settings},target=/workspace/params.yaml,readonly"))
    assert said.split()[-3:] == ["d/receipt.json", "mlflow.db", user.split(":")[0]]


def test_caches_of_libraries_go_where_can_be_written(image: Engine) -> None:
    code = ("import getpass, matplotlib, torch, tempfile;"
            "from torch._inductor.runtime.cache_dir_utils import cache_dir;"
            "from huggingface_hub.constants import HF_HOME;"
            "print(getpass.getuser(), matplotlib.get_cachedir(), torch.hub.get_dir(), cache_dir(), HF_HOME)")
    name, *folders = image.python(code, "--user=54321:54321", "--tmpfs=/tmp").split()
    assert name == "stillhouse"
    assert all(folder.startswith("/tmp/") for folder in folders), folders


def health(image: Engine, *words: str) -> str:
    """What the engine thinks of a container's health once it has asked."""
    container = image.docker(
        "run", "--detach", "--network=host", "--health-interval=1s", "--health-retries=1", "--health-start-period=1ms",
        "--env=STILLHOUSE_HEALTH_URL=http://127.0.0.1:9/v2/health/ready", "--entrypoint=python3", NAME,
        "-c", "import time; time.sleep(120)", *words).strip()
    try:
        end = time.monotonic() + 90
        while (state := image.facts("{{.State.Health.Status}}", container)) == "starting" and time.monotonic() < end:
            time.sleep(0.5)
        return state
    finally:
        image.docker("rm", "--force", "--volumes", container)


def test_the_engine_asks_a_service_for_its_health_and_lets_steps_work(image: Engine) -> None:
    assert health(image, "stillhouse", "train", "student") == "healthy"
    assert health(image, "stillhouse", "serve") == "unhealthy", "nothing listens there"


def test_new_code_makes_one_new_layer(image: Engine, checkout: Path) -> None:
    before = json.loads(image.facts("{{json .RootFS.Layers}}"))
    changed = checkout / "components/commands/summary.py"
    changed.write_text(changed.read_text() + "\n# another version\n")
    build(image, checkout, f"{NAME}-next")
    after = json.loads(image.facts("{{json .RootFS.Layers}}", f"{NAME}-next"))
    image.docker("image", "rm", f"{NAME}-next")
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_the_whole_pipeline_in_containers_gives_what_dvc_repro_and_processes_give(
        image: Engine, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    run(project, "-m", "pipeline", "run-local", "--runner", "docker", "--output-folder", "kubeflow",
        **image.environment, STILLHOUSE_IMAGE=NAME)
    compiled = project.path / "kubeflow/pipeline.yaml"
    assert f"image: {NAME}" in compiled.read_text()
    (contained,) = (project.path / "kubeflow").glob("stillhouse-*")
    owners = {path.stat().st_uid for path in contained.rglob("*")}
    assert owners == {os.getuid() or 10001}, "all of it was written in containers"
    in_processes = run_in_processes(project, compiled)
    sealed = {path.relative_to(contained): path.read_bytes() for path in contained.rglob("receipt.json")}
    assert sealed == {path.relative_to(in_processes): path.read_bytes() for path in in_processes.rglob("receipt.json")}
    run(project, "-m", "dvc", "repro", "-q")
    assert set(project.receipts().values()) <= set(sealed.values())
    for task in ("validate", "index", "student", "teach", "distill", "evaluate", "export"):
        ours = (project.path / f"reports/{task}/metrics.json").read_bytes()
        assert (contained / task / "metrics").read_bytes() == ours, task


def run(project: Project, *command: str, **environment: str) -> None:
    """Run some Python in a project to its end, which machines that others use too are given time for."""
    done = subprocess.run([sys.executable, *command], cwd=project.path, env=project.environment | environment,
                          text=True, timeout=1500, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-6000:]


def run_in_processes(project: Project, compiled: Path) -> Path:
    """Run the very same file in processes; the folder of its artifacts."""
    code = ("import sys; from pathlib import Path; from pipeline.kubeflow import run_here;"
            "run_here(*map(Path, sys.argv[1:]))")
    folder = project.path / "processes"
    folder.mkdir()
    run(project, "-c", code, str(compiled), str(folder))
    (found,) = folder.glob("stillhouse-*")
    return found
