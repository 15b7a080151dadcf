"""Where things lie in a store: shards of rows, the file of each, and what of the head binds them together."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.data.tasks import read_tasks
from components.probabilities.forms import Form, form_of, read_form
from components.probabilities.heads import SCHEMA
from components.storage.digests import value_digest

IDS = "ids.npy"
SHARD_BYTES = 32 << 20
FEWEST, MOST = 256, 4096  # rows of a shard: multiples of the batches of teachers; some minutes of a slow one
DEFAULTS = {"schema": SCHEMA, "kind": "probabilities", "scale": "natural logarithm, temperature 1",
            "dtype": "float16", "k": 0, "embedding": False}
LATER = ("key", "digest", "embeddings")  # fields of a head that are known only when the rest of it is


def rows_of_shards(rows: int, cell_bytes: int, views: int) -> int:
    """How many rows a shard has: a power of two, for files of up to 32 MiB and work that can be shared and resumed.

    >>> rows_of_shards(1500, 60, 9), rows_of_shards(1_281_167, 42, 9), rows_of_shards(10**6, 2000, 9)
    (256, 4096, 1024)
    """
    wish = min(SHARD_BYTES // max(1, cell_bytes * views), rows // 16, MOST)
    return max(FEWEST, 1 << (max(1, wish).bit_length() - 1))


def begun_head(given: Mapping[str, Any], rows: int, ids: str) -> dict[str, Any]:
    """The head of a store as far as it is known before the first part is written.

    given: what its writer knows; `tasks`, `sources` and `views` at least. ids: their SHA-256.
    """
    head: dict[str, Any] = {**DEFAULTS, "rows": rows, "ids": ids, **given}
    forms = {task.name: form_of(task, head["k"], head["dtype"]) for task in read_tasks(head["tasks"])}
    head["forms"] = {name: form.to_json() for name, form in forms.items()}
    largest = max(form.cell.itemsize for form in forms.values())
    head.setdefault("shard_rows", rows_of_shards(rows, largest, len(head["views"])))
    return head | {"key": key_of(head)}


def forms_of(head: Mapping[str, Any]) -> dict[str, Form]:
    """The forms that a head tells, by task."""
    return {task.name: read_form(task, head["forms"][task.name]) for task in read_tasks(head["tasks"])}


def shard_count(head: Mapping[str, Any]) -> int:
    """How many shards a source and task have."""
    return int(-(-head["rows"] // head["shard_rows"]))


def part_name(source: str, task: str, shard: int) -> str:
    """The path below a store of what a source says of a task.

    >>> part_name("deep", "hue", 3)
    'shards/deep/hue/00003.npy'
    """
    return f"shards/{source}/{task}/{shard:05d}.npy"


def embedding_name(source: str, shard: int) -> str:
    """The path below a store of the vectors of a source."""
    return f"embeddings/{source}/{shard:05d}.npy"


def names_of(head: Mapping[str, Any], source: str, shard: int) -> Iterator[str]:
    """All parts of a source's shard."""
    yield from (part_name(source, task["name"], shard) for task in head["tasks"])
    if head["embedding"]:
        yield embedding_name(source, shard)


def part_names(head: Mapping[str, Any]) -> Iterator[str]:
    """Every file of a store but its head."""
    yield IDS
    for source in head["sources"]:
        for shard in range(shard_count(head)):
            yield from names_of(head, source, shard)


def key_of(head: Mapping[str, Any]) -> str:
    """What binds the parts of a store to it: SHA-256 of all fields that are known before the first part is written."""
    return value_digest({name: value for name, value in head.items() if name not in LATER})
