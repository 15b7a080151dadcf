"""What views were made by: digests of the code and of the random generator, for the head of a store."""

import ast
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from components.data.chance import sample_keys, uniforms

# The modules that decide what a view looks like; a test holds them against what they import.
VIEW_CODE = ("components.data.augment", "components.data.chance", "components.data.mixing",
             "components.data.my_augment", "components.data.overlays", "components.data.pixel_operations",
             "components.data.policies", "components.data.views")


def code_digest(modules: tuple[str, ...] = VIEW_CODE) -> str:
    """SHA-256 (hex) of what some modules do: their code without comments, docstrings and line breaks."""
    digest = hashlib.sha256()
    for name in modules:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None, f"{name} is a module of this project"
        digest.update(f"{name}\n{bare(Path(spec.origin).read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()


def bare(source: str) -> str:
    """Python code as it reads without comments and docstrings.

    >>> bare('def f(x):  # why' + chr(10) + '    "Says."' + chr(10) + '    return x')
    'def f(x):\\n    return x'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def generator_digest() -> str:
    """SHA-256 (hex) of draws for known keys: another generator, or another way to key it, gives another digest."""
    ids = np.arange(8 * 32, dtype=np.uint8).reshape(8, 32)
    draws = [uniforms(sample_keys(seed, "augment", ids, view), 4) for seed in (0, 1) for view in (1, 2)]
    return hashlib.sha256(np.stack(draws).astype("<f8").tobytes()).hexdigest()
