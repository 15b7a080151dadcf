"""Images a second of the check of files, with all that it finds in one file, against two peers on the same files:
Pillow's full load with ImageHash's dHash and hashlib's SHA-256, and cleanvision's default issues; one process a CPU
each, the cases in turn, the starts of processes not counted (but cleanvision's, which cannot be told apart).

    python -m pip install imagehash cleanvision
    python benchmarks/validation.py [FOLDER] [ROUNDS]
"""

import contextlib
import hashlib
import io
import multiprocessing
import statistics
import sys
import time
import warnings
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path

from PIL import Image

from components.data.check_settings import Thresholds
from components.data.facts import finished, look
from components.data.files import walk
from components.data.guard_worker import Limits
from components.data.guarded import AHEAD, CHUNK, guarded
from components.data.pool import processes

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "clothing" / "train"
IMAGES = 6_000  # at least; a smaller folder is gone through several times
HEARD = 64  # results of one message of the peer's pool


def peer(path: str) -> tuple[str, str]:
    """What the first peer does with a file."""
    import imagehash

    content = Path(path).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return str(imagehash.dhash(image)), hashlib.sha256(content).hexdigest()


def ours(root: Path, paths: list[str], count: int) -> tuple[float, float]:
    """Images a second of the check, and the most MiB that a worker came to.

    What the workers may have done before the clock starts, with the first result, is left out of the number.
    """
    results = guarded(partial(look, str(root)), paths, count, Limits(), finish=partial(finished, Thresholds()))
    next(results)
    began = time.perf_counter()
    most = 0.0
    for number, _ in enumerate(results, 2):
        if number == len(paths) - AHEAD * CHUNK * count:  # while all are at work
            most = max(peak(process.pid or 0) for process in multiprocessing.active_children())
    return (len(paths) - AHEAD * CHUNK * count) / (time.perf_counter() - began), most


def peak(process: int) -> float:
    """The most memory that a process has had, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def pillow(pool: Pool, root: Path, paths: list[str]) -> float:
    """Images a second of the first peer, in processes that are running already."""
    began = time.perf_counter()
    pool.map(peer, [f"{root}/{path}" for path in paths], chunksize=HEARD)
    return len(paths) / (time.perf_counter() - began)


def cleanvision(root: Path, paths: list[str], count: int) -> float:
    """Images a second of the second peer, on the files once."""
    from cleanvision import Imagelab

    names = sorted({f"{root}/{path}" for path in paths})
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Imagelab(filepaths=names, verbose=False).find_issues(n_jobs=count, verbose=False)
    return len(names) / (time.perf_counter() - began)


def told(name: str, ours_: list[float], theirs: list[float]) -> str:
    """The ratio of speeds, round by round."""
    ratios = sorted(one / other for one, other in zip(ours_, theirs, strict=True))
    return (f"check / {name} = {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
            f"{statistics.median(theirs):.0f} images/s")


def main() -> None:
    """Print both ratios and the memory of a worker."""
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    paths = walk(root).files
    paths *= -(-IMAGES // len(paths))
    count = processes(0)
    warnings.simplefilter("ignore")
    speeds: dict[str, list[float]] = {"check": [], "Pillow + dHash + SHA-256": [], "cleanvision": []}
    memory = 0.0
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        pillow(pool, root, paths[: HEARD * count])
        for _ in range(rounds):
            speed, most = ours(root, paths, count)
            memory = max(memory, most)
            speeds["check"].append(speed)
            speeds["Pillow + dHash + SHA-256"].append(pillow(pool, root, paths))
            speeds["cleanvision"].append(cleanvision(root, paths, count))
    print(f"{len(paths)} images of {root.name}, {count} processes, {rounds} rounds")
    print(f"check: {statistics.median(speeds['check']):.0f} images/s, at most {memory:.0f} MiB a worker")
    for name in ("Pillow + dHash + SHA-256", "cleanvision"):
        print(told(name, speeds["check"], speeds[name]))


if __name__ == "__main__":
    try:
        import cleanvision as _
        import imagehash as _  # noqa: F401, F811
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is missing: python -m pip install imagehash cleanvision")
    main()
