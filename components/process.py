"""How a process is set up before it computes: what costs time on CPUs and changes no result."""

import atexit
import ctypes
import gc
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of the GNU C library
SPIN = "10000"
RHYTHM = (10_000, 10, 10)  # new objects between two looks for garbage, 700 by default; looks before older ones are too


def prepare() -> None:
    """Keep freed memory, let idle threads sleep soon, look less for garbage; must come before torch is imported.

    A training step frees and takes gigabytes a second, which malloc would return to the kernel and fault in anew, page
    by page. OpenMP threads that spin for long while they wait stall a machine that others use too; a short spin costs
    nothing there and next to nothing on an idle one (`benchmarks/process.py`). Importing torch and timm makes 400,000
    objects that stay: Python's usual rhythm spends a second on looking for garbage among them, and another at the end,
    when nothing needs to be freed (`benchmarks/overhead.py`).
    """
    gc.set_threshold(*RHYTHM)
    atexit.register(gc.freeze)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 64 << 20)):
            mallopt(option, value)
