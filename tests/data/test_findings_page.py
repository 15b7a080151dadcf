"""The page shows what was found, decodes only what it shows, and is harmless whatever files are called."""

import base64
import html.parser
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.data import findings_page
from components.data.check_settings import Thresholds
from components.data.copies import among, leaks
from components.data.facts import inspect
from components.data.findings_page import SHOWN, diagram, page, thumbnail
from components.data.reading import Listing
from components.data.tasks import Task
from components.data.verdicts import MEANING, REASONS, Policies

KIND = Task("kind", "single", ("cat", "dog"))


class Seen(html.parser.HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def pictures(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]


def photograph(seed: int, quality: int = 90) -> bytes:
    rng, stream = np.random.default_rng(seed), io.BytesIO()
    coarse, fine = (Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).resize((140, 180))
                    for size in ((9, 7), (60, 48)))
    Image.blend(coarse, fine, 0.3).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def shown(root: Path, files: list[tuple[str, str, str, bytes]], policies: Policies | None = None) -> str:
    """The page of some files: name, split, label, content."""
    rules, policies = Thresholds(), policies or Policies()
    for name, _, _, content in files:
        (root / name).write_bytes(content)
    rows = pd.DataFrame({"path": [file[0] for file in files], "split": [file[1] for file in files],
                         "kind": [file[2] for file in files]})
    facts = [inspect(str(root), rules, name) for name in rows["path"]]
    more, clusters = among(rows, facts, [KIND])
    table = [(path, split, one.reason, one.detail, one.peer) for path, split, fact, extra
             in zip(rows["path"], rows["split"], facts, more, strict=True) for one in (*fact.findings, *extra)]
    reasons = [next((one.reason for one in (*fact.findings, *extra) if not policies.keeps(one.reason)), "")
               for fact, extra in zip(facts, more, strict=True)]
    columns = {name: [getattr(fact, name) for fact in facts] for name in (
        "sha256", "bytes", "width", "height", "format", "mode", "brightness", "contrast", "sharpness", "entropy",
        "fingerprint")}
    manifest = rows.assign(**columns, cluster=clusters, reason=reasons,
                           verdict=["left_out" if reason else "ok" for reason in reasons])
    findings = pd.DataFrame(table, columns=["path", "split", "reason", "detail", "peer"], dtype=object)
    head = {"thresholds": rules.model_dump(), "seconds": 5.0, "memory_mb": 512, "leaks": leaks(rows, facts, clusters)}
    return page(root, manifest, findings, Listing(rows, (KIND,), "folders", ("one note",)), policies, head)


def test_near_copies_stand_side_by_side_with_their_similarity_and_the_rule(tmp_path: Path) -> None:
    seen = Seen(shown(tmp_path, [("a.jpg", "train", "cat", photograph(1)), ("b.jpg", "test", "cat", photograph(1, 40)),
                                 ("c.jpg", "train", "dog", photograph(2))]))
    assert len(seen.pictures) == 2
    assert "Near leak: 1, left out" in seen.words
    assert "similarity at least 0.95" in seen.words and re.search(r"similarity (1\.000|0\.99\d)", seen.words)
    assert "a.jpg train" in seen.words and "b.jpg test, the copy that counts" in seen.words
    assert "test train 0 1 1 100.0 %" in seen.words
    assert "Note: one note." in seen.words
    assert "2 of 3 images are fit" in seen.words


def test_conflicts_name_no_copy_that_counts_and_say_who_is_left_out(tmp_path: Path) -> None:
    seen = Seen(shown(tmp_path, [("a.jpg", "train", "cat", photograph(1)), ("b.jpg", "train", "dog", photograph(1))]))
    assert "Conflict: 2, left out" in seen.words
    assert "kind differs: a.jpg is cat; b.jpg is dog" in seen.words
    assert "that counts" not in seen.words
    assert "a.jpg train, left out" in seen.words


def test_what_is_kept_in_spite_of_a_finding_says_so_and_what_is_left_out_for_another_too(tmp_path: Path) -> None:
    dark = io.BytesIO()
    Image.new("L", (60, 80), 3).save(dark, "PNG")
    seen = Seen(shown(tmp_path, [("a.jpg", "train", "cat", photograph(1)), ("b.png", "train", "cat", dark.getvalue())]))
    assert "Dark: 1, kept" in seen.words and "left out all the same: near uniform" in seen.words
    assert "Mean luma plus twice its standard deviation below 0.2" in seen.words
    allowed = Seen(shown(tmp_path, [("b.png", "train", "cat", dark.getvalue())], Policies("allow")))
    assert "Near uniform: 1, kept" in allowed.words and "all the same" not in allowed.words


def test_of_many_the_first_are_shown_and_decoded_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(findings_page, "thumbnail", lambda path: decoded.append(path.name) or "data:,")
    content, count = photograph(3), SHOWN["left_out"] + 12
    seen = Seen(shown(tmp_path, [(f"{number:03d}.jpg", "train", "cat", content) for number in range(count)]))
    assert len(seen.pictures) == len(decoded) == 2 * SHOWN["left_out"]
    assert f"and {count - 1 - SHOWN['left_out']} more; findings.csv lists all" in seen.words


def test_what_did_not_decode_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_page, "thumbnail", lambda path: pytest.fail(f"{path} was opened"))
    seen = Seen(shown(tmp_path, [("a.jpg", "train", "cat", photograph(1)[:900]), ("b.jpg", "val", "cat", b""),
                                 ("c.jpg", "test", "dog", b"text")]))
    assert "0 of 3 images are fit" in seen.words and seen.words.count("no picture") == 3


def test_the_page_is_one_harmless_file(tmp_path: Path) -> None:
    name = "<script>alert('x')<b>&\".jpg"
    text = shown(tmp_path, [(name, "", "cat", photograph(1)[:500]), ("b.jpg", "", "cat", photograph(2))])
    seen = Seen(text)
    assert name in seen.words and "no split yet" in seen.words
    assert not any(tag in ("script", "link", "iframe", "b.jpg") for tag, _ in seen.tags)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text and str(tmp_path) not in text


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    files = [(f"{number}.jpg", "train", "dog", photograph(number % 3)) for number in range(6)]
    assert shown(tmp_path, files) == shown(tmp_path, files)


def test_a_thumbnail_is_upright_small_and_of_any_mode(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((400, 900), 40_000, np.uint16))
    image.save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (600, 300), "red").save(tmp_path / "turned.jpg", exif=exif)
    sizes = {}
    for name in ("deep.png", "turned.jpg"):
        uri = thumbnail(tmp_path / name)
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as small:
            sizes[name] = small.size
            colour = small.convert("L").getpixel((20, 20))
            assert name != "deep.png" or abs(int(colour) - round(40_000 / 257)) < 3  # type: ignore[arg-type]
    assert sizes == {"deep.png": (160, 71), "turned.jpg": (80, 160)}
    assert thumbnail(tmp_path / "gone.jpg") == ""


def test_diagrams_count_every_value_once() -> None:
    values = np.random.default_rng(0).gamma(2.0, 3.0, 1000)
    drawn = diagram("contrast", values)
    expected = np.histogram(values, 24)[0]
    assert drawn.heights == pytest.approx(expected / expected.max(), abs=1e-4)
    assert diagram("brightness", np.full(5, 0.25)).heights.count(1.0) == 1
    assert diagram("short side", np.array([1.0, 10.0, 100.0])).heights[12] == 1.0  # the middle on an axis of factors


def test_every_reason_has_words() -> None:
    assert set(MEANING) == set(REASONS)
    limits = Thresholds().model_dump() | {"seconds": 5.0, "memory_mb": 512}
    assert all("{" not in rule.format(**limits) for rule in findings_page.RULES.values())
