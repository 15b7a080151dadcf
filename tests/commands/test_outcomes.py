"""How tasks ended: left where the others of the run can read it, or nowhere."""

from pathlib import Path

import pytest

from components.commands.outcomes import Outcome, folder_of, leave, left


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STILLHOUSE_OUTCOMES", "KFP_RUN_ID", "STILLHOUSE_RUN"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_place_or_a_run_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    leave(Outcome("index", "done"))
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path / "outcomes"))
    leave(Outcome("index", "done"))
    assert left() == {} and not list(tmp_path.iterdir())


def test_runs_are_kept_apart_and_their_names_cannot_lead_elsewhere(tmp_path: Path) -> None:
    place = {"STILLHOUSE_OUTCOMES": str(tmp_path)}
    assert folder_of(place | {"KFP_RUN_ID": "one"}) != folder_of(place | {"KFP_RUN_ID": "two"})
    assert folder_of(place | {"KFP_RUN_ID": "a/../../b c"}) == tmp_path / "a_.._.._b_c"


def test_the_last_word_of_a_task_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path))
    monkeypatch.setenv("STILLHOUSE_RUN", "today's")
    leave(Outcome("teachers.deep", "failed", "killed", "again", 75))
    leave(Outcome("teachers.deep", "done", figures={"accuracy": 0.5}))
    (tmp_path / "today_s" / "broken.json").write_text("{")
    assert left() == {"teachers.deep": Outcome("teachers.deep", "done", figures={"accuracy": 0.5})}
