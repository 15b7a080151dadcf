"""`stillhouse store info|verify|diff PATH...`: what stores hold, whether they are whole, how two differ."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UsageError, UserError

if TYPE_CHECKING:
    from components.probabilities.store import Store

ABOUT = {"info": "what is in each store, and how far an unfinished one has come",
         "verify": "hash every file of each store", "diff": "how the second store differs from the first"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["actions:", *(f"  {name:<8} {text}" for name, text in ABOUT.items())])
    parser.add_argument("action", choices=list(ABOUT), metavar="ACTION", help="info, verify or diff")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="stores, e.g. data/probabilities")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def command(options: argparse.Namespace) -> None:
    """Do what was asked for; UserError where a store is damaged."""
    if options.action == "diff":
        return diff(options.paths, options.json)
    if options.action == "verify":
        return verify(options.paths, options.json)
    found = {str(path): facts(path) for path in options.paths}
    print(as_json(found) if options.json else "\n\n".join("\n".join(shown(*one)) for one in found.items()))
    return None


def as_json(value: Any) -> str:
    """A value as these commands print it."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)


def facts(path: Path) -> dict[str, Any]:
    """What the head of a store says, how large it is, and for an unfinished one which parts are there."""
    from components.probabilities.heads import HEAD, UNFINISHED, read_head
    from components.probabilities.layout import part_names

    finished = (path / HEAD).is_file() or not (path / UNFINISHED).is_file()
    head = read_head(path, HEAD if finished else UNFINISHED)
    names = list(part_names(head))
    sizes = [(path / name).stat().st_size for name in names if (path / name).is_file()]
    cells = head["rows"] * len(head["views"]) * len(head["sources"])
    return {"head": head, "finished": finished, "parts": len(names), "present": len(sizes), "bytes": sum(sizes),
            "bytes_a_sample_and_view": round(sum(sizes) / cells, 2) if cells and finished else None}


def shown(name: str, found: dict[str, Any]) -> Iterator[str]:
    """The facts of a store as lines."""
    head = found["head"]
    yield f"{name}: {head['rows']:,} samples, {len(head['views'])} views, by {', '.join(head['sources'])}"
    if not found["finished"]:
        yield f"  not finished: {found['present']} of {found['parts']} parts are there"
    for task in head["tasks"]:
        form = head["forms"][task["name"]]
        kept = f"the likeliest {form['k']} ({form['index']})" if form["form"] == "topk" else "all"
        yield (f"  {task['name']}: {task['kind']}, {len(task['classes'])} classes, {kept} kept as {form['dtype']}, "
               f"{form['bytes']} bytes a sample and view")
    if head["embedding"]:
        widths = ", ".join(f"{width} of {source}" for source, width in head.get("embeddings", {}).items())
        yield f"  embeddings: {widths or 'yes'}, float16"
    if found["bytes_a_sample_and_view"]:
        yield (f"  {found['bytes']:,} bytes in {found['parts']} files, {found['bytes_a_sample_and_view']} a sample, "
               "view and source")
    if "coverage" in head:
        yield "  covers " + ", ".join(f"{one['rows']:,} of {one['of']:,} {split}"
                                      for split, one in head["coverage"].items() if one["of"])
    for field in ("dataset", "augmentation", "code", "generator"):
        yield f"  {field:<13}{str(head.get(field))[:12]}" + (f", seed {head.get('seed')}" * (field == "generator"))
    for source, digest in head.get("models", {}).items():
        yield f"  {'model':<13}{digest[:12]}, {source}"


def verify(paths: list[Path], as_text: bool) -> None:
    """Hash every file of every store, tell all that is wrong, and raise UserError for the first of it."""
    found = {str(path): checked(path) for path in paths}
    if as_text:
        print(as_json({path: [one.cause for one in wrong] for path, (_, wrong) in found.items()}))
    else:
        for path, (count, wrong) in found.items():
            print(f"{path}: {f'{len(wrong)} of {count}' if wrong else count} files are {'wrong' if wrong else 'whole'}")
    every = [one for _, wrong in found.values() for one in wrong]
    for one in every[1:]:
        print(f"stillhouse: {one.cause}", file=sys.stderr)
    if every:
        raise every[0]


def checked(path: Path) -> tuple[int, list[UserError]]:
    """How many files a store has, and what is wrong with some; a head that cannot be read is the only one known."""
    from components.probabilities.store import Store

    try:
        store = Store.open(path)
    except UserError as error:
        return 1, [error]
    return 1 + len(store.parts()), list(store.problems())


def diff(paths: list[Path], as_text: bool) -> None:
    """Print how two stores differ."""
    from components.probabilities.contrast import contrast
    from components.probabilities.store import Store

    if len(paths) != 2:
        raise UsageError(f"diff takes two stores, not {len(paths)}", "stillhouse store diff OLD NEW")
    old, new = Store.open(paths[0]), Store.open(paths[1])
    found = contrast(old, new)
    print(as_json(found) if as_text else "\n".join(told(old, new, found)))


def told(old: "Store", new: "Store", found: dict[str, Any]) -> Iterator[str]:
    """The differences as lines."""
    from components.probabilities.heads import told as value_told

    rows = found["rows"]
    yield f"{new.path} against {old.path}"
    yield f"samples: {rows['both']:,} in both, {rows['old']:,} only in the first, {rows['new']:,} only in the second"
    for one in found["fields"]:
        yield f"{one['field']}: {value_told(one['old'])} -> {value_told(one['new'])}"
    if not found["fields"]:
        yield "head: no difference"
    far = [one for one in found["said"] if one["largest"] > 0]
    if found["said"] and not far:
        yield f"words: equal in all {len(found['said'])} columns that both hold"
    for one in far:
        yield (f"{one['source']}, {one['task']}, view {one['view']}: probabilities differ by {one['mean']:.2g} on "
               f"average and {one['largest']:.2g} at most, {100 * one['changed']:.1f} % of answers, divergence "
               f"{one['divergence']:.2g} nats")
