"""Sections for tests of the loader, as rooms declare them."""

from typing import Annotated, Literal

from pydantic import Field

from components.runtime import Runtime, SharedRuntime
from components.settings import From, Seed, Settings

SECTIONS = {
    "heat": "small_settings:Heat",
    "kettles.*": "small_settings:Kettle",
    "pour": "small_settings:Pour",
    "runtime": "components.runtime:Runtime",
}


class Flame(Settings):
    fuel: Literal["gas", "wood", "coal"] = "gas"
    rate: float = Field(0.5, gt=0)


class Heat(Settings):
    """How hot."""

    flame: Flame = Flame()
    steps: tuple[int, ...] = Field((1,), min_length=1)
    slow: bool = False


class Kettle(Settings):
    """How much."""

    litres: int = Field(1, ge=1)
    label: str = ""
    flames: dict[str, Flame] = Field({})
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()


class Pour(Settings):
    """Reads the flame and the names of the kettles from elsewhere."""

    heat: Annotated[Heat, From("heat")] = Heat()
    fuel: Annotated[str, From("heat.flame.fuel")] = "gas"
    kettles: Annotated[tuple[str, ...], From("kettles", keys=True)] = ()
    height: float = 1.0
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()
