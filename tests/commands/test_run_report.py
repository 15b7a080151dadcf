"""The report at the end of a run: what failed and why, what the gate says, how good the models are."""

from typing import Any

import pytest

from components.commands.outcomes import Outcome
from components.commands.run_report import markdown

VERDICT: dict[str, Any] = {
    "verdict": "first", "promote": True, "reasons": ["no model is published"], "tasks": {}, "mean": None, "samples": 21,
    "model": "ab" * 32, "champion": None, "rule": {"confidence": 0.95, "split": "test", "metric": "accuracy"}}


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_RUN_ID", raising=False)


def told(*outcomes: Outcome, state: str = "SUCCEEDED", error: str = "") -> str:
    return markdown(state, error, {one.section: one for one in outcomes})


def test_a_run_that_succeeded_shows_accuracies_and_the_verdict_and_its_tasks_in_order() -> None:
    figures = {"student/test/colour/accuracy": 0.5, "distilled/test/colour/accuracy": 0.75, "rows": 3,
               "distilled/val/colour/accuracy": 1.0, "distilled/test/a/b/accuracy": 0.25, "deep/test/a/log_loss": 9.0}
    text = told(Outcome("evaluate", "done", figures=figures), Outcome("compare", "done", figures={"verdict": VERDICT}),
                Outcome("teachers.deep", "done"), Outcome("index", "done"))
    assert text.startswith("# The run has succeeded\n")
    assert "| plain student | 0.500 |  |" in text and "| distilled | 0.750 | 0.250 |" in text
    assert "deep" not in text.partition("| task |")[0], "only accuracies on test"
    assert "the first model of this registry" in text
    rows = text.partition("| task | |")[2].splitlines()
    order = [line.split(" | ")[0].strip("| ") for line in rows if "done" in line]
    assert order == ["index", "teachers.deep", "evaluate", "compare"]


def test_a_failure_is_told_with_cause_and_remedy_and_cannot_write_into_the_page() -> None:
    failed = Outcome("teach", "failed", "no <b>teacher</b> | 3", "make it", 1)
    text = told(Outcome("index", "done"), failed, state="FAILED")
    assert text.startswith("# The run has failed\n")
    assert r"* **teach**: no \<b\>teacher\</b\> \| 3 (exit code 1)" in text and "  * remedy: make it" in text
    assert "| teach | failed |" in text


def test_unfit_images_are_the_headline() -> None:
    text = told(Outcome("validate", "unfit", "the policy is to fail on findings", "correct them", 1))
    assert text.startswith("# The images are not fit, so nothing was learnt\n")
    assert "the policy is to fail on findings" in text


def test_without_a_word_of_the_tasks_it_is_said_why_and_what_kubeflow_says_is_passed_on(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "a-run")
    text = told(state="FAILED", error="task teach\nfailed")
    assert "task teach failed" in text and "pods.outcomes" in text and "Run `a-run`." in text
