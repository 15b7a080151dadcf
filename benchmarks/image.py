"""How large the image is, what of it is torch and CUDA, and how soon `stillhouse` starts in it.

    python benchmarks/image.py stillhouse:COMMIT [--results benchmarks/results/image.json]

Sizes are those of files on disk, as the engine counts layers. Start-up is told twice: the program's own time in a
container that runs already (beside its CPU seconds, which do not grow with what else the machine does), and the whole
of `docker run`, most of which is the engine's.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

HEAVY = ("nvidia", "torch", "triton")
ROUNDS = 7
STARTS = """
import resource, subprocess, time
times = []
for _ in range(%d):
    started = time.monotonic()
    subprocess.run(["stillhouse", "--help"], stdout=subprocess.DEVNULL, check=True)
    times.append(time.monotonic() - started)
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(*times, (spent.ru_utime + spent.ru_stime) / len(times))
"""
SIZES = """
import json, os
from pathlib import Path
(packages,) = Path("/opt/stillhouse").glob("lib/python*/site-packages")
files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
sizes, bytecode = {}, 0
for path in files:
    size = path.stat().st_size
    sizes[path.relative_to(packages).parts[0]] = sizes.get(path.relative_to(packages).parts[0], 0) + size
    bytecode += size if path.suffix == ".pyc" else 0
print(json.dumps({"packages": sizes, "bytecode": bytecode}))
"""


def docker(*arguments: str) -> str:
    """What the client prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def python(image: str, code: str) -> str:
    """What some Python in a container prints."""
    return docker("run", "--rm", "--network=host", "--read-only", "--entrypoint=python3", image, "-c", code)


def whole_start(image: str) -> float:
    """Seconds of `docker run IMAGE --help`, container and all."""
    started = time.monotonic()
    docker("run", "--rm", "--network=host", "--read-only", image, "--help")
    return time.monotonic() - started


def measure(image: str) -> dict[str, Any]:
    """All figures: sizes in bytes, seconds as medians and the quickest."""
    told = json.loads(python(image, SIZES))
    *starts, cpu = map(float, python(image, STARTS % ROUNDS).split())
    sizes: dict[str, int] = told["packages"]
    return {
        "size": int(docker("image", "inspect", "--format", "{{.Size}}", image)),
        "torch and CUDA": sum(sizes[name] for name in HEAVY),
        "bytecode": told["bytecode"],
        "packages": dict(sorted(sizes.items(), key=lambda item: -item[1])[:15]),
        "start": {"median": statistics.median(starts), "quickest": min(starts), "CPU": cpu,
                  "docker run": statistics.median(whole_start(image) for _ in range(ROUNDS))},
    }


def main() -> None:
    """Print the figures and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="name of an image that the engine has")
    parser.add_argument("--results", type=Path, help="JSON file to write the figures to")
    options = parser.parse_args()
    found = measure(options.image)
    share = found["torch and CUDA"] / found["size"]
    print(f"image {found['size'] / 1e9:.2f} GB: torch, CUDA and triton {found['torch and CUDA'] / 1e9:.2f} GB "
          f"({share:.0%}), bytecode {found['bytecode'] / 1e9:.2f} GB")
    print("largest packages, MB: " + ", ".join(f"{name} {size / 1e6:.0f}" for name, size in found["packages"].items()))
    print("stillhouse --help: {median:.2f} s, quickest {quickest:.2f} s, of CPU {CPU:.2f} s; "
          "docker run: {docker run:.2f} s".format(**found["start"]))
    if options.results:
        options.results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
