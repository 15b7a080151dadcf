"""The compiled pipeline as it is handed to a server: its bytes, what they are called, and the settings in them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.settings import Params
from components.storage.digests import file_digest
from components.tracking.keys import git_commit
from pipeline.cluster import Cluster
from pipeline.compiling import planned
from pipeline.inputs import own_source, run_inputs


@dataclass(frozen=True)
class Package:
    """A compiled pipeline. digest: SHA-256 of the file; commit: "" outside git; inputs: of a run, by name."""

    file: Path
    digest: str
    commit: str
    inputs: dict[str, Any]

    def version(self, pipeline: str) -> str:
        """The name of its version: equal names mean equal bytes. It may name an object in Kubernetes, too."""
        return f"{pipeline}-{self.commit[:12] or 'no-commit'}-{self.digest[:12]}"

    @property
    def tags(self) -> dict[str, str]:
        """What a server may list versions by; at most 63 characters each."""
        return {"commit": self.commit or "none", "digest": self.digest[:32]}


def package_of(params: Params, cluster: Cluster, folder: Path, pinned: bool = True) -> Package:
    """Compile the pipeline into a folder. pinned: for the data that are there now, and no later ones."""
    from pipeline.kubeflow import compile_pipeline

    there, shape = planned(params, cluster, pinned)
    refuse_unseen(there, cluster)
    file = folder / "pipeline.yaml"
    compile_pipeline(there, shape, cluster, file)
    return Package(file, file_digest(file), git_commit(), run_inputs(there))


def refuse_unseen(params: Params, cluster: Cluster) -> None:
    """UserError for images in a folder of this machine only."""
    source = None if params.setting("fetch.repository") else own_source(params)
    if source is not None and not cluster.sees(source):
        raise UserError(f"data.path is {source}, which pods do not see",
                        "give an address (--set data.path=s3://bucket/images) or a folder of one of pods.volumes")


def changed_files() -> int:
    """How many files of the working copy differ from its commit; 0 outside git."""
    asked = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=30, check=False)
    return len(asked.stdout.splitlines()) if asked.returncode == 0 else 0
