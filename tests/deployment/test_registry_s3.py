"""A registry in a bucket: whole models, one latest, whatever fails on the way."""

from pathlib import Path

import object_store
import pytest
from object_store import Proxy
from registries import candidate

from components.deployment import registry
from components.deployment.promotion import publish, roll_back
from components.deployment.pulling import mirror
from components.errors import TryAgain, UserError
from components.storage import receipts
from components.storage.bucket import Bucket
from components.storage.bucket_place import BucketPlace
from components.storage.digests import tree_digests
from components.storage.places import place_of


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)


def test_models_go_to_a_bucket_and_come_back_through_failing_requests(
        s3_server: str, bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(s3_server, seed=6).address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        place = place_of(f"{bucket_url}/registry")
        assert mirror(place, "latest", tmp_path / "empty") is None
        first = publish(place, candidate(tmp_path, "one"))
        second = publish(place, candidate(tmp_path, "two", first))
        assert mirror(place, "latest", tmp_path / "champion") == second
    assert tree_digests(tmp_path / "champion/models" / second / "model") == tree_digests(tmp_path / "two/model")
    object_store.use(monkeypatch, s3_server)
    place = place_of(f"{bucket_url}/registry")
    assert place.name == f"{bucket_url}/registry"
    assert [digest for digest, _ in registry.published(place)] == sorted([first, second])
    assert (registry.latest(place).digest, registry.latest(place).previous) == (second, first)
    roll_back(place)
    assert registry.latest(place).digest == first


class Raced(BucketPlace):
    """Another promotion ends just before this one."""

    rival = None

    def replace(self, name: str, content: bytes, version: str) -> None:
        if self.rival is not None:
            other, self.rival = self.rival, None
            publish(BucketPlace(self.name), other)
        super().replace(name, content, version)


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(bucket_url: str, tmp_path: Path) -> None:
    place = Raced(bucket_url)
    first = publish(place, candidate(tmp_path, "one"))
    one, place.rival = candidate(tmp_path, "two", first), candidate(tmp_path, "three", first)  # type: ignore[assignment]
    with pytest.raises(TryAgain):
        publish(place, one)
    assert registry.latest(place).digest == receipts.digest(tmp_path / "three/model")


def test_a_model_that_was_damaged_in_the_bucket_is_not_taken(bucket_url: str, tmp_path: Path) -> None:
    place = place_of(bucket_url)
    digest = publish(place, candidate(tmp_path, "one"))
    Bucket(bucket_url).write(f"models/{digest}/model/model.safetensors", b"other")
    with pytest.raises(UserError, match=r"model.safetensors was changed"):
        mirror(place, "latest", tmp_path / "champion")


def test_an_object_that_others_have_put_there_has_the_digest_of_its_bytes(bucket_url: str, tmp_path: Path) -> None:
    place, bucket = place_of(bucket_url), Bucket(bucket_url)
    bucket.client.put_object(Bucket=bucket.url.bucket, Key="a/b", Body=b"plain")
    bucket.write("a/.hidden", b"x")
    (tmp_path / "b").write_bytes(b"plain")
    place.put("a/c", tmp_path / "b")
    assert place.digest("a/b") == place.digest("a/c") == receipts.folder_digest(tmp_path / "b")
    assert place.names("a/") == ["a/b", "a/c"] and place.names("a/c") == ["a/c"] and place.digest("a/d") == ""
    assert place.read("a/d") == (b"", "")
