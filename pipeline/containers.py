"""How a run of the compiled pipeline on this machine starts its tasks in containers of the image.

They are held as a cluster would hold them: no root, no capabilities, a root file system that is only read. What they
share with this machine is the output folder, the images, which they may only read, and the network, so that an MLflow
on the loopback address is reached.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.settings import Params
from pipeline.inputs import own_source

USER = 10001  # the image's own, where the caller is root
FAILED = ".failed"
PASSED_ON = ("AWS_", "MLFLOW_", "STILLHOUSE_", "OMP_", "MKL_")
# The image's entry point is `stillhouse`, tasks bring a whole command. kfp.local takes a container that is gone before
# it was asked for its exit code for one that succeeded, so a failure also leaves a file, whose name is $0.
COMMAND = '"$@" || { code=$?; echo "$code" > "$0"; exit "$code"; }'


def started_with(root: Path, params: Params, environment: Mapping[str, str]) -> dict[str, Any]:
    """What each container is started with, in the words of Docker's SDK; the output folder becomes its user's."""
    if find_spec("docker") is None:
        raise UserError("Docker's SDK for Python is not installed", "pip install docker")
    user, group = (os.getuid(), os.getgid()) if os.getuid() else (USER, USER)
    os.chown(root, user, group)
    (root / FAILED).unlink(missing_ok=True)
    return {
        "entrypoint": ["sh", "-c", COMMAND, str(root / FAILED)],
        "user": f"{user}:{group}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": "host",
        "shm_size": "1g",
        "working_dir": str(root),
        "environment": {name: value for name, value in environment.items() if name.startswith(PASSED_ON)},
        "mounts": [{"Type": "bind", "Source": path, "Target": path, "ReadOnly": True} for path in read_places(params)],
    }


def read_places(params: Params) -> list[str]:
    """The folders and files of this machine that tasks read besides the output folder, at the same paths as here."""
    root = str(params.setting("data.root"))
    if root and not Path(root).is_absolute():
        raise UserError(f"data.root is {root}, and containers do not run in this folder",
                        f"name it whole: --set data.root={Path(root).absolute()}")
    named = [own_source(params), root, str(params.setting("promote.registry"))]
    here = {str(Path(place).absolute()) for place in named if place and "://" not in place}
    return sorted(place for place in here if Path(place).exists())


def refuse_failures(root: Path) -> None:
    """RuntimeError where a container of the run failed."""
    file = root / FAILED
    if file.exists():
        raise RuntimeError(f"a task's container ended with exit code {file.read_text(encoding='utf-8').strip()}")
