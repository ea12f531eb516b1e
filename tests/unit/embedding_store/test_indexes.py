import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from embedding_store.client import EmbeddingClient
from embedding_store.errors import ContractError, PublicationRefusedError, UnusableIndexError
from embedding_store.indexes import (
    GRAPH_FILE,
    MANIFEST_FILE,
    build_index,
    collect_indexes,
    find_index,
    probe,
)
from embedding_store.item_index import IndexManifest
from embedding_store.pinned import PinnedVersion
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version
from tests.unit.embedding_store.small_world import SmallWorld, instant, raw_world


@pytest.fixture
def world(tmp_path: Path, bucket: str | None) -> SmallWorld:
    """One version with enough items for a graph to be worth it."""
    world = SmallWorld(tmp_path, raw_world(num_items=2000), bucket=bucket)
    world.promote(world.publish(0))  # serving would copy a smaller world of that day
    return world


@pytest.fixture
def store(world: SmallWorld) -> EmbeddingStore:
    return world.store


@pytest.fixture
def version(store: EmbeddingStore) -> Version:
    return store.open(store.state().version(1))


def pin(store: EmbeddingStore) -> PinnedVersion:
    return EmbeddingClient(store.root).pin()


def built(store: EmbeddingStore, version: Version) -> IndexManifest:
    """By one thread: the same every time."""
    return build_index(store, version, threads=1)


def folder_of(store: EmbeddingStore, version: Version) -> Path:
    return store.folders.path(f"indexes/{version.digest}")


def test_an_index_stands_beside_its_version_and_says_how_good_it_is(
    store: EmbeddingStore, version: Version
) -> None:
    manifest = built(store, version)

    assert (manifest.version, manifest.num_items, manifest.dim) == (version.digest, 2000, 8)
    assert manifest.recall_at_100 >= 0.99
    assert manifest.num_queries == 30  # the other half of the users chose the effort
    assert store.open(store.state().version(1)).digest == version.digest
    version.verify()


def counted(pinned: PinnedVersion) -> list[int]:
    """What the index is asked for from now on, by count."""
    asked: list[int] = []
    candidates = pinned.index.candidates

    def count(query: np.ndarray, number: int) -> np.ndarray:
        asked.append(number)
        return candidates(query, number)

    object.__setattr__(pinned.index, "candidates", count)
    return asked


def test_a_published_index_answers_as_exact_search_does(
    store: EmbeddingStore, version: Version
) -> None:
    built(store, version)
    pinned = pin(store)
    asked = counted(pinned)
    users = pinned.users(["user-1", "user-2", "nobody"])

    one, many = pinned.top_items("user-1", 10), pinned.search_items(users, 10)

    assert len(asked) == 4
    exact = pinned.top_items("user-1", 10, exact=True)
    assert [item for item, _ in one] == [item for item, _ in exact]
    np.testing.assert_allclose([x for _, x in one], [x for _, x in exact], rtol=1e-5)
    every = pinned.search_items(users, 10, exact=True)
    np.testing.assert_array_equal(many.ids, every.ids)
    np.testing.assert_allclose(many.scores, every.scores, rtol=1e-5)
    assert (many.version, many.scores.dtype, many.ids.dtype) == ("v1", np.float32, object)
    assert len(asked) == 4


def test_it_answers_what_its_recall_was_measured_for(
    store: EmbeddingStore, version: Version
) -> None:
    built(store, version)
    pinned = pin(store)
    asked = counted(pinned)
    assert len(pinned.top_items("user-1", 101)) == 101
    assert not asked
    assert len(pinned.top_items("user-1", 101, exact=False)) == 101
    assert len(asked) == 1
    assert len(pinned.top_items("user-1", 1999, exact=False)) == 1999
    assert pinned.search_items(pinned.users(["user-1"]), 1999, exact=False).ids.shape == (1, 1999)
    assert pinned.search_items(pinned.users([]), 5).ids.shape == (0, 5)
    assert len(asked) == 1


def test_seen_items_are_left_out_until_k_remain(store: EmbeddingStore, version: Version) -> None:
    built(store, version)
    pinned = pin(store)
    seen = [one.item_id for one in pinned.top_items("user-1", 100)]
    asked = counted(pinned)
    found = pinned.top_items("user-1", 10, exclude=[*seen, "unknown"])
    assert asked in ([30, 60], [30, 60, 120])
    exact = pinned.top_items("user-1", 10, exclude=seen, exact=True)
    assert len({item for item, _ in found} & {item for item, _ in exact}) >= 9
    assert len(found) == 10


@pytest.mark.parametrize("k", [0, -1])
def test_nothing_cannot_be_asked_for(store: EmbeddingStore, k: int) -> None:
    with pytest.raises(ContractError, match="k: want at least 1"):
        pin(store).top_items("user-1", k, exclude=["item-1", "item-2"])


def test_an_index_that_stands_is_not_built_again(store: EmbeddingStore, version: Version) -> None:
    first = built(store, version)
    written = (folder_of(store, version) / GRAPH_FILE).stat().st_mtime_ns
    assert built(store, version) == first
    assert (folder_of(store, version) / GRAPH_FILE).stat().st_mtime_ns == written


@pytest.mark.parametrize("name", [GRAPH_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_damaged_index_is_passed_over_and_built_again(
    store: EmbeddingStore,
    version: Version,
    caplog: pytest.LogCaptureFixture,
    name: str,
    is_gone: bool,
) -> None:
    built(store, version)
    path = folder_of(store, version) / name
    path.unlink() if is_gone else path.write_bytes(path.read_bytes()[:-7] + b"changed")
    caplog.set_level(logging.INFO)

    pinned = pin(store)

    assert len(pinned.top_items("user-1", 10)) == 10
    assert pinned.index is None
    assert "exact search answers" in caplog.text
    built(store, version)
    assert find_index(store, version) is not None


def test_an_index_of_another_version_is_not_used(store: EmbeddingStore, version: Version) -> None:
    manifest = built(store, version)
    path = folder_of(store, version) / MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(manifest.version.encode(), b"0" * 64))
    assert find_index(store, version) is None


def test_an_index_of_a_newer_library_is_passed_over_and_built_again(
    store: EmbeddingStore, version: Version
) -> None:
    manifest = built(store, version)
    path = folder_of(store, version) / MANIFEST_FILE
    newer = path.read_bytes().replace(manifest.library_version.encode(), b"2.999.0")
    path.write_bytes(newer)
    assert find_index(store, version) is None
    assert built(store, version).library_version == manifest.library_version
    assert find_index(store, version) is not None


def test_without_the_library_search_is_exact(
    store: EmbeddingStore,
    version: Version,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built(store, version)
    monkeypatch.setitem(sys.modules, "usearch", None)
    caplog.set_level(logging.INFO)
    assert len(pin(store).top_items("user-1", 10)) == 10
    assert "usearch is not installed" in caplog.text
    store.folders.remove(f"indexes/{version.digest}")
    with pytest.raises(UnusableIndexError, match="is not installed"):
        built(store, version)


def test_an_index_that_finds_too_few_is_not_published(
    store: EmbeddingStore, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_store.indexes.MIN_RECALL", 1.1)
    with pytest.raises(PublicationRefusedError, match="want 110%: exact search stays"):
        built(store, version)
    assert find_index(store, version) is None


def test_an_index_goes_with_its_version(world: SmallWorld, store: EmbeddingStore) -> None:
    world.promote(world.publish(1))
    versions = [store.open(store.state().version(number)) for number in (1, 2)]
    for version in versions:
        built(store, version)
    world.publisher.retire(1, effective_at=instant(9), why="too old")

    rehearsed = list(collect_indexes(store, is_rehearsal=True))
    assert [name for name, _ in rehearsed] == [f"indexes/{versions[0].digest}"]
    assert rehearsed[0][1] > 100_000
    assert find_index(store, versions[0]) is not None

    assert list(collect_indexes(store, is_rehearsal=False)) == rehearsed
    assert find_index(store, versions[0]) is None
    assert find_index(store, versions[1]) is not None


def test_the_probe_is_the_same_every_time_and_at_most_as_many(version: Version) -> None:
    assert probe(version, 20).shape == (20, 8)
    np.testing.assert_array_equal(probe(version, 20), probe(version, 20))
    assert probe(version, 1000).shape == (60, 8)


def test_a_manifest_is_read_as_it_was_written(store: EmbeddingStore, version: Version) -> None:
    manifest = built(store, version)
    data = (folder_of(store, version) / MANIFEST_FILE).read_bytes()
    assert IndexManifest.from_bytes(data) == manifest


def test_that_there_is_no_index_is_said_once(
    store: EmbeddingStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pinned = pin(store)
    pinned.top_items("user-1", 3)
    pinned.top_items("user-2", 3)
    said = [one for one in caplog.messages if "exact search answers" in one]
    assert len(said) == 1
    assert "`marquee index` builds one" in said[0]
