"""What is published is whole and never changes, and one of it is the latest, whatever dies on the way."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crashing import crash_at
from registries import candidate, verdict_on, write_export, write_model
from small_models import seal

from components.deployment import pulling, registry
from components.deployment.promotion import Candidate, publish, roll_back
from components.errors import TryAgain, UserError
from components.storage import receipts
from components.storage.locks import locked
from components.storage.places import Folder, place_of


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "registry")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")}


def test_a_published_model_is_found_by_its_digest_with_its_export(tmp_path: Path, place: Folder) -> None:
    one = candidate(tmp_path, "one")
    digest = publish(place, one)
    assert digest == hashlib.sha256((one.model / "receipt.json").read_bytes()).hexdigest()
    assert json.loads((place.path / "latest.json").read_text()) == {"digest": digest, "previous": None}
    assert one.exported is not None
    assert files(place.path / "models" / digest) == {
        f"{part}/{name}": content for part, folder in (("model", one.model), ("export", one.exported))
        for name, content in files(folder).items()}
    assert list(registry.published(place)) == [(digest, ("model", "export"))]


def test_the_next_model_remembers_the_one_before_it(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    second = publish(place, candidate(tmp_path, "two", first))
    assert (registry.latest(place).digest, registry.latest(place).previous) == (second, first)
    assert {digest for digest, _ in registry.published(place)} == {first, second}


def test_publishing_again_changes_nothing(tmp_path: Path, place: Folder) -> None:
    publish(place, candidate(tmp_path, "one"))
    before = files(place.path)
    publish(place, candidate(tmp_path, "one"))
    assert files(place.path) == before


def test_a_roll_back_and_another_come_back_to_where_they_began(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    second = publish(place, candidate(tmp_path, "two", first))
    assert roll_back(place) == first
    assert (registry.latest(place).digest, registry.latest(place).previous) == (first, second)
    assert roll_back(place) == second
    third = publish(place, candidate(tmp_path, "three", second))
    assert roll_back(place, first[:8]) == first
    assert registry.latest(place).previous == third


def test_nothing_is_rolled_back_to_where_nothing_was_or_what_is_damaged(tmp_path: Path, place: Folder) -> None:
    with pytest.raises(UserError, match="has no previous model"):
        roll_back(place)
    first = publish(place, candidate(tmp_path, "one"))
    publish(place, candidate(tmp_path, "two", first))
    (place.path / "models" / first / "export" / "model.onnx").write_bytes(b"other")
    with pytest.raises(UserError, match=r"export/model\.onnx was changed after it was published"):
        roll_back(place)


def test_a_tag_is_moved_and_names_a_model(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"), tag="stable")
    second = publish(place, candidate(tmp_path, "two", first))
    assert registry.chosen(place, "stable") == first
    publish(place, candidate(tmp_path, "two", first), tag="stable")
    assert registry.chosen(place, "stable") == second
    assert registry.chosen(place, first[:10]) == first and registry.chosen(place, "previous") == first


@pytest.mark.parametrize("tag", ["latest", "previous", "../up", "a/b", ".hidden", "x" * 65])
def test_a_tag_that_is_no_name_is_refused(tag: str, tmp_path: Path, place: Folder) -> None:
    with pytest.raises(UserError, match="cannot be a tag"):
        publish(place, candidate(tmp_path, "one"), tag=tag)
    assert not place.path.exists()


def test_a_word_that_means_nothing_or_several_models_is_refused(tmp_path: Path, place: Folder) -> None:
    publish(place, candidate(tmp_path, "one"))
    with pytest.raises(UserError, match="has no model or tag called nowhere"):
        registry.chosen(place, "nowhere")
    publish(place, candidate(tmp_path, "two"), force=True)
    with pytest.raises(UserError, match=r"2 models of .* begin with"):
        registry.chosen(place, "")


def test_a_verdict_that_says_no_is_obeyed_unless_forced(tmp_path: Path, place: Folder,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    worse = candidate(tmp_path, "two", first, promote=False)
    with pytest.raises(UserError, match="the verdict is worse: it was asked"):
        publish(place, worse)
    assert registry.latest(place).digest == first
    publish(place, worse, force=True)
    assert "published all the same" in capsys.readouterr().err
    assert registry.latest(place).previous == first


@pytest.mark.parametrize(("change", "words"), [
    ({"model": "ab" * 32}, "the verdict is on model abababababab"),
    ({"champion": "cd" * 32}, "the verdict is against champion cdcdcdcdcdcd; the latest of the registry is now none"),
])
def test_a_verdict_about_something_else_is_refused_unless_forced(
        change: dict[str, str], words: str, tmp_path: Path, place: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    one = candidate(tmp_path, "one")
    assert one.verdict is not None
    with pytest.raises(UserError, match=words):
        publish(place, Candidate(one.model, one.exported, one.verdict | change))
    assert not place.path.exists()
    forced = publish(place, Candidate(one.model, one.exported, one.verdict | change), force=True)
    assert registry.latest(place).digest == forced
    assert re.search(f"{words}.*published all the same", capsys.readouterr().err)


def test_no_verdict_and_one_of_another_kind_are_refused(tmp_path: Path, place: Folder) -> None:
    one = candidate(tmp_path, "one")
    with pytest.raises(UserError, match="there is no verdict on this model"):
        publish(place, Candidate(one.model, one.exported, None))
    with pytest.raises(UserError, match="not one that `compare` wrote"):
        publish(place, Candidate(one.model, one.exported, {"verdict": "better"}))


def test_the_export_of_another_model_is_refused(tmp_path: Path, place: Folder) -> None:
    one, two = candidate(tmp_path, "one"), candidate(tmp_path, "two")
    with pytest.raises(UserError, match="was made from model"):
        publish(place, Candidate(one.model, two.exported, one.verdict))


def test_what_was_published_never_changes(tmp_path: Path, place: Folder) -> None:
    one = candidate(tmp_path, "one")
    digest = publish(place, one)
    other = tmp_path / "other"
    shutil.copytree(one.exported or Path(), other)
    (other / "receipt.json").unlink()
    (other / "model.onnx").write_bytes(b"of another opset")
    seal(other, "export", {"model": digest})
    with pytest.raises(UserError, match="is published with another export"):
        publish(place, Candidate(one.model, other, one.verdict))


def test_a_model_that_was_changed_here_is_not_published(tmp_path: Path, place: Folder) -> None:
    one = candidate(tmp_path, "one")
    (one.model / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match=r"model\.safetensors was changed"):
        publish(place, one)
    assert registry.latest(place).digest is None


@pytest.mark.parametrize("name", ["model.safetensors", "receipt.json"])
def test_a_damaged_file_of_a_published_model_is_made_whole_with_a_warning(
        tmp_path: Path, place: Folder, capsys: pytest.CaptureFixture[str], name: str) -> None:
    digest = publish(place, candidate(tmp_path, "one"))
    file = place.path / "models" / digest / "model" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    publish(place, candidate(tmp_path, "one"))
    assert file.read_bytes() == whole and "was damaged and is replaced" in capsys.readouterr().err


class Losing(Folder):
    """A place that stores one file wrongly, or to which another promotion comes first at the last moment."""

    spoilt = ""
    rival: Callable[[], object] | None = None

    def put(self, name: str, source: Path) -> None:
        super().put(name, source)
        if self.spoilt and name.endswith(self.spoilt):
            (self.path / name).write_bytes(b"rot")

    def replace(self, name: str, content: bytes, version: str) -> None:
        rival, self.rival = self.rival, None
        if rival:
            rival()
        super().replace(name, content, version)


def test_a_place_that_keeps_other_bytes_than_it_was_given_gets_no_latest(tmp_path: Path) -> None:
    place = Losing(tmp_path / "registry")
    place.spoilt = "model.onnx"
    with pytest.raises(UserError, match=r"export/model\.onnx is not what was stored there"):
        publish(place, candidate(tmp_path, "one"))
    assert registry.latest(place).digest is None


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    place = Losing(tmp_path / "registry")
    first = publish(place, candidate(tmp_path, "one"))
    one, two = candidate(tmp_path, "two", first), candidate(tmp_path, "three", first)
    place.rival = lambda: publish(Folder(place.path), two)
    with pytest.raises(TryAgain, match="another promotion was faster") as caught:
        publish(place, one)
    assert caught.value.exit_code == 75
    assert registry.latest(place).digest == receipts.digest(two.model)
    assert registry.latest(place).previous == first
    with pytest.raises(UserError, match="the verdict is against champion") as again:
        publish(place, one)
    assert again.value.exit_code == 1, "a second try of the same verdict cannot help"


def test_two_promotions_of_one_model_at_once_both_succeed(tmp_path: Path) -> None:
    place, one = Losing(tmp_path / "registry"), candidate(tmp_path, "one")
    place.rival = lambda: publish(Folder(place.path), one)
    assert publish(place, one) == registry.latest(place).digest


def test_a_registry_that_is_being_written_is_tried_again(tmp_path: Path, place: Folder) -> None:
    with locked([place.path / "models"]), pytest.raises(TryAgain, match="is being written by"):
        publish(place, candidate(tmp_path, "one"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"latest": 1}', '{"digest": 5}', '{"digest": "../../etc"}'])
def test_a_damaged_latest_is_said_and_never_guessed(content: str, place: Folder) -> None:
    place.path.mkdir()
    (place.path / "latest.json").write_text(content)
    if content:
        with pytest.raises(UserError, match=r"latest\.json is damaged"):
            registry.latest(place)
    else:
        assert registry.latest(place).digest is None


@pytest.mark.slow
def test_killed_at_any_write_the_latest_is_the_old_model_or_the_new_one_whole(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    shutil.copytree(place.path, tmp_path / "start")
    two = candidate(tmp_path, "two", first)
    second, seen = receipts.digest(two.model), []
    for at in range(1, 200):
        shutil.rmtree(place.path)
        shutil.copytree(tmp_path / "start", place.path)
        code = crash_at(at, lambda: publish(place, two))
        assert code in (0, 137)
        seen.append(registry.latest(place).digest)
        assert seen[-1] in (first, second)
        assert pulling.copy(place, str(seen[-1]), tmp_path / f"pulled{at}") == ["model", "export"]
        assert {digest for digest, _ in registry.published(place)} >= {first, seen[-1]}
        assert publish(place, two) == second, "the next try goes on"
        assert {path.name for path in place.path.rglob("*.partial")} <= {".put.partial"}, "outside of all models"
        if code == 0:
            break
    assert code == 0 and len(seen) > 30 and set(seen) == {first, second}


@pytest.mark.slow
def test_killed_at_any_write_a_pulled_folder_is_whole_or_not_there(tmp_path: Path, place: Folder) -> None:
    digest, target = publish(place, candidate(tmp_path, "one")), tmp_path / "here" / "champion"
    for at in range(1, 200):
        shutil.rmtree(tmp_path / "here", ignore_errors=True)
        code = crash_at(at, lambda: pulling.into_folder(place, digest, target))
        if target.exists():
            assert receipts.verify(target / "model") == digest and receipts.is_sealed(target / "export")
        if code == 0:
            break
    assert code == 0 and at > 10 and target.exists()


def test_a_full_disk_is_said_and_the_old_latest_stays(tmp_path: Path, place: Folder,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(place, candidate(tmp_path, "one"))

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        publish(place, candidate(tmp_path, "two", first))
    monkeypatch.undo()
    assert registry.latest(place).digest == first
    assert [digest for digest, _ in registry.published(place)] == [first]
    assert b"half" not in files(place.path).values()


def test_a_pulled_model_is_refused_where_one_byte_differs(tmp_path: Path, place: Folder) -> None:
    digest = publish(place, candidate(tmp_path, "one"))
    file = place.path / "models" / digest / "model" / "model.safetensors"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(UserError, match=r"model\.safetensors was changed"):
        pulling.into_folder(place, digest, tmp_path / "champion")
    assert not (tmp_path / "champion").exists()


def test_a_receipt_that_leads_out_of_its_folder_is_not_followed(tmp_path: Path, place: Folder) -> None:
    digest = publish(place, candidate(tmp_path, "one"))
    forged = write_model(tmp_path / "forged", "forged")
    receipt = json.loads((forged / "receipt.json").read_text())
    receipt["files"]["../../../escaped"] = "ab" * 32
    content = json.dumps(receipt).encode()
    wrong = hashlib.sha256(content).hexdigest()
    shutil.copytree(place.path / "models" / digest, place.path / "models" / wrong)
    (place.path / "models" / wrong / "model" / "receipt.json").write_bytes(content)
    with pytest.raises(UserError, match="which leads out of its folder"):
        pulling.copy(place, wrong, tmp_path / "champion")
    assert not list(tmp_path.rglob("escaped"))


def test_an_export_of_another_model_put_there_by_hand_is_refused(tmp_path: Path, place: Folder) -> None:
    digest = publish(place, candidate(tmp_path, "one"))
    other = publish(place, candidate(tmp_path, "two"), force=True)
    base = place.path / "models"
    shutil.rmtree(base / digest / "export")
    shutil.copytree(base / other / "export", base / digest / "export")
    with pytest.raises(UserError, match="is of another model than"):
        pulling.copy(place, digest, tmp_path / "champion")


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path: Path, place: Folder) -> None:
    digest = publish(place, candidate(tmp_path, "one"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(UserError, match="holds other things"):
        pulling.into_folder(place, digest, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


def test_a_pulled_folder_replaces_an_earlier_one(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    second = publish(place, Candidate(write_model(tmp_path / "two", "two"), None, verdict_on(tmp_path / "two", first)))
    for digest in (first, second):
        pulling.into_folder(place, digest, tmp_path / "champion")
        assert receipts.digest(tmp_path / "champion" / "model") == digest
    assert not (tmp_path / "champion" / "export").exists()


def test_a_model_pulled_into_a_registry_becomes_its_latest(tmp_path: Path, place: Folder) -> None:
    first = publish(place, candidate(tmp_path, "one"))
    here = Folder(tmp_path / "here")
    mine = publish(here, candidate(tmp_path, "mine"))
    pulling.into_registry(place, first, here.path)
    assert (registry.latest(here).digest, registry.latest(here).previous) == (first, mine)
    assert dict(registry.published(here))[first] == ("model", "export")
    before = files(here.path)
    pulling.into_registry(place, first, here.path)
    assert files(here.path) == before


def test_a_mirrored_folder_holds_the_latest_alone_and_no_trace_of_this_machine(tmp_path: Path, place: Folder) -> None:
    assert pulling.mirror(place, "latest", tmp_path / "empty") is None
    assert json.loads((tmp_path / "empty" / "latest.json").read_text()) == {"digest": None, "previous": None}
    first = publish(place, candidate(tmp_path, "one"))
    second = publish(place, candidate(tmp_path, "two", first))
    assert pulling.mirror(place, "latest", tmp_path / "champion") == second
    assert [digest for digest, _ in registry.published(Folder(tmp_path / "champion"))] == [second]
    assert not list((tmp_path / "champion").rglob(".*"))


def test_an_export_can_be_added_to_a_model_that_was_published_alone(tmp_path: Path, place: Folder) -> None:
    model = write_model(tmp_path / "model", "one")
    digest = publish(place, Candidate(model, None, verdict_on(model, None)))
    assert dict(registry.published(place)) == {digest: ("model",)}
    publish(place, Candidate(model, write_export(tmp_path / "export", model), None))
    assert dict(registry.published(place)) == {digest: ("model", "export")}


def test_an_address_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UserError, match="no place of kind gopher is known"):
        place_of("gopher://registry")
