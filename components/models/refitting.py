"""A sealed model asked about images that are stored in another size or shape than it was made for."""

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from components.models.artifact import Model
from components.models.preprocessing import Normalise, Preprocess


class Framed(Preprocess):
    """Stored pixels get a frame that gives them the shape that the model knows, and are then resized as ever."""

    def __init__(self, frame: tuple[tuple[int, int], tuple[int, int], int], size: tuple[int, int],
                 normalise: Normalise) -> None:
        (height, width), (rows, columns), self.grey = frame
        super().__init__((rows, columns), size, normalise)
        top, left = (rows - height) // 2, (columns - width) // 2
        self.edges = (0, 0, left, columns - width - left, top, rows - height - top)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, h, w]."""
        return super().forward(functional.pad(pixels, self.edges, value=self.grey))


def refitted(model: Model, stored: tuple[int, int]) -> Model:
    """The model for images stored in this height and width, which keep their proportions on the way to its input."""
    geometry = model.head["geometry"]
    made_for, size = tuple(geometry["stored"]), tuple(geometry["input"])
    if made_for == stored:
        return model
    normalise = model.preprocess.normalise
    frame = framed(stored, made_for)
    look = Preprocess(stored, size, normalise) if frame == stored else Framed((stored, frame, geometry["pad"]), size,
                                                                              normalise)
    return replace(model, preprocess=look.eval())


def framed(stored: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The smallest height and width around `stored` that have the proportions of `shape`.

    >>> framed((128, 96), (64, 64)), framed((96, 128), (64, 64)), framed((64, 32), (128, 64))
    ((128, 128), (128, 128), (64, 32))
    """
    height, width = stored
    return max(height, round(width * shape[0] / shape[1])), max(width, round(height * shape[1] / shape[0]))
