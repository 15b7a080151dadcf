"""Files of a raw folder: one walk over it, which of them are images, and names that can be trusted."""

import os
import posixpath
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.decoding import IMAGE_SUFFIXES, sniff
from components.errors import UserError
from components.storage.digests import printable

LONGEST_MAGIC = 16
# Suffixes of images that no decoder of ours reads: such a file is listed, so that `validate` names it.
FOREIGN = frozenset((
    ".arw", ".avif", ".blp", ".bw", ".cr2", ".cur", ".dds", ".dng", ".eps", ".exr", ".fits", ".flc", ".fli",
    ".hdr", ".heic", ".heif", ".icns", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".msp", ".nef", ".pbm",
    ".pcx", ".pfm", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".raw", ".rgb", ".sgi", ".svg", ".tga", ".xbm", ".xpm",
))
MOST_LINKS = 3  # linked folders within linked folders: more is a knot
Identity = tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """What lies below a folder: relative POSIX paths in the order of their bytes, without hidden files and folders.

    files: whatever is no folder, sockets and dead links too. notes: what could not be entered, in words.
    """

    files: list[str]
    folders: list[str]
    notes: list[str]


def root_of(source: Path, root: str) -> Path:
    """The folder that paths of a data set are relative to: data.root where it is set, else the source or its folder."""
    if root:
        return Path(root)
    return source.parent if source.is_file() else source


def walk(root: Path) -> Tree:
    """Everything below a folder; links to folders are followed, but never back into a folder that they lie in."""
    files: list[str] = []
    folders: list[str] = []
    troubles: dict[str, list[str]] = {"closed": [], "back": [], "knot": []}
    waiting: list[tuple[str, tuple[Identity, ...], int]] = [("", (identity(root),), 0)]
    while waiting:
        prefix, above, links = waiting.pop()
        try:
            with os.scandir(root / prefix) as entries:
                below = visible(entries, prefix, files)
        except OSError as error:
            troubles["closed"].append(f"{prefix or './'} ({error.strerror})")
            continue
        for entry in below:
            here, linked, name = identity(entry), links + entry.is_symlink(), prefix + entry.name
            if here in above or linked > MOST_LINKS:
                troubles["back" if here in above else "knot"].append(name)
                continue
            folders.append(name)
            waiting.append((f"{name}/", (*above, here), linked))
    return Tree(trusted(root, sorted(files)), sorted(folders), told(troubles))


def visible(entries: Iterable["os.DirEntry[str]"], prefix: str, files: list[str]) -> list["os.DirEntry[str]"]:
    """The folders among the entries that are not hidden; the names of the others go to files."""
    below = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if is_folder(entry):
            below.append(entry)
        else:
            files.append(prefix + entry.name)
    return below


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one; a link that goes in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def identity(folder: "Path | os.DirEntry[str]") -> Identity:
    """What tells a folder from all others, by whatever name it is reached."""
    try:
        found = folder.stat()
    except OSError:  # it will not open either
        return -1, hash(os.fspath(folder))
    return found.st_dev, found.st_ino


def told(troubles: dict[str, list[str]]) -> list[str]:
    """What could not be entered, in words."""
    words = {"closed": "folders cannot be opened and are left out",
             "back": "links lead back into a folder that they lie in and are not followed",
             "knot": f"links are more than {MOST_LINKS} links deep and are not followed"}
    return [f"{len(names)} {words[kind]}: {listed(names)}" for kind, names in troubles.items() if names]


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted; none where it is no folder or cannot be opened."""
    return sorted(entry.name for entry in glance(folder) if is_folder(entry))


def glance(folder: Path) -> list["os.DirEntry[str]"]:
    """What lies in a folder and is not hidden; nothing where it is no folder or cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []


def holds_images(folder: Path) -> bool:
    """Whether a file below a folder, however deep, has the name of an image; looks no further than the first."""
    inside: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if has_image_suffix(entry.name):
                    return True
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    inside.append(Path(entry))
    except OSError:
        return False
    return any(map(holds_images, inside))


def trusted(root: Path, names: list[str]) -> list[str]:
    """The names as they are; UserError for one that is not UTF-8 text, shown escaped."""
    try:
        "".join(names).encode("utf-8")
    except UnicodeEncodeError:
        bad = next(name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name))
        raise UserError(f"{root}: the name {printable(bad)} is not UTF-8 text",
                        "rename it (for a whole tree: convmv -f latin1 -t utf8 --notest -r FOLDER)") from None
    return names


def images(root: Path, names: Iterable[str], notes: list[str]) -> list[str]:
    """Those of some names below root that claim to be images: by suffix or the lack of one, or by their first bytes.

    What is left out is counted in notes.
    """
    taken: list[str] = []
    others: list[str] = []
    for name in names:
        suffix = posixpath.splitext(name)[1].lower()
        claims = suffix in IMAGE_SUFFIXES or not suffix or suffix in FOREIGN or is_image(root / name)
        (taken if claims else others).append(name)
    if others:
        notes.append(f"{len(others)} files that are no images are left out, for example {printable(others[0])}")
    return taken


def has_image_suffix(name: str) -> bool:
    """Whether a name is that of an image.

    >>> has_image_suffix("a.b/c.JPEG"), has_image_suffix("a.jpg/c")
    (True, False)
    """
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_image(path: Path) -> bool:
    """Whether a file begins like an image; what is no file, or cannot be opened, is left to `validate` to name."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            return True
        with path.open("rb") as stream:
            return bool(sniff(stream.read(LONGEST_MAGIC)))
    except OSError:
        return True


def other_spelling(path: str, known: Callable[[str], bool]) -> str:
    """Why a path may not be found that looks right, in words: another spelling of it is known; "" where none is.

    >>> other_spelling("data/raw/a.jpg", {"a.jpg"}.__contains__)
    ': without data/raw/ it would be'
    """
    if "\\" in path and known(path.replace("\\", "/")):
        return ": with / for \\ it would be"
    for form in ("NFC", "NFD"):  # what macOS and others make of the same letters
        if path != unicodedata.normalize(form, path) and known(unicodedata.normalize(form, path)):
            return f": in the Unicode form {form} it would be"
    parts = path.strip("/").split("/")
    prefix = next(("/".join(parts[:k]) for k in range(1, len(parts)) if known("/".join(parts[k:]))), "")
    return f": without {prefix}/ it would be" if prefix else ""


def below(names: Iterable[str], place: str) -> Iterator[str]:
    """The parts of names behind a place ("" or a folder with its slash), of those that lie there.

    >>> list(below(["train/cat/1.jpg", "val/2.jpg"], "train/"))
    ['cat/1.jpg']
    """
    length = len(place)
    return (name[length:] for name in names if name.startswith(place))


def listed(names: Iterable[str], most: int = 3) -> str:
    """Some names for a message, the number of the others behind them.

    >>> listed(["b", "a", "c", "d"]), listed(["a"])
    ('a, b, c and 1 more', 'a')
    """
    ordered: Sequence[str] = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(printable(name) for name in ordered[:most]) + more
