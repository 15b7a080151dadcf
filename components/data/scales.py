"""Multi-scale training: which size a step looks at."""

from components.data.batch_settings import Scales, nearest
from components.data.chance import generator


def sizes_near(scales: Scales, size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes (height, width) to choose from: on the grid, the proportions kept to it; without a share, the size."""
    if scales.share == 0:
        return [size]
    return [(height, nearest(height * size[1] / size[0], scales.grid)) for height in scales.heights(size[0])]


def size_at(scales: Scales, size: tuple[int, int], seed: int, step: int) -> tuple[int, int]:
    """Height and width at a step, drawn from (seed, step // every) alone."""
    choices = sizes_near(scales, size)
    if len(choices) == 1:
        return choices[0]
    return choices[int(generator(seed, "scale", step // scales.every).integers(len(choices)))]
