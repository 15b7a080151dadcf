"""Multi-scale training: which size a step looks at."""

from components.data.batch_settings import Scales, nearest
from components.data.chance import generator


def size_at(scales: Scales, size: tuple[int, int], seed: int, step: int) -> tuple[int, int]:
    """Height and width at a step, drawn from (seed, step // every) alone; the proportions are kept to the grid."""
    if scales.share == 0:
        return size
    choices = scales.heights(size[0])
    height = choices[int(generator(seed, "scale", step // scales.every).integers(len(choices)))]
    return height, nearest(height * size[1] / size[0], scales.grid)
