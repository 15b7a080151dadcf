"""The step `export`: one graph that holds preprocessing, network and calibration, proved equal to the model."""

from pydantic import Field

from components.contract import Input, Output
from components.settings import Runtime, Settings, SharedRuntime


class Export(Settings):
    """How the graph is written, and how near to the model its answers must be."""

    opset: int = Field(20, ge=18, le=23, description="version of the ONNX operators that the graph uses")
    max_difference: float = Field(1e-4, gt=0, lt=1, description="largest difference of a probability that passes")
    runtime: SharedRuntime = Runtime()


def export(settings: Export, /, *, dataset: Input, model: Input, evaluation: Input, exported: Output,
           metrics: Output) -> None:
    """Write the ONNX graph, check its parity on raw image files, describe the model."""
    raise NotImplementedError
