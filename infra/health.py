"""What the image's HEALTHCHECK asks: does a container that serves answer on its own address?

A container that runs a step or any other command is healthy as long as it runs, which its end tells better than a
probe. The first process's command line says which of the two this one is. Standard library alone.
"""

import http.client
import os
import sys
import urllib.request
from itertools import pairwise
from pathlib import Path

READY = "http://127.0.0.1:8080/v2/health/ready"  # STILLHOUSE_HEALTH_URL names another
SECONDS = 4.0


def main(process: Path = Path("/proc/1/cmdline")) -> int:
    """Return 0 for healthy, 1 for not. process: where the first process's words stand, ended by zeros."""
    words = process.read_text(encoding="utf-8", errors="replace").split("\0")
    return answers(os.environ.get("STILLHOUSE_HEALTH_URL", READY)) if serves(words) else 0


def serves(words: list[str]) -> bool:
    """Whether a command line is `stillhouse serve`, behind an interpreter or an init process or not.

    >>> serves(["/usr/bin/python3", "/opt/stillhouse/bin/stillhouse", "serve", "--port", "80", ""]), serves(["serve"])
    (True, False)
    """
    return any(Path(word).name == "stillhouse" and after == "serve" for word, after in pairwise(words))


def answers(url: str) -> int:
    """Return 0 where the address answers with success, else 1, and print why; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS):
            return 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{url}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
