"""Our workflows: what they may do, and that their shell lines run in a repository."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from copies import Project
from imports import ROOT

from components.strict_yaml import parse_yaml

FILES = [ROOT / ".github/workflows/retrain.yaml", ROOT / ".github/workflows/ci.yaml",
         ROOT / "components/commands/own/retrain.yaml"]


def workflow(path: Path) -> dict[str, Any]:
    return parse_yaml(path.read_bytes(), str(path))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def lines(path: Path) -> dict[str, str]:
    return {step.get("name", step["run"]): step["run"] for step in steps(path) if "run" in step}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-2]}/{path.name}")
def test_a_workflow_is_bound_in_time_rights_and_versions(path: Path) -> None:
    content = workflow(path)
    assert content["permissions"] == {"contents": "read"} and content["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 360 for job in content["jobs"].values())
    for step in steps(path):
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        assert "${{" not in step.get("run", ""), "what others write must not become part of a shell line"
    for job in content["jobs"].values():
        assert job.get("permissions", {}) in ({}, {"pull-requests": "write"})


def test_an_action_has_one_version_everywhere_and_says_which() -> None:
    pinned = re.compile(r"uses: (\S+)@(\S+)  # (v[\d.]+)$", re.MULTILINE)
    found = [match for path in FILES for match in pinned.findall(path.read_text())]
    assert len({(name, *rest) for name, *rest in found}) == len({name for name, *_ in found}) == 4
    assert len(found) == sum("uses" in step for path in FILES for step in steps(path))


def test_forks_get_nothing_and_only_the_comment_may_write() -> None:
    jobs = workflow(FILES[0])["jobs"]
    assert "head.repo.full_name == github.repository" in jobs["retrain"]["if"]
    assert jobs["comment"]["needs"] == "retrain" and "secrets." not in str(jobs["comment"])
    assert "permissions" not in jobs["retrain"]
    assert "github.event_name != 'pull_request' &&" in jobs["retrain"]["env"]["PROMOTE"]


def test_what_a_scheduled_run_made_is_kept_although_its_event_names_no_repository() -> None:
    for path in (FILES[0], FILES[2]):
        (kept,) = [step["if"] for step in steps(path) if step.get("run", "").endswith("dvc push; fi\n")]
        assert kept.startswith("github.event_name == 'schedule' ||")


def test_a_push_and_a_pull_request_are_looked_at_for_the_same_paths() -> None:
    on = workflow(FILES[0])["on"]
    assert on["push"]["paths"] == on["pull_request"]["paths"] and {"schedule", "workflow_dispatch"} <= on.keys()


def test_the_comment_goes_to_the_pull_request_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "gh").write_text('#!/bin/sh\nprintf "%s " "$@" > asked\ncat > said\n')
    (tmp_path / "gh").chmod(0o755)
    text = "### Retrain: yes\n$(touch harm) `touch harm` \"; touch harm"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NUMBER": "7", "TEXT": text}
    subprocess.run(["bash", "-euo", "pipefail", "-c", lines(FILES[0])["comment"]], cwd=tmp_path, env=environment,
                   check=True)
    assert (tmp_path / "said").read_text() == f"{text}\n"
    assert (tmp_path / "asked").read_text() == "pr comment 7 --body-file - "
    assert not (tmp_path / "harm").exists()


@pytest.mark.slow
def test_its_lines_decide_and_tell_in_a_repository_with_a_remote(changeable: Project, tmp_path: Path) -> None:
    changeable.run("dvc", "remote", "add", "-d", "there", str(tmp_path / "remote"))
    changeable.run("stillhouse", "publish")
    given = {"ON": "laptop", "FORCE": "", "WARM": "false", "PROMOTE": "false",
             "GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    left_out = {"install", "comment"}
    for name, line in lines(FILES[0]).items():
        if name not in left_out:
            changeable.run("env", *(f"{key}={value}" for key, value in given.items()), "bash", "-euo", "pipefail", "-c",
                           line)
    output = (tmp_path / "output").read_text()
    assert output.startswith("retrain=false\ndecision=no\n")
    mark = re.search(r"^text<<(\w+)$", output, re.M)
    assert mark and output.endswith(f"{mark[1]}\n") and "### Retrain: no" in output
    assert "### Retrain: no" in (tmp_path / "summary.md").read_text()
    assert [*(tmp_path / "remote").rglob("*")], "what was made is kept"
