"""What is made of the findings of files: counts, verdicts, refusals; the same for any number of processes."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.check_settings import Thresholds
from components.data.checks import content_digest, count, findings_table, inspect_all, judged, refuse
from components.data.facts import Facts
from components.data.guard_worker import Limits
from components.data.verdicts import DEFAULTS, REASONS, UNUSABLE, Finding, Policies, Policy, Reason
from components.errors import UserError

reasons = st.lists(st.sampled_from(REASONS), max_size=4)
policies = st.builds(Policies, st.sampled_from(["quarantine", "fail", "allow"]),
                     st.dictionaries(st.sampled_from(REASONS), st.sampled_from(["quarantine", "fail", "allow"])))


def facts(*found: Reason) -> Facts:
    return Facts("a", 10, 4, 4, "PNG", "RGB", findings=tuple(Finding(reason, "so", "b.png") for reason in found))


def table(count: int) -> pd.DataFrame:
    return pd.DataFrame({"path": [f"{number}.png" for number in range(count)], "split": "train"})


def is_kept(found: list[Reason], rules: Policies) -> bool:
    """By the definition: nothing undecodable, and nothing whose policy is not to allow it."""
    for reason in found:
        policy = rules.special.get(reason, DEFAULTS.get(reason, rules.general))
        if reason in UNUSABLE or policy != "allow":
            return False
    return True


@given(st.lists(reasons, max_size=5), policies)
def test_verdict_and_reason_follow_from_all_findings_and_their_policies(found: list[list[Reason]], rules: Policies
                                                                       ) -> None:
    rows = table(len(found))
    known = [facts(*one) for one in found]
    result = judged(rows, known, [None] * len(found), rules)
    assert [verdict == "ok" for verdict in result["verdict"]] == [is_kept(one, rules) for one in found]
    for one, reason in zip(found, result["reason"], strict=True):
        guilty = [name for name in one if not is_kept([name], rules)]
        assert reason == (guilty[0] if guilty else "")
    listed = findings_table(rows, known, rules)
    assert listed["reason"].tolist() == [reason for one in found for reason in one]
    assert all((verdict == "ok") == is_kept([reason], rules)
               for reason, verdict in zip(listed["reason"], listed["verdict"], strict=True))


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("policy", ["quarantine", "allow", "fail"])
def test_each_policy_does_what_it_says(reason: Reason, policy: Policy) -> None:
    rules = Policies("quarantine", {reason: policy})
    if policy == "fail":
        with pytest.raises(UserError, match=f"1 {reason}: 0.png \\({reason}\\)") as caught:
            refuse([facts(reason)], ["0.png"], rules)
        assert f"{reason}: quarantine" in caught.value.remedy
        return
    refuse([facts(reason)], ["0.png"], rules)
    verdict = judged(table(1), [facts(reason)], [None], rules)["verdict"].item()
    assert (verdict == "ok") == (policy == "allow" and reason not in UNUSABLE)


def test_a_refusal_names_the_counts_and_the_first_files_only() -> None:
    known = [facts("dark")] * 7 + [facts("leak", "dark")]
    with pytest.raises(UserError, match=r"there are 8 dark, 1 leak: 0.png \(dark\), .*, 4.png \(dark\)$"):
        refuse(known, table(8)["path"].tolist(), Policies("fail", {"dark": "fail"}))


def test_counts_are_of_files_and_name_every_reason() -> None:
    assert count([]) == dict.fromkeys(REASONS, 0)
    counts = count([facts("leak", "leak", "dark"), facts("dark"), facts()])
    assert (counts["leak"], counts["dark"], sum(counts.values())) == (1, 2, 3)


def test_one_process_and_three_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    rows = table(150)
    for name in rows["path"]:
        (tmp_path / name).write_text(name)
    one, three = (inspect_all(tmp_path, rows, Thresholds(), Limits(), processes) for processes in (1, 3))
    assert [fact.sha256 for fact in one] == [hashlib.sha256(name.encode()).hexdigest() for name in rows["path"]]
    assert [fact.findings for fact in one] == [fact.findings for fact in three]


def test_a_file_that_is_not_what_its_list_says_is_changed(tmp_path: Path) -> None:
    rows = table(3)
    for name in rows["path"]:
        (tmp_path / name).write_text(name)
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in rows["path"]]
    found = inspect_all(tmp_path, rows.assign(sha256_given=[digests[0], digests[0], None]), Thresholds(), Limits(), 1)
    assert ["changed" in [one.reason for one in fact.findings] for fact in found] == [False, True, False]
    assert found[1].findings[0] == Finding("changed", f"its list gives the digest {digests[0][:12]}, it has "
                                                      f"{digests[1][:12]}")


def test_the_digest_of_a_manifest_changes_with_path_content_and_verdict_only() -> None:
    rows = judged(table(2), [facts(), facts()], [None, None], Policies())
    digest = content_digest(rows)
    assert digest == content_digest(rows.assign(split="test"))
    for name in ("path", "sha256", "verdict"):
        assert digest != content_digest(rows.assign(**{name: ["x", rows[name][1]]}))
