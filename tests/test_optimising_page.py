"""What the page about optimisers shows can be typed, and it names every choice."""

import re
from typing import get_args

from imports import ROOT

from components.cli import COMMANDS
from components.settings import Params
from components.strict_yaml import parse_yaml
from components.training import averaging_settings, optimizer_settings, schedule_settings

PAGE = (ROOT / "docs" / "optimising.md").read_text(encoding="utf-8")


def test_every_example_is_a_valid_section() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        Params(parse_yaml(block.encode(), "docs/optimising.md")).check()


def test_every_optimizer_and_average_is_named_and_every_command_exists() -> None:
    for name in (*get_args(optimizer_settings.Name), *get_args(averaging_settings.Name)[:2]):
        assert f"`{name}`" in PAGE
    assert set(re.findall(r"name: (\w+)", PAGE)) <= {
        *get_args(optimizer_settings.Name), *get_args(schedule_settings.Name), *get_args(averaging_settings.Name)}
    assert set(re.findall(r"stillhouse ([\w-]+)", PAGE)) <= set(COMMANDS)
