"""Seconds of `dvc repro` with nothing to do, over images in a folder and over a manifest file that names them, against
one bare walk that stats every file.

    python benchmarks/noop.py 1000 10000 50000
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STAGES = """stages:
  validate: {{cmd: "mkdir -p out && echo 1 > out/manifest", deps: [{source}], outs: [out/manifest]}}
  index: {{cmd: echo 1 > out/dataset, deps: [out/manifest], outs: [out/dataset]}}
  train: {{cmd: echo 1 > out/model, deps: [out/dataset], outs: [out/model]}}
  evaluate: {{cmd: echo 1 > out/report, deps: [out/dataset, out/model], outs: [out/report]}}
"""
ROUNDS = 5


def project(root: Path, images: Path, source: str) -> Path:
    """A folder with DVC, four stages and their results; source: what the first depends on."""
    root.mkdir()
    (root / "images").symlink_to(images)
    (root / "images.csv").write_text("".join(f"{path.name},train,a\n" for path in sorted(images.iterdir())))
    (root / "dvc.yaml").write_text(STAGES.format(source=source))
    run(root, "init", "--no-scm", "-q")
    run(root, "repro", "-q")
    return root


def run(root: Path, *arguments: str) -> None:
    """One command of DVC."""
    quiet = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run([Path(sys.executable).parent / "dvc", *arguments], cwd=root, env=quiet, check=True,
                   stdout=subprocess.DEVNULL)


def walk(folder: Path) -> None:
    """One stat of every file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()


def seconds(action: Callable[[], None]) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Print seconds, and microseconds a file above what no file costs."""
    print("files    folder s  manifest s  walk s  us a file, folder  us a file, manifest")
    base: dict[str, float] = {}
    for count in [10, *map(int, sys.argv[1:] or ("1000", "10000", "50000"))]:
        with tempfile.TemporaryDirectory() as temporary:
            images = Path(temporary) / "images"
            images.mkdir()
            for number in range(count):
                (images / f"{number:07d}.jpg").write_bytes(os.urandom(1024))
            roots = {name: project(Path(temporary) / name, images, source)
                     for name, source in (("folder", "images"), ("manifest", "images.csv"))}
            times: dict[str, list[float]] = {"folder": [], "manifest": [], "walk": []}
            for _ in range(ROUNDS):
                for name, root in roots.items():
                    times[name].append(seconds(lambda root=root: run(root, "repro", "-q")))
                times["walk"].append(seconds(lambda images=images: walk(images)))
        found = {name: statistics.median(values) for name, values in times.items()}
        base = base or found
        each = [(found[name] - base[name]) / count * 1e6 for name in ("folder", "manifest")]
        print(f"{count:<8} {found['folder']:<9.2f} {found['manifest']:<11.2f} {found['walk']:<7.3f} "
              f"{each[0]:<18.0f} {each[1]:.0f}", flush=True)


if __name__ == "__main__":
    main()
