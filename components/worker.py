"""`python -m components.worker FOLDER`: one of the processes that do a step together, started by the step itself."""

import json
import os
import sys
from pathlib import Path

from components.contract import load_step, run_step
from components.crew import FACTS, JOB, tell
from components.errors import Exit, Terminated
from components.signals import die_with_parent
from components.training.ranks.seats import seat_of


def main(folder: Path) -> int:
    """Do the part of this rank; facts, or why there are none, are left in the folder."""
    die_with_parent()
    os.dup2(2, 1)  # what a step prints is no part of the facts
    rank = seat_of().rank
    try:
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        step = load_step(job["step"])
        settings = step.settings.model_validate_json(json.dumps(job["settings"]))
        facts = run_step(step, settings, job["section"], {name: Path(path) for name, path in job["paths"].items()})
    except (Exception, Terminated) as error:  # noqa: BLE001 - the one place that ends this program
        code = tell(folder, rank, error)
        sys.stderr.flush()
        os._exit(code)  # taking a broken group apart could wait for ranks that are gone
    if rank == 0:
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
