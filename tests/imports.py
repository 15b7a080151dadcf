"""What Python files import, read from their syntax: nothing is executed."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def module_file(module: str) -> Path | None:
    """The file of a first-party module; None where there is none of that name."""
    base = ROOT / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def module_of(path: Path) -> str:
    """The dotted name of a first-party file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def python_files(*packages: str) -> list[Path]:
    """All modules of some first-party packages."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Everything that a file imports anywhere, also inside functions, but for the eyes of the type checker only.

    Of `from a import b` it is a.b where that is a first-party module, else a.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(child) for node in ast.walk(tree)
               if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
               for child in ast.walk(node)}
    found: set[str] = set()
    for node in (node for node in ast.walk(tree) if id(node) not in skipped):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else str(node.module) for name in names}
    return frozenset(found)


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of ours, or of torch where rules speak of one."""
    ours = name.split(".")[0] in ("components", "pipeline")
    return name == "torch.distributed" or (ours and module_file(name) is not None)


def first_party(path: Path) -> set[str]:
    """The modules of this project that a file imports."""
    return {name for name in imports_of(path) if name.split(".")[0] in ("components", "pipeline")}
