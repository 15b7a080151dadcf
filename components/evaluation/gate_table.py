"""A verdict as one line, as flat numbers, and as a Markdown table for a comment."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.evaluation.columns import title
from components.evaluation.differences import signed, span

HEADLINES = {
    "first": "the first model of this registry", "better": "better than the champion", "equal": "equal to the champion",
    "worse": "worse than the champion", "unsure": "not shown to be as good as the champion",
    "same": "the champion itself",
}


def headline(verdict: Mapping[str, Any]) -> str:
    """The verdict in one line.

    verdict: the content of verdict.json, here and below.
    """
    words, champion = HEADLINES[verdict["verdict"]], verdict["champion"]
    line = f"{verdict['verdict']}: {words}{f' {champion[:12]}' if champion else ''}"
    if (mean := verdict["mean"]) is not None:
        metric = verdict["rule"]["metric"]
        line += (f", {title(metric)} {signed(mean['difference'], metric)} "
                 f"({span(mean['low'], mean['high'], metric)})")
    return line + ("; may be promoted" if verdict["promote"] else "")


def flat(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers for `dvc metrics` and MLflow: by task what decides, the difference and its interval."""
    numbers: dict[str, Any] = {"promote": int(verdict["promote"]), "samples": verdict["samples"],
                               "challenger": verdict["challenger"]}
    if verdict["mean"] is not None:
        numbers |= {name: verdict["mean"][name] for name in ("difference", "low", "high", "p")}
    for name, one in verdict["tasks"].items():
        numbers.setdefault("champion", {})[name] = one["champion"]
        numbers.setdefault("differences", {})[name] = one["interval"]
    return numbers


def markdown(verdict: Mapping[str, Any]) -> str:
    """The verdict with its reasons and a table of the tasks, as a comment on a change shows it."""
    mark = "may be promoted" if verdict["promote"] else "is not promoted"
    lines = [f"**{verdict['verdict']}**: {words(HEADLINES[verdict['verdict']])}; the model {mark}.", ""]
    lines += [f"* {words(reason)}" for reason in verdict["reasons"]]
    if verdict["tasks"]:
        lines += ["", "| task | figure | champion | challenger | difference | interval | won : lost | verdict |",
                  "|---|---|---:|---:|---:|---|---:|---|", *rows(verdict)]
    share = f"{100 * verdict['rule']['confidence']:g} %"
    lines += ["", f"{verdict['samples']} samples of {verdict['rule']['split']}; intervals at {share}; model "
              f"`{verdict['model'][:12]}`, champion `{(verdict['champion'] or 'none')[:12]}`."]
    return "\n".join(lines) + "\n"


def rows(verdict: Mapping[str, Any]) -> Iterator[str]:
    """A line for each task, and one for their mean where there are several."""
    for name, one in verdict["tasks"].items():
        found = one["interval"]
        cells = [words(name), title(one["metric"]), f"{one['champion']:.3f}", f"{one['challenger']:.3f}",
                 signed(found["difference"], one["metric"]), span(found["low"], found["high"], one["metric"]),
                 f"{one['won']} : {one['lost']}", one["verdict"]]
        yield f"| {' | '.join(cells)} |"
    if len(verdict["tasks"]) > 1:
        mean, metric = verdict["mean"], verdict["rule"]["metric"]
        yield (f"| mean | {title(metric)} | | | {signed(mean['difference'], metric)} | "
               f"{span(mean['low'], mean['high'], metric)} | | {mean['verdict']} |")


def words(text: str) -> str:
    r"""Text in which Markdown and HTML find nothing to interpret, on one line.

    >>> words("a|b <i> @you")
    'a\\|b \\<i\\> \\@you'
    """
    return re.sub(r"([\\`*_{}\[\]<>()#|~&$@])", r"\\\1", re.sub(r"\s", " ", text))
