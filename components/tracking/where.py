"""Where MLflow is, and how long it may keep us."""

import os
import re
from pathlib import Path

# One call to a dead server blocks for four minutes under MLflow's own defaults; what the user sets stays.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
}


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else a database file in the folder of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_folder(Path.cwd())}mlflow.db"


def project_folder(path: Path) -> str:
    """The project that a path lies in if DVC runs a queued experiment there, in a copy that it removes; else "".

    >>> project_folder(Path("/home/me/garments/.dvc/tmp/exps/tmpx1/.stillhouse")), project_folder(Path("/home/me"))
    ('/home/me/garments/', '')
    """
    before, found, _ = path.as_posix().partition(".dvc/tmp/exps/")
    return before if found else ""


def artifact_folder(experiment: str) -> str | None:
    """Where the files of runs go that a database of our own choice lists; None leaves it to the server."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    folder = Path(project_folder(Path.cwd()) or Path.cwd()) / "mlartifacts" / re.sub(r"[^\w.-]", "_", experiment)
    return folder.as_uri()


def parent_lock(journal: Path) -> Path:
    """What processes lock that look for the run of a pipeline, beside the folder of journals."""
    project = project_folder(journal.absolute())
    return (Path(project) / ".stillhouse" if project else journal.parent.parent) / "mlflow-parent"


def shown_uri() -> str:
    """The same without what may be secret in it."""
    return without_secrets(tracking_uri().partition("?")[0])


def without_secrets(text: str) -> str:
    """A text with user names and passwords taken out of the addresses in it.

    >>> without_secrets("no answer from https://me:secret@host:5000/x")
    'no answer from https://host:5000/x'
    """
    return re.sub(r"://[^/\s]*@", "://", text)


def environment() -> dict[str, str]:
    """The environment of a process that speaks to MLflow."""
    return DEFAULTS | dict(os.environ)
