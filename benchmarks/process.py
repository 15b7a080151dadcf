"""Images a second of a small network's training step, with and without `components.process.prepare`, idle and beside
a busy process; each case in a fresh process, the cases in turn.

    python benchmarks/process.py
"""

import statistics
import subprocess
import sys

STEP = """
import sys
if sys.argv[1] == "prepared":
    from components.process import prepare
    prepare()
import time, torch
from torch.nn.functional import cross_entropy
from components.models.network import build_network
from components.models.settings import Architecture
from components.data.tasks import Task
torch.set_num_threads(2)
options = {"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16}
network = build_network(Architecture(name="resnet18", options=options), (Task("t", "single", ("a", "b")),), (96, 96), 0)
network.to(memory_format=torch.channels_last)
images, labels = torch.randn(64, 3, 96, 96).contiguous(memory_format=torch.channels_last), torch.arange(64) % 2
times = []
for _ in range(12):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images).logits["t"]
    cross_entropy(logits.float(), labels).backward()
    times.append(time.perf_counter() - start)
print(64 / sorted(times)[6])
"""
BUSY = "import time\nend = time.time() + 120\nwhile time.time() < end: pass"


def speed(case: str) -> float:
    """Images a second of one fresh process."""
    done = subprocess.run([sys.executable, "-c", STEP, case], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the ratio of speeds, idle and busy."""
    for place in ("idle", "beside a busy process"):
        beside = subprocess.Popen([sys.executable, "-c", BUSY]) if place != "idle" else None
        try:
            ratios = [speed("prepared") / speed("plain") for _ in range(3)]
        finally:
            if beside is not None:
                beside.kill()
                beside.wait()
        print(f"{place}: prepared / plain = {statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
