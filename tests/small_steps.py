"""A step small enough to be killed a thousand times: it ferments sugar. Also a program: `python small_steps.py`.

What goes wrong is said by BREW: fail, forget, hang, resume, grow, tamper.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from components.contract import Input, Inputs, Output, Port, Step, deferred_termination, note, run_step, work_folder
from components.errors import UserError
from components.runtime import Runtime, SharedRuntime
from components.settings import Settings
from components.tracking.journal import log_figure, log_metrics

QUIET = Runtime(tracking=False)


class Brew(Settings):
    strength: int = 1
    washes: tuple[str, ...] = ()
    runtime: SharedRuntime = QUIET


def brew(settings: Brew, /, *, sugar: Input, wash: Output, metrics: Output) -> None:
    """Ferment."""
    mood = os.environ.get("BREW", "")
    wash.mkdir()
    (wash / "part.bin").write_bytes(b"\1" * settings.strength)
    if mood == "fail":
        raise UserError("the wash boiled over", "cool it")
    if mood == "hang":
        Path("hanging").write_text(str(os.getpid()))
        time.sleep(60)
    if mood == "resume":
        go_on()
    if mood == "grow":
        (wash / "big.bin").write_bytes(b"\0" * (8 << 20))
    if mood == "tamper":
        (sugar / "cane.txt").write_text("salt")
    (wash / "wash.json").write_text(json.dumps({"schema": 1, "kind": "wash"}))
    if mood != "forget":
        metrics.write_text(json.dumps({"strength": settings.strength, "test": {"taste": 0.5}}))
    for epoch in range(3):
        log_metrics({"loss": 1 / (epoch + 1)}, epoch)
    log_figure("plots/curve.png", b"\x89PNG\r\n\x1a\n")
    note("litres_per_second", 2.5)


def go_on() -> None:
    """Count to a thousand, keeping the count where an interrupted step finds it again."""
    state = work_folder() / "count"
    count = int(state.read_text()) if state.exists() else 0
    Path("began").write_text(str(count))
    with deferred_termination() as stop:
        while count < 200 and not stop():
            count += 1
            time.sleep(0.01)
        state.write_text(str(count))


def still(settings: Brew, /, *, washes: Inputs, spirit: Output) -> None:
    """Blend washes, by name."""
    spirit.mkdir()
    (spirit / "spirit.json").write_text(json.dumps({"schema": 1, "kind": "spirit", "of": list(washes)}))


BREW = Step("brew", brew, Brew, {"sugar": Port("input"), "wash": Port("output"), "metrics": Port("output")})
STILL = Step("still", still, Brew, {"washes": Port("inputs"), "spirit": Port("output")})


def paths(root: Path) -> dict[str, Path]:
    """Where a brew reads and writes below a folder; the sugar is put there."""
    sugar = root / "sugar"
    sugar.mkdir(parents=True, exist_ok=True)
    if not (sugar / "cane.txt").exists():
        (sugar / "cane.txt").write_text("sweet")
    return {"sugar": sugar, "wash": root / "data" / "wash", "metrics": root / "reports" / "brew" / "metrics.json"}


def run_brew(root: Path, settings: Brew | None = None, step: Step = BREW) -> dict[str, Any]:
    """One brew below a folder."""
    return run_step(step, settings or Brew(), "brew", paths(root))


def program() -> int:
    """One brew in the current folder, under the rules of the real program."""
    from components.cli import guarded
    from components.signals import die_with_parent

    def work() -> int:
        if "DVC_STAGE" in os.environ:
            die_with_parent()
        run_brew(Path(), Brew(runtime=Runtime(tracking="--tracking" in sys.argv)))
        return 0

    return guarded(work, debug="--debug" in sys.argv)


if __name__ == "__main__":
    sys.exit(program())
