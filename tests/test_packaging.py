"""What is built of this tree: one package with everything in it, the same bytes every time, and at home anywhere."""

import tomllib
import zipfile
from pathlib import Path

import pytest
from imports import ROOT
from wheels import Installed, build, copy_source, install, source_files

BESIDE = "import stillhouse, sys; from components.data.settings import Data; print(sys.modules['components'].__file__)"
TEMPLATES = ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("installed") / "venv")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_puts_one_name_beside_other_packages(wheel: Path) -> None:
    assert {name.split("/")[0] for name in contents(wheel)} == {
        "stillhouse", f"stillhouse-{version()}.dist-info"}


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def test_the_wheel_holds_the_tree_to_the_byte_and_nothing_of_tests(wheel: Path) -> None:
    held = {name.removeprefix("stillhouse/"): content for name, content in contents(wheel).items()
            if name.startswith("stillhouse/")}
    code = [name for name in source_files() if name.startswith(("components/", "pipeline/"))]
    assert set(held) >= {*code, *TEMPLATES, "py.typed", "__init__.py", "__main__.py"}
    assert all((ROOT / name).read_bytes() == held[name] for name in [*code, *TEMPLATES])
    folders = {name.split("/")[0] for name in held if "/" in name}
    assert folders <= {"components", "pipeline", "infra", "docs", ".dvc"}


def test_builds_elsewhere_and_after_others_give_the_same_bytes(source: Path, wheel: Path, tmp_path: Path) -> None:
    other = copy_source(tmp_path / "other")
    left = other / "build/lib/stillhouse/components/gone.py"
    left.parent.mkdir(parents=True)
    left.write_text("a module that an earlier build has left behind\n")
    (other / "components/__pycache__").mkdir()
    (other / "components/__pycache__/cli.pyc").write_bytes(b"old")
    assert build(other, tmp_path / "again").read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    import tarfile

    archive = build(source, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    assert build(folder, tmp_path / "again").read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_an_installed_program_tells_its_version_and_its_pipeline_commands(installed: Installed, tmp_path: Path) -> None:
    assert installed.run("stillhouse", "--version", cwd=tmp_path) == f"stillhouse {version()}\n"
    assert installed.run(installed.python, "-m", "stillhouse", "--version", cwd=tmp_path).endswith(f"{version()}\n")
    assert "compile" in installed.run("stillhouse", "pipeline", "--help", cwd=tmp_path)


@pytest.mark.slow
def test_packages_of_the_same_names_elsewhere_neither_harm_nor_are_harmed(installed: Installed, tmp_path: Path) -> None:
    for name in ("components", "pipeline"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("theirs = True\n")
    theirs = "import components, pipeline; assert components.theirs and pipeline.theirs"
    installed.run(installed.python, "-c", theirs, cwd=tmp_path)
    for program in (["stillhouse"], [installed.python, "-m", "stillhouse"]):
        assert "\n  train " in installed.run(*program, "--help", cwd=tmp_path)
    found = installed.run(installed.python, "-c", BESIDE, cwd=tmp_path).strip()
    assert Path(found) == installed.packages / "stillhouse/components/__init__.py"
    late = installed.run(installed.python, "-c", f"import components; {BESIDE}", cwd=tmp_path, code=1)
    assert "another package called components is loaded already" in late


@pytest.mark.slow
def test_nothing_is_importable_under_a_common_name_until_stillhouse_is_asked_for(
        installed: Installed, tmp_path: Path) -> None:
    assert "No module named 'components'" in installed.run(installed.python, "-c", "import components", cwd=tmp_path,
                                                           code=1)


@pytest.mark.slow
def test_an_editable_install_runs_the_working_copy(source: Path, tmp_path: Path) -> None:
    editable = install(build(source, tmp_path / "wheel", "editable"), tmp_path / "venv")
    found = editable.run(editable.python, "-c", BESIDE, cwd=tmp_path).strip()
    assert Path(found) == source.resolve() / "components/__init__.py"
    assert "\n  train " in editable.run("stillhouse", "--help", cwd=tmp_path)
