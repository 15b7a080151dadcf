"""`stillhouse track`: send to MLflow what it did not take when it was away."""

import argparse
import os
from pathlib import Path

from components.errors import TryAgain, UserError
from components.tracking.journal import kept_journals
from components.tracking.sender import send_kept
from components.tracking.where import DEFAULTS, shown_uri, without_secrets


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".stillhouse/journal"),
                        help="where the journals are kept (default: .stillhouse/journal)")


def command(options: argparse.Namespace) -> None:
    """Send every journal whose step has ended; TryAgain where MLflow does not answer."""
    if not options.folder.is_dir():
        raise UserError(f"{options.folder} does not exist; nothing was kept for MLflow", "name the folder that was")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    kept = kept_journals(options.folder)
    sent = sum(send(path) for path in kept)
    print(f"{sent} of {len(kept)} journals sent to {shown_uri()}")


def send(path: Path) -> bool:
    """Send one journal; False where its step is still running."""
    from components.tracking.mlflow_client import Refusal

    try:
        return send_kept(path)
    except (Refusal, OSError) as error:
        reason = without_secrets(str(error).splitlines()[0])[:200]
        raise TryAgain(f"{path} could not be sent to {shown_uri()}: {reason}",
                       "check MLFLOW_TRACKING_URI, then: stillhouse track") from None
