"""Where MLflow is, and how long it may keep us."""

import os
import re

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
    """MLFLOW_TRACKING_URI, else a database file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


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
