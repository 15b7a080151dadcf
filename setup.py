"""The wheel holds one package, `stillhouse`, with this tree in it: no common name is put beside other packages."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# What the program and a user's own repository are made from; folders whole.
TREE = ("components", "pipeline", "infra/kubeflow.yaml", "infra/retrain.yaml", "docs/kubeflow.md",
        "docs/kubeflow.schema.json", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config")


def tree_files() -> list[Path]:
    """The files of the tree, relative to this folder."""
    found = [Path(name) for name in TREE if Path(name).is_file()]
    for folder in filter(Path.is_dir, map(Path, TREE)):
        found += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(found)


class WithTree(build_py):
    """Puts the tree into the package; into nothing but a fresh folder, so that no file of an earlier build stays."""

    def run(self) -> None:
        """Build."""
        if self.editable_mode:
            return super().run()
        package = Path(self.build_lib) / "stillhouse"
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        for path in tree_files():
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, package / path)
        return None

    def get_source_files(self) -> list[str]:
        """What belongs into a source distribution."""
        return [*super().get_source_files(), *map(str, tree_files())]


os.umask(0o022)  # modes are part of a wheel's bytes
setup(packages=["stillhouse"], package_data={"stillhouse": ["py.typed"]}, cmdclass={"build_py": WithTree})
