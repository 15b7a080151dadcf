"""The services of `make services`, for tests: started in a folder that every user may enter, ended in any case."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imports import ROOT

# What the shell of a user may hold for another PostgreSQL, and for the web; none of it is meant for our services.
OTHERS = {"PGPASSWORD": "of another one", "PGSERVICE": "another", "PGSSLMODE": "require",
          "http_proxy": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class Services:
    """A folder of services and the commands on it."""

    folder: Path

    def command(self, *words: str, path: str = "") -> "subprocess.CompletedProcess[str]":
        """`python -m pipeline services ...`, to its end. path: goes before that of this process."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        variables |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]),
                      "PATH": path + os.environ["PATH"]} | OTHERS
        variables.pop("STILLHOUSE_STORE", None)
        return subprocess.run([sys.executable, "-m", "pipeline", "services", *words, "--folder", str(self.folder)],
                              env=variables, capture_output=True, text=True, check=False, timeout=300)

    def start(self, *words: str) -> dict[str, str]:
        """Start what does not run; the variables that clients need."""
        done = self.command("start", *words)
        assert done.returncode == 0, done.stderr
        lines = [line.removeprefix("export ") for line in done.stdout.splitlines()]
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def stop(self) -> None:
        done = self.command("stop")
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, str]:
        """What is said of each service."""
        lines = self.command("status").stdout.splitlines()
        return {name: rest for name, _, rest in (line.partition(" ") for line in lines)}

    def process(self, name: str) -> int:
        return int(self.status()[name].split("process ")[1].split(",")[0])


@contextmanager
def services() -> Iterator[Services]:
    """A fresh folder of services, stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-services-") as folder:
        Path(folder).chmod(0o755)  # where root runs the tests, PostgreSQL is another user
        made = Services(Path(folder) / "services")
        try:
            yield made
        finally:
            if made.folder.exists():
                made.stop()


def missing() -> str:
    """Why the services cannot be started on this machine; "" where they can."""
    database = shutil.which("postgres") or any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    absent = [package for package, found in (("postgresql", database), ("redis-server", shutil.which("redis-server")))
              if not found]
    return f"not installed: {', '.join(absent)}" if absent else ""
