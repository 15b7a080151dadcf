"""The pages for editors and people say what the loader does; the committed ones are those of today's models."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_settings

from components import settings
from components.commands.schema import json_schema, page
from components.settings import SECTIONS, Params

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "text"), [("params.schema.json", json_schema), ("params.md", page)])
def test_the_committed_pages_are_those_of_the_models(name: str, text: Any) -> None:
    file = ROOT / "docs" / name
    assert file.is_file() and file.read_text() == text(), f"docs/{name} is out of date; type: stillhouse schema"


def test_every_section_and_nothing_else_stands_in_the_schema() -> None:
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == {name.removesuffix(".*") for name in SECTIONS} | {"seed"}
    assert schema["additionalProperties"] is False


def test_shared_values_may_not_be_set_where_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.commands.schema.SECTIONS", small_settings.SECTIONS)
    monkeypatch.setattr(settings, "SECTIONS", small_settings.SECTIONS)
    parts = json.loads(json_schema())["$defs"]
    assert set(parts["Pour"]["properties"]) == {"height"}
    assert set(parts["Kettle"]["properties"]) == {"litres", "label", "flames"}
    text = page()
    assert "| `heat.flame.fuel` | gas, wood, coal | gas |  |" in text
    assert "| `kettles.NAME.flames.NAME.rate` | number > 0 | 0.5 |  |" in text
    assert "Reads also: `heat`, `heat.flame.fuel`, `kettles`, `seed`, `runtime`." in text


def test_the_project_s_own_params_fit_the_schema() -> None:
    schema = json.loads(json_schema())
    values = Params.load(ROOT / "params.yaml").values

    def fits(value: Any, part: dict[str, Any]) -> None:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if isinstance(value, dict) and "properties" in part:
            for key, below in value.items():
                assert key in part["properties"], key
                fits(below, part["properties"][key])
        elif isinstance(value, dict) and isinstance(part.get("additionalProperties"), dict):
            for below in value.values():
                fits(below, part["additionalProperties"])

    fits(values, schema)


def test_every_setting_has_a_meaning() -> None:
    silent = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not silent
