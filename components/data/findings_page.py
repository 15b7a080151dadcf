"""The page of findings."""
from pathlib import Path
from collections.abc import Sequence
import pandas as pd
from components.data.tasks import Task

def page(root: Path, rows: pd.DataFrame, tasks: Sequence[Task], notes: Sequence[str]) -> str:
    """HTML."""
    return "<!doctype html>"
