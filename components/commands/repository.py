"""What a user's own repository holds: Stillhouse's own dvc.yaml, params.yaml and the like, made to fit."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import pin
from components.commands.schema import json_schema, page
from components.data.settings import Data
from components.deployment.registry import LATEST, pointer
from components.settings import Params
from components.strict_yaml import parse_yaml

TEMPLATES = Path(__file__).with_name("own")
DRAWN = "sample"  # the stage and section of the embedded images
WORKFLOW = ".github/workflows/retrain.yaml"
COPIED = (".dvcignore", "infra/kubeflow.yaml", "infra/retrain.yaml", "docs/kubeflow.md",
          "docs/kubeflow.schema.json")  # as they are
HEADER = """\
# The pipeline, made by `stillhouse init` from Stillhouse's own. Values stand in params.yaml, and only `validate`
# watches the raw images: the manifest it writes names each by digest. The code of each stage is a digest in
# stillhouse.lock.
"""
IGNORED_BY_DVC = "/config.local\n/tmp\n/cache\n"


@dataclass(frozen=True)
class Choice:
    """What a repository is made for.

    path, root: data.path and data.root. inside: whether the images are a folder of the repository. git: whether git
    keeps it.
    """

    name: str
    path: str = Data().path
    root: str = ""
    inside: bool = False
    git: bool = True

    @property
    def drawn(self) -> bool:
        """Whether the images are the embedded ones."""
        return self.path == Data().path


def contents(choice: Choice) -> dict[str, str]:
    """Every file of a repository but the lock, by its path there."""
    return {name: (pin.HOME / name).read_text(encoding="utf-8") for name in COPIED} | {
        "params.yaml": params_text(choice),
        "dvc.yaml": dvc_text(choice),
        "requirements.txt": f"stillhouse=={pin.version()}\n",
        "README.md": readme(choice),
        "docs/params.md": page(),
        "docs/params.schema.json": json_schema(),
        ".gitignore": ignored(choice),
        ".dvc/.gitignore": IGNORED_BY_DVC,
        ".dvc/config": dvc_config(choice),
        f"registry/{LATEST}": pointer(LATEST, None, None).decode(),
        WORKFLOW: (TEMPLATES / "retrain.yaml").read_text(encoding="utf-8"),
    }


def params_text(choice: Choice) -> str:
    """params.yaml with the images' place; what draws images is left out where there are others."""
    text = (pin.HOME / "params.yaml").read_text(encoding="utf-8")
    for name, value in (("path", choice.path), ("root", choice.root)):
        before, comment, after = re.split(rf"^  {name}: \S+ +(#.*\n)", text, maxsplit=1, flags=re.MULTILINE)
        text = before + f"  {name}: {scalar(value)}".ljust(27) + f" {comment}{after}"
    if not choice.drawn:
        text = re.sub(rf"^{DRAWN}:\n(?:[ #].*\n)+\n?", "", text, flags=re.MULTILINE)
    params = Params(parse_yaml(text.encode(), "params.yaml"))
    params.check()
    assert (params.setting("data.path"), params.setting("data.root")) == (choice.path, choice.root)
    return text


def scalar(text: str) -> str:
    """A text as YAML holds it.

    >>> scalar("/data/images"), scalar("a: b"), scalar("")
    ('/data/images', '"a: b"', '""')
    """
    return text if re.fullmatch(r"[A-Za-z/.][\w/.-]*", text) else json.dumps(text, ensure_ascii=False)


def dvc_text(choice: Choice) -> str:
    """dvc.yaml as Stillhouse has it, with stages that depend on digests of code in the place of code."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 118, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    whole = yaml.load((pin.HOME / "dvc.yaml").read_text(encoding="utf-8"))
    if not choice.drawn:
        del whole["stages"][DRAWN]
    for name, fields in whole["stages"].items():
        depend_on_digest(name, fields.get("do", fields))
    stream = io.StringIO()
    yaml.dump(whole, stream)
    text = stream.getvalue()
    lines = [line.rstrip() for line in text[text.index("stages:"):].splitlines()]
    return HEADER + "\n".join([lines[0], *(lines[2:] if not lines[1] else lines[1:])]) + "\n"


def depend_on_digest(stage: str, fields: Any) -> None:
    """Take a stage's code from its dependencies, and let it watch the digest of that code."""
    for dependency in [one for one in fields["deps"] if pin.is_code(one)]:
        fields["deps"].remove(dependency)
    if not fields["deps"]:
        del fields["deps"]
    fields["params"].append({pin.NAME: [f"code.{stage}"]})


def readme(choice: Choice) -> str:
    """The page that says what is here and what to type."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,  # noqa: S701
                              keep_trailing_newline=True, loader=FileSystemLoader(TEMPLATES))
    template = environment.get_template("README.md.jinja")
    return template.render(name=choice.name, path=choice.path, drawn=choice.drawn, version=pin.version())


def ignored(choice: Choice) -> str:
    """What git does not keep: what DVC does, and the images where they lie inside."""
    text = (pin.HOME / ".gitignore").read_text(encoding="utf-8")
    return text + (f"/{choice.path}/\n" if choice.inside else "")


def dvc_config(choice: Choice) -> str:
    """DVC's settings; without git it is told so."""
    text = (pin.HOME / ".dvc/config").read_text(encoding="utf-8")
    return text if choice.git else text.replace("[core]\n", "[core]\n    no_scm = true\n")


def unwritten(wiring: str, params: str) -> Iterator[str]:
    """Settings that the stages of a dvc.yaml watch and that a params.yaml does not write, as DVC demands."""
    values = parse_yaml(params.encode(), "params.yaml")
    stages = parse_yaml(wiring.encode(), "dvc.yaml")["stages"].values()
    watched = [name for fields in stages for name in fields.get("do", fields).get("params", [])]
    for name in dict.fromkeys(one for one in watched if isinstance(one, str) and "${" not in one):
        here: Any = values
        for part in name.split("."):
            here = here.get(part, ...) if isinstance(here, dict) else ...
        if here is ...:
            yield name
