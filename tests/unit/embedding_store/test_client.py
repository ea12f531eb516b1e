from pathlib import Path

import numpy as np
import pytest

from embedding_store.client import CACHED_BUCKETS, EmbeddingClient, PinnedVersion
from embedding_store.errors import CorruptVersionError, NoVersionError, UnknownItemError
from tests.unit.embedding_store.small_world import SmallWorld, drifted, instant, raw_world


@pytest.fixture
def pinned(served_world: SmallWorld) -> PinnedVersion:
    return EmbeddingClient(served_world.store.root).pin()


def test_pinning_resolves_the_alias(pinned: PinnedVersion, served_world: SmallWorld) -> None:
    stable = served_world.store.state().stable(1)
    assert (pinned.number, pinned.name, pinned.digest) == (3, "v3", stable.digest)
    assert (pinned.frame, pinned.dim, pinned.as_of) == (1, 8, instant(3))


def test_aliases_and_instants_resolve_to_their_version(served_world: SmallWorld) -> None:
    client = EmbeddingClient(served_world.store.root)
    assert client.pin("previous").number == 2
    assert client.pin(as_of=instant(1, 2)).number == 1
    assert client.pin_number(1).number == 1
    with pytest.raises(NoVersionError, match="no canary"):
        client.pin("canary")
    with pytest.raises(NoVersionError, match="frame 7 has no stable"):
        client.pin(frame=7)
    with pytest.raises(NoVersionError, match="nothing is published"):
        client.pin(as_of=instant(0))


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoVersionError, match="nothing is published"):
        EmbeddingClient(tmp_path).pin()


def test_with_two_frames_one_must_be_named(world: SmallWorld) -> None:
    world.serve(0)
    other = SmallWorld(world.folder, frame=2)
    other.promote(other.publish(1, stabilised=other.stabilised(1, raw_world(seed=7))))
    client = EmbeddingClient(world.store.root)
    with pytest.raises(NoVersionError, match="frames 1, 2"):
        client.pin()
    assert [client.pin(frame=frame).number for frame in (1, 2)] == [1, 2]


def test_users_come_in_the_order_asked_and_unknown_ones_get_the_default(
    pinned: PinnedVersion, served_world: SmallWorld
) -> None:
    asked = ["user-59", "nobody", "user-3", "user-59", ""]
    found, vectors = pinned.users(asked)
    assert found.tolist() == [True, False, True, True, False]
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, 8))
    np.testing.assert_array_equal(vectors[1], pinned.default_user)
    np.testing.assert_array_equal(vectors[4], pinned.default_user)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert not np.array_equal(vectors[0], vectors[2])
    assert pinned.users([])[1].shape == (0, 8)


def test_scores_are_those_of_the_raw_model(pinned: PinnedVersion, served_world: SmallWorld) -> None:
    raw = drifted(served_world.raw, seed=2)
    want = raw.users @ raw.items.T
    _, users = pinned.users(raw.user_ids)
    np.testing.assert_allclose(users @ pinned.items(raw.item_ids).T, want, atol=1e-4)
    np.testing.assert_allclose(
        pinned.items(raw.item_ids) @ pinned.default_user, raw.items @ raw.default, atol=1e-4
    )
    best = [one.item_id for one in pinned.top_items("user-0", 5)]
    assert best == [f"item-{n}" for n in np.argsort(-want[0])[:5]]


def test_top_items_leave_out_what_is_excluded(pinned: PinnedVersion) -> None:
    whole = pinned.top_items("user-0", 40)
    assert [one.score for one in whole] == sorted((one.score for one in whole), reverse=True)
    assert len({one.item_id for one in whole}) == 40
    rest = pinned.top_items("user-0", 3, exclude={whole[0].item_id, whole[2].item_id, "unknown"})
    assert rest == [whole[1], whole[3], whole[4]]
    assert len(pinned.top_items("nobody", 99)) == 40


def test_similar_items_are_by_cosine_and_never_the_item_itself(pinned: PinnedVersion) -> None:
    ids, vectors = pinned.all_items()
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = ids.to_pylist().index("item-5")
    cosines = units @ units[row]
    cosines[row] = -2
    similar = pinned.similar_items("item-5", 4)
    assert [one.item_id for one in similar] == [
        ids[int(n)].as_py() for n in np.argsort(-cosines)[:4]
    ]
    assert similar[0].score == pytest.approx(cosines.max(), abs=1e-6)


def test_an_unknown_item_is_an_error_not_a_default(pinned: PinnedVersion) -> None:
    with pytest.raises(UnknownItemError, match="version v3 holds no item 'item-99'"):
        pinned.items(["item-1", "item-99"])
    with pytest.raises(UnknownItemError):
        pinned.similar_items("item-99", 3)


def test_ties_go_to_the_smaller_id(pinned: PinnedVersion) -> None:
    scores = np.zeros(40, dtype=np.float32)
    ids = [one.item_id for one in pinned._best(scores, 40, set())]
    assert ids == sorted(ids)


def test_only_the_asked_buckets_are_read(served_world: SmallWorld) -> None:
    pinned = EmbeddingClient(served_world.store.root).pin()
    opened: list[str] = []
    read = type(pinned.version).read

    class Watched(type(pinned.version)):
        def read(self, record):
            opened.append(record.path)
            return read(self, record)

    version = Watched(pinned.version.folder, pinned.version.manifest)
    watched = PinnedVersion(pinned.published, version)
    watched.users(["user-3"])
    assert len(opened) == 1
    watched.users(["user-3", "user-3"])
    assert len(opened) == 1
    for number in range(60):
        watched.users([f"user-{number}"])
    assert len(set(opened)) == 4
    assert len(watched._buckets) <= CACHED_BUCKETS


def test_a_pinned_version_stays_what_it_was_while_stable_moves(world: SmallWorld) -> None:
    world.serve(0)
    client = EmbeddingClient(world.store.root)
    pinned = client.pin()
    before = pinned.users(["user-1"])[1].copy()
    world.serve(1)
    np.testing.assert_array_equal(pinned.users(["user-1"])[1], before)
    assert (pinned.number, client.pin().number) == (1, 2)


def test_a_corrupted_version_is_never_answered_from(world: SmallWorld) -> None:
    (publication,) = world.serve(0)
    folder = world.store.version_folder(publication.version.digest)
    for path in [*folder.glob("user/*.parquet"), folder / "item/part-0.parquet"]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    pinned = EmbeddingClient(world.store.root).pin()
    with pytest.raises(CorruptVersionError):
        pinned.users(["user-1"])
    with pytest.raises(CorruptVersionError):
        pinned.top_items("user-1", 3)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("inner_product", "cosine"))
    with pytest.raises(CorruptVersionError):
        EmbeddingClient(world.store.root).pin()
