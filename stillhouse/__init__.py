"""Stillhouse as it is installed: importing this makes `components` and `pipeline` importable, before any of that name.

Both lie in this package's own folder where a wheel is installed, and beside it in a working copy.
"""

import sys
from pathlib import Path

HOME = next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "components" / "cli.py").is_file())

_loaded = sys.modules.get("components")
if _loaded is not None and not Path(str(_loaded.__file__)).resolve().is_relative_to(HOME):
    raise ImportError(f"another package called components is loaded already, from {_loaded.__file__}: "
                      "import stillhouse before it, or in a process of its own")
sys.path[:] = [HOME, *(path for path in sys.path if path != HOME)]
