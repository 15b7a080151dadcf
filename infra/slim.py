"""Takes out of an installed environment what nothing reads at run time, and compiles the rest for good.

    python3 slim.py /opt/stillhouse --apart /heavy torch nvidia

Runs in the build of the image, with the standard library alone. Headers stay: whoever adds a compiler needs them.
"""

import argparse
import compileall
import os
import shutil
from pathlib import Path
from py_compile import PycInvalidationMode


def main() -> None:
    """Remove, compile, move apart, and say what that saved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="folder of a virtual environment")
    parser.add_argument("--apart", nargs="+", default=[], metavar=("FOLDER", "PACKAGE"),
                        help="move packages to the same places below another folder")
    options = parser.parse_args()
    (packages,) = options.environment.glob("lib/python*/site-packages")
    for what, paths in (("tests", test_folders(packages)), ("static libraries", list(packages.rglob("*.a")))):
        print(f"{what}: {removed(paths) / 1e6:.0f} MB less", flush=True)
    compile_for_good(packages)
    if options.apart:
        move_apart(packages, Path(options.apart[0]) / packages.relative_to(options.environment), options.apart[1:])


def test_folders(packages: Path) -> list[Path]:
    """The outermost folders called `tests` inside packages; a package's `testing` is part of what it offers."""
    found = []
    for top, folders, _ in os.walk(packages):
        if "tests" in folders:
            folders.remove("tests")
            found.append(Path(top) / "tests")
    return found


def removed(paths: list[Path]) -> int:
    """Remove files and folders; how many bytes they held."""
    size = 0
    for path in paths:
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        size += sum(one.lstat().st_size for one in files)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return size


def compile_for_good(packages: Path) -> None:
    """Write bytecode that holds no times, so that equal sources make equal layers, and that is never checked again."""
    compileall.compile_dir(packages, quiet=2, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def move_apart(packages: Path, target: Path, names: list[str]) -> None:
    """Move packages to another folder, from where a layer of their own is made."""
    target.mkdir(parents=True)
    for name in names:
        (packages / name).rename(target / name)


if __name__ == "__main__":
    main()
