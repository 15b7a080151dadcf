"""From a template and values to a page that needs nothing but itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FRAME = Path(__file__).parent


def rendered(template: Path, values: Mapping[str, Any]) -> str:
    """A page as HTML; the same values give the same text.

    template: a file, which may extend `page.html`, the frame of all pages.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              loader=FileSystemLoader([template.parent, FRAME]))
    return environment.get_template(template.name).render(values) + "\n"
