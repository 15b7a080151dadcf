"""No change of an artifact passes, however small, and every digest can be computed by hand."""

import hashlib
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import UserError
from components.storage import receipts
from components.storage.digests import canonical_json, signature, tree_digests, value_digest
from components.storage.receipts import Receipt


def artifact(folder: Path, seed: int = 0) -> Path:
    rng = random.Random(seed)
    (folder / "shards").mkdir(parents=True)
    for name in ("head.json", "shards/0.npy", "shards/empty", "weird \udce9\n name"):
        (folder / name).write_bytes(b"" if "empty" in name else rng.randbytes(5000))
    receipt = Receipt("brew", "brew", {"x": 1}, {"sugar": "0" * 64}, tree_digests(folder), {"sugar": "0" * 64})
    (folder / receipts.NAME).write_text(receipt.text(), encoding="utf-8")
    return folder


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a")
    lines = subprocess.check_output(["sha256sum", "head.json", "shards/0.npy"], cwd=folder, text=True).splitlines()
    said = dict(reversed(line.split("  ")) for line in lines)
    assert {name: receipts.read(folder).files[name] for name in said} == said
    assert receipts.verify(folder) == hashlib.sha256((folder / "receipt.json").read_bytes()).hexdigest()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    folder, rng = artifact(tmp_path / "a"), random.Random(1)
    files = [folder / name for name in receipts.read(folder).files if "head" in name or "0.npy" in name]
    for _ in range(300):
        file = rng.choice(files)
        content = bytearray(file.read_bytes())
        place = rng.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
        with pytest.raises(UserError, match="was changed"):
            receipts.verify(folder)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
    receipts.verify(folder)


def test_a_receipt_with_a_flipped_bit_is_refused_or_another_artifact(tmp_path: Path) -> None:
    folder, rng = artifact(tmp_path / "a"), random.Random(2)
    file, before = folder / receipts.NAME, receipts.digest(folder)
    sealed = file.read_bytes()
    for place in rng.sample(range(len(sealed) * 8), 300):
        content = bytearray(sealed)
        content[place // 8] ^= 1 << place % 8
        file.write_bytes(content)
        try:
            assert receipts.verify(folder) != before
        except UserError as error:
            assert str(folder) in error.cause


@pytest.mark.parametrize(("change", "said"), [
    (lambda folder: (folder / "shards" / "0.npy").unlink(), "shards/0.npy is missing"),
    (lambda folder: (folder / "extra").write_text(""), "extra is not in the receipt"),
    (lambda folder: os.truncate(folder / "head.json", 4999), "head.json was changed"),
    (lambda folder: (folder / "shards" / "0.npy").rename(folder / "shards" / "1.npy"), "shards/0.npy is missing"),
    (lambda folder: (folder / "receipt.json").write_text("{}"), "receipt.json is damaged"),
    (lambda folder: (folder / "receipt.json").write_text("[1"), "receipt.json is damaged"),
    (lambda folder: (folder / "receipt.json").write_bytes(b"\xff\xfe"), "receipt.json is damaged"),
    (lambda folder: (folder / "receipt.json").unlink(), "has no receipt.json"),
])
def test_other_damage_is_named(tmp_path: Path, change: object, said: str) -> None:
    folder = artifact(tmp_path / "a")
    assert callable(change)
    change(folder)
    with pytest.raises(UserError) as caught:
        receipts.verify(folder)
    assert said in caught.value.cause and "dvc" in caught.value.remedy


def test_a_receipt_of_another_schema_is_refused(tmp_path: Path) -> None:
    file = artifact(tmp_path / "a") / receipts.NAME
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 2}))
    with pytest.raises(UserError, match="has schema 2; this version reads 1"):
        receipts.read(tmp_path / "a")


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(st.none() | st.booleans() | numbers | st.text(),
                           lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=10)


@given(st.dictionaries(st.text(), json_values))
def test_equal_values_have_one_spelling(value: dict[str, object]) -> None:
    shuffled = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(shuffled) == canonical_json(json.loads(canonical_json(value)))


def test_what_may_not_be_in_a_receipt_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        value_digest({"x": float("nan")})


def test_names_count_in_the_digest_of_a_raw_folder(tmp_path: Path) -> None:
    artifact(tmp_path / "a")
    artifact(tmp_path / "b")
    assert receipts.folder_digest(tmp_path / "a") == receipts.folder_digest(tmp_path / "b")
    (tmp_path / "b" / "head.json").rename(tmp_path / "b" / "other.json")
    assert receipts.folder_digest(tmp_path / "a") != receipts.folder_digest(tmp_path / "b")


def test_a_touched_tree_has_another_signature(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a")
    before = signature(folder)
    assert signature(folder) == before
    content = (folder / "head.json").read_bytes()
    (folder / "head.json").write_bytes(content)
    assert signature(folder) != before
