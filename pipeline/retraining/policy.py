"""infra/retrain.yaml: when a new training is worth its time."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from components.errors import UserError
from components.settings import Settings, complaint
from components.strict_yaml import parse_yaml


class Policy(Settings):
    """What is a reason to retrain."""

    data: Literal["any", "mattering", "never"] = Field("any", description=(
        "changes of the images or their labels that are a reason: any, those as large as drift says, or none"))
    drift: Literal["minor", "major"] = Field("major", description="how large a change of the data matters")
    settings: bool = Field(True, description="other settings than those the champion was trained with are a reason")
    code: bool = Field(True, description="stages whose code or settings changed since they ran are a reason")
    age_days: float = Field(0, ge=0, description="a champion older than this is a reason; 0: never")
    live_drop: float = Field(0.02, ge=0, lt=1, description=(
        "a live accuracy surely this much below the one on the validation split is a reason"))
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the interval around a live accuracy")


FILE = Path("infra/retrain.yaml")


def load_policy(path: Path) -> Policy:
    """The file's settings; defaults where FILE is not there. UserError says what is wrong and where."""
    if path == FILE and not path.exists():
        return Policy()
    try:
        values = parse_yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "name the file with --policy FILE") from None
    try:
        return Policy.model_validate_json(json.dumps(values))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in detail["loc"])
        raise UserError(f"{path}: {name} {complaint(detail, Policy)}",
                        f"the comments of {FILE} tell what each is for") from None
