"""What a training step hands to the loop, by the settings of `runtime`."""

from pathlib import Path

from components.contract import Run, active
from components.runtime import Runtime
from components.surroundings import surroundings


def test_a_run_has_its_curves_its_kept_models_and_its_board_where_the_settings_say(tmp_path):
    run = Run(work=tmp_path / "state" / "work" / "0123456789abcdef", reports=tmp_path / "reports" / "teachers.deep")
    runtime = Runtime(threads=1, device="cpu", work=str(tmp_path / "state" / "work"), keep=3, diverged=2.5,
                      tensorboard=str(tmp_path / "board"))
    with active(run), surroundings(runtime, "deep", lambda: False) as found:
        around = found
    assert around.curves.folder == tmp_path / "reports" / "teachers.deep" and around.curves.run == "0123456789abcdef"
    assert around.curves.board.folder == tmp_path / "board" / "teachers.deep"
    assert around.keep.every == 3 and around.diverged == 2.5
    assert around.keep.folder == tmp_path / "state" / "kept" / "teachers.deep" / "0123456789ab"


def test_without_a_run_and_without_a_wish_nothing_is_written(tmp_path):
    with surroundings(Runtime(threads=1, device="cpu"), "x", lambda: False) as found:
        around = found
    assert around.curves.folder is None and around.curves.board is None and around.keep.every == 0
    around.curves.begin(0)
    around.curves.add(1, {"loss": 1.0})
    around.curves.keep_failure("nothing", [])
    assert isinstance(around.work, Path)
