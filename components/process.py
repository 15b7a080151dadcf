"""How a process is set up before it computes: what costs time on CPUs and changes no result."""

import atexit
import ctypes
import gc
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of the GNU C library
SPIN = "10000"


def prepare() -> None:
    """Keep freed memory, and let idle threads sleep soon; must come before torch is imported.

    A training step frees and takes gigabytes a second, which malloc would return to the kernel and fault in anew, page
    by page. OpenMP threads that spin for long while they wait stall a machine that others use too; a short spin costs
    nothing there and next to nothing on an idle one (`benchmarks/process.py`). At its end Python looks for garbage
    among the 400,000 objects of torch and timm, several times, for more than a second: nothing frees memory then.
    """
    atexit.register(gc.freeze)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 64 << 20)):
            mallopt(option, value)
