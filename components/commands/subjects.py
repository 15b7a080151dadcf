"""Networks that a command is asked about: a sealed Model, a section of params.yaml, or a name."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UserError

if TYPE_CHECKING:
    from components.models.network import Network
    from components.models.settings import Architecture


@dataclass(frozen=True)
class Subject:
    """A network and the size of its images; folder and head are those of a sealed Model, else None and empty."""

    name: str
    network: "Network"
    size: tuple[int, int]
    folder: Path | None
    head: dict[str, Any]


def subject_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that a network needs which is no sealed Model."""
    parser.add_argument("--classes", type=int, default=1000, metavar="N",
                        help="classes of a network that is given by name or section (default: 1000)")
    parser.add_argument("--size", type=int, nargs="+", default=[224], metavar="PIXELS",
                        help="side, or height and width, of its images (default: 224)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="where sections are looked up (default: params.yaml)")


def open_subject(name: str, options: argparse.Namespace) -> Subject:
    """The network of a Model's folder, of a section such as teachers.deep or student, or of a name."""
    from components.data.tasks import Task
    from components.models.artifact import load_model
    from components.models.network import build_network

    folder = Path(name)
    if (folder / "model.json").is_file():
        model = load_model(folder)
        height, width = model.head["geometry"]["input"]
        return Subject(model.name, model.network, (height, width), folder, model.head)
    if options.classes < 1 or len(options.size) > 2 or min(options.size) < 1:
        raise UserError(f"--classes {options.classes} --size {' '.join(map(str, options.size))} is no such network",
                        "give at least one class, and a side or height and width")
    size = (options.size[0], options.size[-1])
    task = Task("class", "single", tuple(str(number) for number in range(options.classes)))
    return Subject(name, build_network(architecture_of(name, options.params), (task,), size, 0).eval(), size, None, {})


def architecture_of(name: str, params: Path) -> "Architecture":
    """The architecture of a section of params.yaml, or of a name with default options."""
    from components.models.settings import Architecture
    from components.settings import Params
    from components.training.settings import Recipe

    if name == "student" or name.startswith("teachers."):
        section = Params.load(params).section(name)
        assert isinstance(section, Recipe)
        return section.model
    if "/" in name.removeprefix("torchvision/") or Path(name).exists():
        raise UserError(f"{name} holds no model.json, so it is no Model, and it is no name of a network either",
                        "name a folder such as models/student, a section such as teachers.deep, or a network")
    return Architecture(name=name)
