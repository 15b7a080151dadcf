"""How a step runs: machine, processes, folders, tracking; nothing of it may change a result."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings import From, Settings

HERE = ".stillhouse/work"


class Runtime(Settings):
    """How, not what: nothing here may change a result, so no digest sees it."""

    threads: int = Field(0, ge=0, description="CPU threads for computing; 0 takes all that the machine grants")
    workers: int = Field(0, ge=0, description="loader processes for per-sample policies; 0 loads in the step itself")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run; auto: a GPU if present")
    devices: int | tuple[int, ...] = Field(0, description=(
        "processes on this machine, one a GPU: of a training, which share each batch, or of teach, which share shards; "
        "or numbers of GPUs, as [0, 2]; 0: all GPUs, or one process on CPUs"))
    nodes: int = Field(1, ge=1, description="machines that train together; the same command is run on each")
    node: int = Field(0, ge=0, description="number of this machine among nodes; machine 0 writes the artifacts")
    rendezvous: str = Field("", description="HOST:PORT of machine 0, with several nodes")
    rank_seconds: float = Field(600.0, gt=0, description=(
        "longest time that processes of a training wait for one another"))
    work: str = Field(HERE, description=(
        "folder for the state of interrupted steps; s3://bucket/prefix keeps it there too, for another machine"))
    cache: str = Field(".stillhouse/cache", description="folder for what the next run need not decode again")
    reports: str = Field("reports", description="folder for run.json, the facts that are no artifact")
    tracking: bool = Field(True, description="send runs to MLflow (MLFLOW_TRACKING_URI, or sqlite:///mlflow.db)")
    experiment: str = Field("stillhouse", description="name of the MLflow experiment")
    checkpoint_seconds: float = Field(30.0, ge=0, description=(
        "time between saved states of a training, 0: one before every step; more where saving is slow, but never "
        "beyond 60 s or 1 % of the run"))
    keep: int = Field(0, ge=0, description=(
        "epochs between models that are kept in WORK/../kept, beside the best and the last; 0 keeps none"))
    tensorboard: str = Field("", description="folder for TensorBoard's files of trainings; empty writes none")
    diverged: float = Field(5.0, ge=0, description=(
        "a loss that stays above this many times its start stops the training; 0: only one that is no number does"))

    def work_here(self) -> Path:
        """The folder on this machine for the state of interrupted steps, wherever else it is kept."""
        return Path(HERE if "://" in self.work else self.work)

    @model_validator(mode="after")
    def _ranks_fit(self) -> "Runtime":
        listed = self.devices if isinstance(self.devices, tuple) else (self.devices,)
        if min(listed, default=-1) < 0 or len(set(listed)) < len(listed):
            raise ValueError("devices as a number from 0 on, or a list of different numbers of GPUs")
        if self.node >= self.nodes:
            raise ValueError(f"node below nodes: from 0 to {self.nodes - 1}")
        if self.nodes > 1 and not re.fullmatch(r".+:\d+", self.rendezvous):
            raise ValueError("rendezvous as HOST:PORT of machine 0, such as node-0:29500, with several nodes")
        return self


SharedRuntime = Annotated[Runtime, From("runtime"), Field(exclude=True)]
