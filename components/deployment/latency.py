"""How long a network takes to answer: medians of warm runs, by batch size."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

WARM, LEAST, MOST = 3, 5, 50  # runs
SECONDS = 1.0  # that measuring one batch size may take, once LEAST runs are done


def median_milliseconds(run: Callable[[], object]) -> float:
    """Milliseconds of a call: the median of runs after a few that warm it up."""
    for _ in range(WARM):
        run()
    taken: list[float] = []
    while len(taken) < LEAST or (len(taken) < MOST and sum(taken) < 1000 * SECONDS):
        started = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def torch_latency(network: nn.Module, size: tuple[int, int], batch: int, device: torch.device) -> float:
    """Milliseconds for a batch of normalised images float32 [batch, 3, h, w], on a device until it is done."""
    images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    network = network.to(device).eval()

    def run() -> None:
        network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        return median_milliseconds(run)


def onnx_latency(graph: Path, batch: int, threads: int) -> float:
    """Milliseconds for a batch of stored pixels by ONNX Runtime on the CPU, preprocessing and calibration included."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    pixels = np.zeros((batch, *given.shape[1:]), np.uint8)
    return median_milliseconds(lambda: session.run(None, {given.name: pixels}))
