"""`stillhouse init FOLDER [--from IMAGES]`: make a repository of your own for an installed Stillhouse; upgrade it."""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components import pin
from components.errors import UsageError, UserError

if TYPE_CHECKING:
    from components.commands.repository import Choice

MERGED = (".gitignore", ".dvcignore", "requirements.txt")  # get our lines behind what is there
KEPT = ("README.md", ".dvc/config", ".dvc/.gitignore", "registry/latest.json")  # left alone where they are there
WORK = ".stillhouse"  # ignored by git
PINNED = "stillhouse=="


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="the repository (default: this folder)")
    parser.add_argument("--from", type=Path, dest="images", metavar="IMAGES",
                        help="your images: a folder, or a manifest of them (default: drawn ones, to try things out)")
    parser.add_argument("--root", type=Path, metavar="FOLDER",
                        help="where the paths of a manifest or of lists begin, if not beside them")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.add_argument("--no-git", action="store_true", help="make no git repository where there is none")
    parser.add_argument("--upgrade", action="store_true", help="bring a repository to the version that is installed: "
                        "what you have not changed is written anew, what you have is named")
    parser.add_argument("--check", action="store_true", help="only say whether it fits the version that is installed")
    parser.add_argument("--show", metavar="FILE", help="print a file as --upgrade would write it, e.g. dvc.yaml")


def command(options: argparse.Namespace) -> None:
    """Do what was asked for; UserError where something is in the way."""
    later = [name for name in ("upgrade", "check", "show") if getattr(options, name)]
    first = [name for name in ("images", "root", "force") if getattr(options, name)]
    if len(later) > 1 or (later and first):
        raise UsageError("--upgrade, --check and --show go alone: they are for a repository that is there already",
                         "stillhouse init --help")
    if options.upgrade:
        upgrade(options.folder)
    elif options.check:
        check(options.folder)
    elif options.show:
        show(options.folder, options.show)
    else:
        create(options)


def create(options: argparse.Namespace) -> None:
    """Make the repository and say what was found and what to type next; all is checked before anything is written."""
    from components.commands.looking import look
    from components.commands.repository import contents
    from components.data.settings import Data

    folder: Path = options.folder
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "name a folder")
    found = [] if options.images is None else list(look(options.images, Data(root=str(options.root or ""))))
    choice = chosen(options)
    files = contents(choice)
    if not options.force:
        refuse_taken(folder, files)
    left = [name for name in KEPT if name in files and present(folder, name) not in (None, files[name])]
    write(folder, {name: text for name, text in files.items() if name not in left})
    if choice.git and not in_git(folder):
        subprocess.run(["git", "init", "-q", str(folder)], check=True)
    print("\n".join([*found, f"{folder}: {len(files) - len(left) + 1} files for Stillhouse {pin.version()}"]))
    for name in left:
        print(f"warning: {folder / name} was there and is left alone", file=sys.stderr)
    warn_of_place(folder)
    print("\n".join(next_steps(folder, choice)))


def chosen(options: argparse.Namespace) -> "Choice":
    """What the repository is for; paths inside it are relative, others absolute, so that they hold from any folder."""
    from components.commands.repository import Choice

    folder: Path = options.folder
    git = in_git(folder) or (not options.no_git and shutil.which("git") is not None)
    name = folder.absolute().name or "images"
    if options.images is None:
        return Choice(name, git=git)
    root = "" if options.root is None else placed(options.root, folder)
    path = placed(options.images, folder)
    return Choice(name, path, root, not Path(path).is_absolute() and options.images.is_dir(), git)


def placed(path: Path, folder: Path) -> str:
    """A path as params.yaml in a folder names it."""
    from components.data.settings import Data

    there, here = path.resolve(), folder.resolve()
    if there == here:
        raise UserError(f"{path} is the repository itself", "put the images into a folder below it, or elsewhere")
    name = there.relative_to(here).as_posix() if here in there.parents else there.as_posix()
    if name == Data().path:
        raise UserError(f"{path} is where drawn images go, which take the place of what is there",
                        "give your images' folder another name")
    return name


def refuse_taken(folder: Path, files: Mapping[str, str]) -> None:
    """UserError where a file is there already that is another than would be written."""
    fixed = {name: text for name, text in files.items() if name not in (*MERGED, *KEPT)}
    taken = [name for name, text in fixed.items() if present(folder, name) not in (None, text)]
    if (folder / pin.NAME).exists():
        raise UserError(f"{folder / pin.NAME} is there: this is a repository of Stillhouse already",
                        "bring it to the installed version: stillhouse init --upgrade; or write over it: --force")
    if taken:
        raise UserError(f"{folder / taken[0]} is there already{f', and {len(taken) - 1} more' * (len(taken) > 1)}; "
                        "nothing was written", "name another folder, or write over them: --force")


def present(folder: Path, name: str) -> str | None:
    """The text of a file of a repository; None where there is none."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, IsADirectoryError, NotADirectoryError):
        return ""  # nothing of ours


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, those that others share merged with what is there, and last the lock that names them."""
    from components.storage.atomic import write_file
    from components.storage.locks import locked

    folder.mkdir(parents=True, exist_ok=True)
    noted: dict[str, str] = pin.read(folder)["files"] if (folder / pin.NAME).is_file() else {}
    with locked([folder / WORK / "init"]):
        for name, text in files.items():
            whole = merged(present(folder, name) or "", text) if name in MERGED else text
            write_file(folder / name, whole)
            noted[name] = digest(whole)
        lock = {"version": pin.version(), "code": pin.code_digests(), "files": noted}
        write_file(folder / pin.NAME, json.dumps(lock, indent=1, sort_keys=True) + "\n")


def merged(there: str, ours: str) -> str:
    """A text with those of our lines behind it that it lacks; another version of ours gives way.

    >>> merged("numpy\\nstillhouse==0.0.1", "stillhouse==0.1.0\\n")
    'numpy\\nstillhouse==0.1.0\\n'
    """
    lines = [line for line in there.splitlines() if not line.startswith(PINNED)]
    return "".join(f"{line}\n" for line in [*lines, *(line for line in ours.splitlines() if line not in lines)])


def digest(text: str) -> str:
    """SHA-256 (hex) of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_git(folder: Path) -> bool:
    """Whether a folder, which need not be there yet, lies in a git repository."""
    return git_root(folder) is not None


def git_root(folder: Path) -> Path | None:
    """The git repository that a folder lies in."""
    whole = folder.resolve()
    return next((one for one in (whole, *whole.parents) if (one / ".git").exists()), None)


def warn_of_place(folder: Path) -> None:
    """Say it where the repository is a part of a larger one, whose workflows alone GitHub runs."""
    from components.commands.repository import WORKFLOW

    root = git_root(folder)
    if root is not None and root != folder.resolve():
        print(f"warning: {folder} lies in the git repository {root}: move {WORKFLOW} there, and give its steps "
              "a working-directory", file=sys.stderr)


def next_steps(folder: Path, choice: "Choice") -> list[str]:
    """What to type next."""
    here = folder.resolve() == Path.cwd()
    lines = [] if here else [f"  cd {folder}"]
    lines += ["  git add . && git commit -m 'A repository for Stillhouse'"] if choice.git else []
    return ["next:", *lines, "  dvc repro          # everything, on this machine; settings stand in params.yaml",
            "  stillhouse summary"]


def present_choice(folder: Path) -> "Choice":
    """What an existing repository is for, as its params.yaml says."""
    from components.commands.repository import Choice
    from components.data.settings import Data
    from components.settings import Params

    params = Params.load(folder / "params.yaml")
    path = params.setting("data.path")
    inside = not Path(path).is_absolute() and path != Data().path and (folder / path).is_dir()
    return Choice(folder.resolve().name, path, params.setting("data.root"), inside, in_git(folder))


def upgrade(folder: Path) -> None:
    """Write anew what the user has not changed, name what is left alone, and pin the code that is installed."""
    from components.commands.repository import contents, unwritten

    noted, files = pin.read(folder), contents(present_choice(folder))
    mine: dict[str, str] = noted["files"]
    there = {name: present(folder, name) for name in files}
    wanted, left = {}, []
    for name, text in files.items():
        now = there[name]
        untouched = name in mine and now is not None and digest(now) == mine[name]
        if now == text or untouched or (now is not None and name in MERGED) or (name not in mine and now is None):
            wanted[name] = text
        elif now is not None and name not in KEPT:
            left.append(name)
    changed = stages_changed(noted["code"])
    write(folder, wanted)
    for name in left:
        print(f"warning: {folder / name} was changed here and is left alone; what is new in it: "
              f"stillhouse init --show {name} | diff {folder / name} -", file=sys.stderr)
    for name in unwritten(files["dvc.yaml"], present(folder, "params.yaml") or ""):
        print(f"warning: {folder / 'params.yaml'} does not write {name}, which a stage now watches: copy it from "
              "stillhouse init --show params.yaml", file=sys.stderr)
    print(f"{folder}: from Stillhouse {noted['version']} to {pin.version()}; {changed}")


def stages_changed(before: Mapping[str, str]) -> str:
    """What an upgrade runs again, in words."""
    changed = [name for name, digest in pin.code_digests().items() if before.get(name) != digest]
    if not changed:
        return "no stage has other code: dvc repro runs nothing again for it"
    return f"dvc repro runs again what has other code now, and what hangs on it: {', '.join(changed)}"


def check(folder: Path) -> None:
    """UserError where a repository is made for other code than is installed."""
    lock = pin.read(folder)
    if lock["code"] != pin.code_digests() or lock["version"] != pin.version():
        raise UserError(f"{folder / pin.NAME} was written for Stillhouse {lock['version']}; {pin.version()} is "
                        f"installed, and {stages_changed(lock['code'])}", "stillhouse init --upgrade")
    print(f"{folder}: fits Stillhouse {pin.version()}")


def show(folder: Path, name: str) -> None:
    """Print a file as the installed version would write it for this repository."""
    from components.commands.repository import contents
    from components.errors import near

    pin.read(folder)
    files = contents(present_choice(folder))
    if name not in files:
        raise UsageError(f"{name} is no file that init writes.{near(name, files)}", f"one of {', '.join(files)}")
    sys.stdout.write(files[name])
