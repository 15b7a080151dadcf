"""`schedule`: one schedule of a name, made, left alone, replaced or removed; and times as Kubeflow reads them."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from kubeflow_server import State

from components.errors import UserError
from pipeline.__main__ import main
from pipeline.cron import checked, interval, trigger_of

NIGHTLY = "0 30 3 * * *"


def schedule(host: str, *options: str) -> int:
    return main(["schedule", "--host", host, *options])


def scheduled(host: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert schedule(host, "--json", *options) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_a_schedule_never_overlaps_and_never_catches_up(host: str, state: State) -> None:
    assert schedule(host, "--cron", NIGHTLY) == 0
    one = state.only("recurringruns")
    assert one["trigger"] == {"cron_schedule": {"cron": NIGHTLY}}
    assert (one["max_concurrency"], one["no_catchup"], one["mode"]) == ("1", True, "ENABLE")
    assert one["pipeline_version_reference"]["pipeline_version_id"] == state.only("versions")["pipeline_version_id"]
    assert set(one["runtime_config"]["parameters"]) >= {"student_settings", "teachers"}


def test_the_same_schedule_again_changes_nothing(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    first = scheduled(host, capsys, "--cron", NIGHTLY)
    second = scheduled(host, capsys, "--cron", f" {NIGHTLY} ".replace(" ", "  "))
    assert (first["change"], second["change"]) == ("made", "unchanged")
    assert first["id"] == second["id"] == state.only("recurringruns")["recurring_run_id"]
    assert state.asked("POST .*recurringruns$") == 1


@pytest.mark.parametrize("options", [
    ("--every", "12h"), ("--cron", "0 0 4 * * *"), ("--cron", NIGHTLY, "--set", "student.epochs=3"),
    ("--cron", NIGHTLY, "--experiment", "nightly")])
def test_another_time_or_other_settings_replace_it(host: str, state: State, capsys: pytest.CaptureFixture[str],
                                                   options: tuple[str, ...]) -> None:
    first = scheduled(host, capsys, "--cron", NIGHTLY)
    second = scheduled(host, capsys, *options)
    assert second["change"] == "replaced"
    assert state.only("recurringruns")["recurring_run_id"] == second["id"] != first["id"]


def test_the_new_one_is_made_before_the_old_one_goes(host: str, state: State) -> None:
    assert schedule(host, "--cron", NIGHTLY) == 0
    state.fail("POST .*recurringruns$", 400)
    assert schedule(host, "--every", "12h") == 1
    assert state.only("recurringruns")["trigger"] == {"cron_schedule": {"cron": NIGHTLY}}
    state.fail("DELETE", 400)
    assert schedule(host, "--every", "12h") == 1
    assert len(state.things["recurringruns"]) == 2
    assert schedule(host, "--every", "12h") == 0
    assert state.only("recurringruns")["trigger"] == {"periodic_schedule": {"interval_second": "43200"}}


@pytest.mark.parametrize("how", ["lost", "reset", 503])
def test_a_lost_answer_makes_no_second_schedule(host: str, state: State, how: str | int) -> None:
    state.fail("POST .*recurringruns$", how)
    assert schedule(host, "--cron", NIGHTLY) == 0
    assert state.only("recurringruns")["status"] == "ENABLED"


def test_two_that_come_at_once_leave_one(host: str, state: State) -> None:
    meeting = threading.Barrier(2)
    state.before_create = lambda kind: meeting.wait(20) and None if kind == "recurringruns" else None
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(schedule(host, "--cron", NIGHTLY))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert state.only("recurringruns")


def test_others_are_left_alone(host: str, state: State) -> None:
    assert schedule(host, "--cron", NIGHTLY) == 0
    assert schedule(host, "--cron", NIGHTLY, "--name", "weekly") == 0
    assert schedule(host, "--delete") == 0
    assert state.only("recurringruns")["display_name"] == "weekly"


def test_delete_and_list_and_pause(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule(host, "--delete") == 0
    assert schedule(host, "--list") == 0
    assert "there is none" in (said := capsys.readouterr().out) and "no schedules" in said
    assert schedule(host, "--every", "12h") == 0
    assert schedule(host, "--pause") == 0
    assert state.only("recurringruns")["status"] == "DISABLED"
    (one,) = scheduled(host, capsys, "--list")
    assert one["when"] == "every 43200 s" and not one["enabled"]
    assert schedule(host, "--resume") == 0
    assert state.only("recurringruns")["status"] == "ENABLED"
    assert schedule(host, "--list") == 0
    assert "stillhouse  every 43200 s  on " in capsys.readouterr().out
    assert schedule(host, "--delete") == 0
    assert not state.things["recurringruns"]
    assert schedule(host, "--pause") == 1
    assert "there is no schedule stillhouse" in capsys.readouterr().err


def test_a_paused_schedule_that_is_asked_for_again_runs_again(host: str, state: State) -> None:
    assert schedule(host, "--every", "12h") == schedule(host, "--pause") == schedule(host, "--every", "12h") == 0
    assert state.only("recurringruns")["status"] == "ENABLED"


def test_more_schedules_than_one_page_are_all_seen(host: str, state: State, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.api.calls.PAGE", 2)
    for number in range(5):
        state.create("recurringruns", {"display_name": f"s{number}", "mode": "ENABLE"})
    assert [one["name"] for one in scheduled(host, capsys, "--list")] == [f"s{number}" for number in range(5)]  # type: ignore[index]


def test_a_dry_run_speaks_to_no_server(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule(host, "--cron", NIGHTLY, "--dry-run") == 0
    told = json.loads(capsys.readouterr().out)
    assert not state.requests
    assert schedule(host, "--cron", NIGHTLY) == 0
    assert told.items() <= state.only("recurringruns").items()


@pytest.mark.parametrize("options", [("--list", "--delete"), ("--pause", "--cron", NIGHTLY)])
def test_one_thing_at_a_time(host: str, options: tuple[str, ...]) -> None:
    assert schedule(host, *options) == 2


@pytest.mark.parametrize("cron", [
    NIGHTLY, "0 */15 * * * *", "0 0 9-17/2 ? * mon-fri", "0 0 0 1,15 JAN-JUN *", "0 0 0 1 1 0", "5 4 3 2 1 6",
    "0 30/5 8 * * *"])
def test_expressions_that_kubeflow_reads_are_taken(cron: str) -> None:
    assert checked(cron) == cron


@pytest.mark.parametrize(("cron", "words"), [
    ("30 3 * * *", "has five fields"), ("@daily", "has 1 fields"), ("0 0 0 * * * 2026", "has 7 fields"),
    ("60 0 0 * * *", "60 is no second"), ("0 60 0 * * *", "60 is no minute"), ("0 0 24 * * *", "24 is no hour"),
    ("0 0 0 0 * *", "0 is no day of month"), ("0 0 0 32 * *", "32 is no day of month"),
    ("0 0 0 * 13 *", "13 is no month"), ("0 0 0 * * 7", "7 is no day of week"), ("0 0 0 * * mo", "mo is no day"),
    ("0 */0 * * * *", r"\*/0 is no minute"), ("0 20-10 * * * *", "20-10 is no minute"),
    ("0 1,,2 * * * *", "nothing is no minute"), ("0 -5 * * * *", "-5 is no minute"),
    ("0 1.5 * * * *", "1.5 is no minute"), ("0 \u0661 * * * *", "is no minute")])
def test_expressions_that_kubeflow_refuses_or_misreads_are_refused(cron: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        trigger_of(cron, "")
    assert "'0 30 3 * * " in caught.value.remedy


@pytest.mark.parametrize("text", ["", "12", "0h", "30s", "-1h", "1.5h", "1w", "h"])
def test_intervals_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        trigger_of("", text)
    assert interval("60s") == 60


def test_the_file_of_the_cluster_is_needed(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "infra/kubeflow.yaml").unlink()
    assert schedule("http://127.0.0.1:1", "--cron", NIGHTLY) == 1
    assert "infra/kubeflow.yaml cannot be read" in capsys.readouterr().err
