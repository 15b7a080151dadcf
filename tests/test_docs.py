"""What the documents tell users to type is understood by the program as it is."""

import argparse
import re
import shlex
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from components import cli, contract
from components.settings import Params
from components.strict_yaml import parse_yaml
from pipeline.__main__ import parser as cluster_parser
from pipeline.cluster import cluster_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(\S.*)$", re.MULTILINE)
PROGRAMS = ("stillhouse", "dvc", "make", "python")


def commands(page: Path) -> list[str]:
    """Commands of a page: in backquotes, or on an indented line, without the comment behind them."""
    found = (one or two for one, two in CODE.findall(page.read_text(encoding="utf-8")))
    return [code.partition("  #")[0].strip() for code in found if code.startswith(tuple(f"{p} " for p in PROGRAMS))]


def documented(program: str) -> list[tuple[str, str]]:
    return [(page.name, command) for page in PAGES for command in commands(page) if command.startswith(f"{program} ")]


def test_every_page_is_looked_at() -> None:
    assert {page for page, _ in documented("stillhouse")} >= {"README.md", "data.md", "layouts.md"}


@pytest.mark.parametrize(("page", "command"), documented("stillhouse"))
def test_commands_of_ours_name_what_there_is(page: str, command: str) -> None:
    _, name, *rest = [word for word in shlex.split(command) if word != "..."]
    if name in ("STEP", "pipeline") or name.startswith("-"):
        return
    plans = name in cli.PLANS and "--plan" in rest
    parser = parser_of(name, plans)
    rest = [word for word in rest if not (plans and word == "--plan")]
    if "--help" not in rest:
        options = parser.parse_args(rest)
        Params.load(ROOT / "params.yaml", getattr(options, "set", None) or [])


def parser_of(name: str, plans: bool) -> argparse.ArgumentParser:
    """The parser of a step or command, of which documents may name a part only."""
    commands = cli.PLANS if plans else cli.COMMANDS
    if name in commands:
        parser = cli.Parser(prog=name)
        parser.add_argument("--debug", action="store_true")
        import_module(commands[name][0]).arguments(parser)
    else:
        parser = cli.step_parser(contract.load_step(name))
    for action in parser._actions:
        action.required = False
        if not action.option_strings and action.nargs is None:
            action.nargs = "?"
    return parser


@pytest.mark.parametrize(("page", "command"), documented("stillhouse pipeline") + documented("python -m pipeline"))
def test_commands_for_clusters_are_understood(page: str, command: str) -> None:
    words = shlex.split(command.replace("python -m pipeline", "stillhouse pipeline"))[2:]
    options = cluster_parser().parse_args([word for word in words if word != "..."])
    Params.load(ROOT / "params.yaml", getattr(options, "set", None) or [])


@pytest.mark.parametrize(("page", "command"), documented("dvc"))
def test_settings_that_are_given_to_dvc_exist(page: str, command: str) -> None:
    words = shlex.split(command)
    given = [value for flag, value in pairwise(words) if flag == "-S" and value != "NAME=VALUE"]
    written = (ROOT / "params.yaml").read_text(encoding="utf-8")
    values = parse_yaml(written.encode(), "params.yaml")
    for setting in given:
        path = setting.partition("=")[0]
        assert path.startswith("+") != has(values, path.lstrip("+")), f"{page}: DVC adds no key without a plus: {path}"
    grid = "--queue" in words  # where commas part values that are tried one after another
    chosen = [setting.lstrip("+").partition(",")[0] if grid else setting.lstrip("+") for setting in given]
    Params.load(ROOT / "params.yaml", chosen)


def has(values: object, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


@pytest.mark.parametrize(("page", "command"), documented("make"))
def test_targets_of_make_exist(page: str, command: str) -> None:
    targets = re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert command.split()[1] in targets


def yaml_blocks() -> list[tuple[str, str]]:
    blocks = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(page.name, block) for page in PAGES for block in blocks.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "block"), yaml_blocks())
def test_settings_in_blocks_are_taken(page: str, block: str) -> None:
    values = parse_yaml(block.encode(), page)
    assert values
    if block.startswith("# infra/kubeflow.yaml"):
        cluster_of(values, page)
    else:
        Params(values, page).check()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]
