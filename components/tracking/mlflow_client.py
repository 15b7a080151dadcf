"""The only importer of mlflow: a connection, and what is done over it. Every call may be repeated without harm."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.errors import TryAgain
from components.storage import atomic
from components.storage.locks import locked
from components.tracking.journal import Record, now
from components.tracking.where import artifact_folder, tracking_uri

KIND = "custom_model_development"  # the view for models, not the one for prompts
BATCH = 1000  # metrics a request
SMALL_BATCH = 100  # params or tags a request
Refusal: type[Exception] = MlflowException  # what MLflow raises, for callers that do not import it


class Server:
    """One experiment on an MLflow server or in a database file."""

    def __init__(self, experiment: str, lock: Path) -> None:
        with patiently(lock):
            lay_out(tracking_uri())
            self._client = MlflowClient(tracking_uri())
            self._experiment = self._find_experiment(experiment)
        self._lock = lock

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                tags = {"mlflow.experimentKind": KIND}
                return str(self._client.create_experiment(name, artifact_folder(name), tags))
            except MlflowException:  # made by somebody else in between
                found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise MlflowException(f"experiment {name} was deleted; restore it, or choose another as runtime.experiment")
        return str(found.experiment_id)

    def pipeline(self, key: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of the run that stands for a whole pipeline run, made where there is none."""
        wanted = f"tags.`stillhouse.role` = 'pipeline' and tags.`stillhouse.key` = '{key}'"
        with patiently(self._lock):
            if (known := self._first(wanted)) is not None:
                return known
            self._client.create_run(self._experiment, run_name=name, tags=dict(tags) | {
                "stillhouse.role": "pipeline", "stillhouse.key": key})
            oldest = self._first(wanted)  # on shared servers no lock of ours decides: the oldest of all is the one
            assert oldest is not None
            return oldest

    def child(self, parent: str, journal: str, name: str, started: int) -> str:
        """The id of the run of one step, found by the name of its journal or made."""
        known = self._first(f"tags.`stillhouse.journal` = '{journal}'")
        if known is not None:
            return known
        tags = {"stillhouse.journal": journal, "mlflow.parentRunId": parent}
        return str(self._client.create_run(self._experiment, start_time=started, run_name=name, tags=tags).info.run_id)

    def sections(self, parent: str) -> set[str]:
        """The sections whose children of a pipeline run have finished."""
        tags = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'FINISHED'"
        runs = self._client.search_runs([self._experiment], tags, max_results=BATCH)
        return {run.data.tags.get("stillhouse.section", "") for run in runs}

    def _first(self, wanted: str) -> str | None:
        order = ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment], wanted, max_results=1, order_by=order)
        return str(found[0].info.run_id) if found else None

    def describe(self, run: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set params and tags of a run."""
        known = self._client.get_run(run).data.params if params else {}  # MLflow refuses to change one
        fresh = [Param(name, value[:6000]) for name, value in params.items() if name not in known]
        for some in chunks(fresh, SMALL_BATCH):
            self._client.log_batch(run, params=some)
        for some in chunks([RunTag(name, value[:5000]) for name, value in tags.items()], SMALL_BATCH):
            self._client.log_batch(run, tags=some)

    def metrics(self, run: str, values: Iterable[tuple[str, float, int, int]]) -> None:
        """Send metrics: name, value, milliseconds, step."""
        for some in chunks([Metric(*value) for value in values], BATCH):
            self._client.log_batch(run, metrics=some)

    def datasets(self, run: str, inputs: Iterable[Record]) -> None:
        """Say which data a run read."""
        found = [DatasetInput(Dataset(one["name"], one["digest"][:32], "stillhouse", one["source"]),
                              [InputTag("mlflow.data.context", one["context"])]) for one in inputs]
        if found:
            self._client.log_inputs(run, found)

    def artifact(self, run: str, path: Path, folder: str) -> None:
        """Send a file or the files of a folder."""
        if path.is_dir():
            self._client.log_artifacts(run, str(path), folder)
        else:
            self._client.log_artifact(run, str(path), folder or None)

    def end(self, run: str, status: str, time_ms: int | None = None) -> None:
        """Close a run."""
        self._client.set_terminated(run, status, time_ms if time_ms is not None else now())

    def start(self, run: str) -> None:
        """Say that a run goes on."""
        self._client.update_run(run, status="RUNNING")


def lay_out(uri: str) -> None:
    """Make a database file that does not exist yet, elsewhere and then at one blow.

    MLflow makes its tables in a hundred commits: seconds on a disk, and a database beyond repair after a kill.
    """
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if not uri.startswith("sqlite:///") or path.exists():
        return
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder is made in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        made = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        atomic.write_file(path, made.read_bytes())


@contextmanager
def patiently(lock: Path, seconds: float = 20.0) -> Iterator[None]:
    """Hold a lock of ours that others hold for moments only."""
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked([lock]))
                break
            except TryAgain:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def chunks(values: list[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive parts of a list."""
    for start in range(0, len(values), size):
        yield values[start : start + size]

