"""Write the JSON schema and the reference page of infra/kubeflow.yaml, from the models that read it."""

import argparse
import json
from pathlib import Path
from typing import Any

from components.commands.schema import rows, table
from components.errors import Exit
from components.storage.atomic import write_file
from pipeline.cluster import TASKS, Cluster

TITLE = "How a cluster runs Stillhouse: infra/kubeflow.yaml"
INTRODUCTION = (
    "Written by `stillhouse pipeline reference` from the models that read the file; do not edit. On the command line: "
    "`--cluster-set NAME=VALUE`. Nothing of it changes what is computed.", "",
    f"`tasks` takes the settings of `defaults` by task ({', '.join(TASKS)}); what a task does not say it takes from "
    "`defaults`. A toleration is `{key, operator, value, effect, seconds}`, a volume `{claim, path, sub_path}`, an "
    "entry of `pods.secrets` and `pods.config_maps` `{name, keys: {KEY: VARIABLE}, optional}`.",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reference`."""
    parser.add_argument("--output", type=Path, default=Path("docs"), metavar="FOLDER", help="where to (default: docs)")


def command(options: argparse.Namespace) -> int:
    """Run `reference`."""
    write_file(options.output / "kubeflow.schema.json", json_schema())
    write_file(options.output / "kubeflow.md", page())
    return Exit.OK


def json_schema() -> str:
    """The JSON schema of the file, as text."""
    schema: dict[str, Any] = Cluster.model_json_schema(ref_template="#/$defs/{model}")
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE}
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def page() -> str:
    """The reference page, as text."""
    lines = ["# Settings: infra/kubeflow.yaml", "", *INTRODUCTION, "",
             *table([row for row in rows(Cluster, "", None) if not row[0].startswith(".tasks.")])]
    return "\n".join(lines).replace("| `.", "| `").replace("list of: anything", "list") + "\n"
