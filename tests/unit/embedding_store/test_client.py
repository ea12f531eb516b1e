import errno
import os
import shutil
import time
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_store.answers import require_one_version
from embedding_store.client import EmbeddingClient
from embedding_store.entries import VersionsErased, to_body
from embedding_store.errors import (
    ContractError,
    CorruptVersionError,
    MixedVersionsError,
    NoVersionError,
    RetiredVersionError,
    StoreError,
    UnknownEntryError,
    UnknownItemError,
    UnreachableStoreError,
)
from embedding_store.manifest import Manifest
from embedding_store.pinned import CACHED_BUCKETS, PATIENCE_S, PinnedVersion
from lake.digests import digest_bytes
from lake.errors import StorageError
from lake.log import CommitLog
from tests.unit.embedding_store.small_world import BUCKETS, SmallWorld, drifted, instant, raw_world


@pytest.fixture
def pinned(served_world: SmallWorld) -> PinnedVersion:
    return EmbeddingClient(served_world.store.root).pin()


def test_pinning_resolves_the_alias(pinned: PinnedVersion, served_world: SmallWorld) -> None:
    stable = served_world.store.state().stable(1)
    assert (pinned.number, pinned.name, pinned.digest) == (3, "v3", stable.digest)
    assert (pinned.frame, pinned.dim, pinned.as_of) == (1, 8, instant(3))
    assert (pinned.metric, pinned.num_buckets) == ("inner_product", BUCKETS)
    assert str(pinned) == (
        "v3 of frame 1: 60 users, 40 items, 8 dimensions, inner_product, "
        "seen data before 2024-03-04 00:00 UTC"
    )


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


def test_a_frame_that_is_only_on_trial_need_not_be_told_from_the_one_that_serves(
    world: SmallWorld,
) -> None:
    world.serve(0)
    other = SmallWorld(world.folder, frame=2)
    tried = other.publish(1, stabilised=other.stabilised(1, raw_world(seed=7)))
    client = EmbeddingClient(world.store.root)
    assert client.pin().frame == 1
    other.promote(tried, alias="canary")
    assert client.pin().frame == 1
    assert [one.frame for _, one in client.served_at([instant(9)])] == [1]
    assert client.pin("canary", frame=2).number == 2


def test_a_store_with_nothing_but_a_canary_needs_no_frame(world: SmallWorld) -> None:
    world.promote(world.publish(0), alias="canary")
    assert EmbeddingClient(world.store.root).pin("canary").number == 1


def test_users_come_in_the_order_asked_and_unknown_ones_get_the_default(
    pinned: PinnedVersion, served_world: SmallWorld
) -> None:
    asked = ["user-59", "nobody", "user-3", "user-59", ""]
    users = pinned.users(asked)
    vectors = users.vectors
    assert users.is_found.tolist() == [True, False, True, True, False]
    assert (users.ids, users.version) == (tuple(asked), "v3")
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, 8))
    np.testing.assert_array_equal(vectors[1], pinned.default_user)
    np.testing.assert_array_equal(vectors[4], pinned.default_user)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert not np.array_equal(vectors[0], vectors[2])
    assert pinned.users([]).vectors.shape == (0, 8)


def test_items_come_in_the_order_asked_and_unknown_ones_get_zeros(pinned: PinnedVersion) -> None:
    ids, vectors = pinned.all_items()
    items = pinned.items(["item-7", "item-99", "item-3", "item-7"])
    assert items.is_found.tolist() == [True, False, True, True]
    assert not items.vectors[1].any()
    row = ids.to_pylist().index("item-7")
    np.testing.assert_array_equal(items.vectors[[0, 3]], vectors[[row, row]])
    assert pinned.items([]).vectors.shape == (0, 8)


@pytest.mark.parametrize(
    "ids", [[7, 9], [None], ["user-1", None], None, "user-1", b"user-1", ["\ud800"], [b"\xff"]]
)
def test_ids_that_are_no_strings_are_refused(pinned: PinnedVersion, ids: list) -> None:
    for look_up in (pinned.users, pinned.items, pinned.buckets_of):
        with pytest.raises(ContractError, match="ids: want strings"):
            look_up(ids)


def test_ids_may_come_as_arrow_or_numpy_has_them(pinned: PinnedVersion) -> None:
    names = ["user-1", "nobody", "user-1"]
    wanted = pinned.users(names)
    for ids in (pa.array(names), pa.chunked_array([names[:1], names[1:]]), np.array(names)):
        got = pinned.users(ids)
        assert got.ids == tuple(names)
        np.testing.assert_array_equal(got.vectors, wanted.vectors)
        np.testing.assert_array_equal(got.is_found, [True, False, True])
    assert pinned.users(iter(names)).ids == tuple(names)


@pytest.mark.parametrize("k", [0, -1])
def test_a_search_for_no_items_is_refused(pinned: PinnedVersion, k: int) -> None:
    for users in ([], ["user-1"]):
        with pytest.raises(ContractError, match=f"k: want at least 1, got {k}"):
            pinned.search_items(pinned.users(users), k)


def test_an_alias_that_is_none_is_refused(served_world: SmallWorld) -> None:
    with pytest.raises(ContractError, match="want one of stable, canary, previous, got 'newest'"):
        EmbeddingClient(served_world.store.root).pin("newest")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EIO, "give this user access"), (errno.ENOSPC, "free some space")],
)
def test_a_disk_that_fails_in_a_look_up_is_an_error_of_the_store(
    pinned: PinnedVersion, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def fail(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UnreachableStoreError, match=rf"part-.*{os.strerror(number)}: {advice}"):
        pinned.users(["user-2", "user-3", "user-4"])


def test_something_else_in_the_place_of_a_file_is_damage(world: SmallWorld) -> None:
    if world.bucket:
        pytest.skip("the damage is done to files")
    (publication,) = world.serve(0)
    folder = world.store.version_folder(publication.version.digest)
    pinned = EmbeddingClient(world.store.root).pin()
    (folder / "user").rename(folder / "moved")
    (folder / "user").write_text("")
    with pytest.raises(CorruptVersionError, match=r"part-.* is missing: restore it"):
        pinned.users(["user-1"])
    for path in (folder / "item/part-0.parquet", folder / "manifest.json"):
        path.unlink()
        path.mkdir()
    with pytest.raises(CorruptVersionError, match=r"part-0.parquet is missing: restore it"):
        pinned.all_items()
    with pytest.raises(CorruptVersionError, match=r"has no manifest.json"):
        EmbeddingClient(world.store.root).pin()


def test_embeddings_of_two_versions_are_not_used_together(served_world: SmallWorld) -> None:
    client = EmbeddingClient(served_world.store.root)
    one, other = client.pin(), client.pin("previous")
    with pytest.raises(MixedVersionsError, match="v2 and v3"):
        require_one_version(one.users(["user-1"]), other.items(["item-1"]))
    with pytest.raises(MixedVersionsError, match="users of v3 cannot be searched for in v2"):
        other.search_items(one.users(["user-1"]), 3)


def test_scores_are_those_of_the_raw_model(pinned: PinnedVersion, served_world: SmallWorld) -> None:
    raw = drifted(served_world.raw, seed=2)
    want = raw.users @ raw.items.T
    users, items = pinned.users(raw.user_ids).vectors, pinned.items(raw.item_ids).vectors
    np.testing.assert_allclose(users @ items.T, want, atol=1e-4)
    np.testing.assert_allclose(items @ pinned.default_user, raw.items @ raw.default, atol=1e-4)
    best = [one.item_id for one in pinned.top_items("user-0", 5)]
    assert best == [f"item-{n}" for n in np.argsort(-want[0])[:5]]


def test_top_items_leave_out_what_is_excluded(pinned: PinnedVersion) -> None:
    whole = pinned.top_items("user-0", 40)
    assert [one.score for one in whole] == sorted((one.score for one in whole), reverse=True)
    assert len({one.item_id for one in whole}) == 40
    rest = pinned.top_items("user-0", 3, exclude={whole[0].item_id, whole[2].item_id, "unknown"})
    assert rest == [whole[1], whole[3], whole[4]]
    assert len(pinned.top_items("nobody", 99)) == 40


def test_a_search_finds_the_best_items_of_every_user(pinned: PinnedVersion) -> None:
    users = pinned.users(["user-0", "nobody", "user-7"])
    best = pinned.search_items(users, 5)
    assert (best.ids.shape, best.version) == ((3, 5), "v3")
    for name, ids, scores in zip(users.ids, best.ids, best.scores, strict=True):
        want = pinned.top_items(name, 5)
        assert ids.tolist() == [one.item_id for one in want]
        np.testing.assert_allclose(scores, [one.score for one in want], rtol=1e-5)
    np.testing.assert_array_equal(pinned.search_items(users.vectors, 5).ids, best.ids)
    assert pinned.search_items(users, 99).ids.shape == (3, 40)
    assert pinned.search_items(pinned.users([]), 5).ids.shape == (0, 5)


def test_a_search_in_blocks_is_one_search(
    pinned: PinnedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = pinned.users([f"user-{number}" for number in range(60)])
    whole = pinned.search_items(users, 3)
    monkeypatch.setattr("embedding_store.item_search._BLOCK_SCORES", 40 * 7)
    blocks = pinned.search_items(users, 3)
    np.testing.assert_array_equal(blocks.ids, whole.ids)
    np.testing.assert_allclose(blocks.scores, whole.scores, rtol=1e-5)


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("num_users", [0, 1])
def test_a_search_for_nothing_is_refused(pinned: PinnedVersion, num_users: int, k: int) -> None:
    with pytest.raises(ContractError, match=f"k: want at least 1, got {k}"):
        pinned.search_items(np.ones((num_users, 8), dtype=np.float32), k)


@pytest.mark.parametrize(
    "vectors", [np.ones(8), np.ones((2, 7)), np.full((1, 8), np.nan, dtype=np.float32)]
)
def test_a_search_for_what_is_no_vector_is_refused(
    pinned: PinnedVersion, vectors: np.ndarray
) -> None:
    with pytest.raises(ContractError, match=r"want finite vectors, float32\[users, 8\]"):
        pinned.search_items(vectors, 3)


def test_everything_is_read_as_tables_users_by_bucket(
    pinned: PinnedVersion, served_world: SmallWorld
) -> None:
    tables = list(pinned.tables("user"))
    assert len(tables) == pinned.num_buckets
    for bucket, table in enumerate(tables):
        ids = table["user_id"].to_pylist()
        assert set(pinned.buckets_of(ids).tolist()) <= {bucket}
        np.testing.assert_array_equal(
            table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, 8),
            pinned.users(ids).vectors,
        )
    assert sum(table.num_rows for table in tables) == len(served_world.raw.user_ids)
    (items,) = pinned.tables("item")
    assert items["item_id"].to_pylist() == pinned.all_items()[0].to_pylist()


def test_the_files_are_what_the_tables_hold(pinned: PinnedVersion) -> None:
    pinned.verify()
    for side in ("user", "item"):
        files, tables = pinned.files(side), list(pinned.tables(side))
        assert [pq.read_table(file).replace_schema_metadata() for file in files] == tables


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


def test_nothing_is_similar_to_an_unknown_item(pinned: PinnedVersion) -> None:
    with pytest.raises(UnknownItemError, match="version v3 holds no item 'item-99'"):
        pinned.similar_items("item-99", 3)


def test_ties_go_to_the_smaller_id(pinned: PinnedVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = replace(pinned.users(["user-1"]), vectors=np.zeros((1, 8), dtype=np.float32))
    monkeypatch.setattr(PinnedVersion, "users", lambda *_: nobody)
    ids = [one.item_id for one in pinned.top_items("user-1", 40)]
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


def test_threads_share_a_pinned_version(
    served_world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_store.pinned.CACHED_BUCKETS", 1)

    class Slow(OrderedDict):
        def __setitem__(self, bucket, shard):
            super().__setitem__(bucket, shard)
            time.sleep(1e-3)  # the others' turn

    pinned = replace(EmbeddingClient(served_world.store.root).pin(), _buckets=Slow())
    asked = [f"user-{number}" for number in range(60)]
    want = pinned.users(asked).vectors
    faults: list[BaseException] = []

    def look_up(seed: int) -> None:
        draw = np.random.default_rng(seed)
        try:
            for _ in range(20):
                rows = draw.integers(60, size=3)
                got = pinned.users([asked[row] for row in rows])
                np.testing.assert_array_equal(got.vectors, want[rows])
        except BaseException as fault:  # noqa: BLE001 - reported by the test itself
            faults.append(fault)

    threads = [Thread(target=look_up, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_a_pinned_version_stays_what_it_was_until_it_is_refreshed(world: SmallWorld) -> None:
    world.serve(0)
    client = EmbeddingClient(world.store.root)
    pinned = client.pin()
    before = pinned.users(["user-1"])
    assert pinned.refresh() is pinned
    (published,) = world.serve(1)
    np.testing.assert_array_equal(pinned.users(["user-1"]).vectors, before.vectors)
    assert pinned.number == 1

    newer = pinned.refresh()

    assert (newer.number, newer.digest) == (2, published.version.digest)
    assert newer.refresh() is newer
    assert newer.refresh().users(["user-1"]).version == "v2"
    world.publisher.rollback(1, effective_at=instant(9), why="a test")
    assert newer.refresh().number == 1


def test_a_refresh_follows_to_a_version_of_the_same_bytes(world: SmallWorld) -> None:
    world.serve(0, 1)
    pinned = EmbeddingClient(world.store.root).pin()
    world.publisher.rollback(1, effective_at=instant(8), why="a test")
    world.publisher.retire(2, effective_at=instant(9), why="a test")
    again = world.publish(1, republish=True)
    world.promote(again, effective_at=instant(10))

    newer = pinned.refresh()

    assert newer.digest == pinned.digest
    assert (newer.name, newer.users(["user-1"]).version) == ("v3", "v3")
    assert newer.refresh() is newer


def test_what_is_pinned_by_number_or_instant_is_never_refreshed(world: SmallWorld) -> None:
    world.serve(0, 1)
    client = EmbeddingClient(world.store.root)
    for held in (client.pin_number(1), client.pin(as_of=instant(1, 2))):
        assert held.refresh() is held


def test_an_outage_is_survived_for_a_while(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.serve(0)
    pinned = EmbeddingClient(world.store.root).pin()
    now = monotonic()
    world.serve(1)

    def silent(_: CommitLog) -> tuple:
        raise StorageError("nobody answers")

    with monkeypatch.context() as outage:
        outage.setattr(CommitLog, "entries", silent)
        for later in (1, PATIENCE_S - 1):
            outage.setattr("embedding_store.pinned.monotonic", lambda later=later: now + later)
            assert pinned.refresh() is pinned
            assert pinned.users(["user-1"]).is_found.all()
        assert "v1 goes on, silent for 3599 s: nobody answers" in caplog.text
        with pytest.raises(UnreachableStoreError, match="nobody answers"):
            pinned.refresh(patience_s=60)
        outage.setattr("embedding_store.pinned.monotonic", lambda: now + PATIENCE_S + 1)
        with pytest.raises(UnreachableStoreError, match="nobody answers"):
            pinned.refresh()
    assert pinned.refresh().name == "v2"


def test_a_place_without_a_store_is_named(tmp_path: Path) -> None:
    client = EmbeddingClient.at(tmp_path / "nowhere")
    for frame in (None, 1):
        with pytest.raises(NoVersionError, match=f"nothing is published in {tmp_path}/nowhere"):
            client.pin("stable", frame=frame)
    with pytest.raises(ContractError, match="frame: want a number such as 1, got '1'"):
        client.pin("stable", frame="1")


def test_a_refresh_stays_in_its_frame(world: SmallWorld) -> None:
    world.serve(0)
    pinned = EmbeddingClient(world.store.root).pin()
    other = SmallWorld(world.folder, frame=2)
    other.promote(other.publish(1, stabilised=other.stabilised(1, raw_world(seed=7))))
    assert pinned.refresh() is pinned


def test_a_retired_version_is_read_at_its_instants_only(world: SmallWorld) -> None:
    world.serve(0, 1)
    client = EmbeddingClient(world.store.root)
    pinned = client.pin("previous")
    world.publisher.retire(1, effective_at=instant(9), why="a test")
    with pytest.raises(RetiredVersionError, match="v1 is retired: pin an alias"):
        client.pin_number(1)
    with pytest.raises(NoVersionError, match="no previous"):
        pinned.refresh()
    assert client.pin(as_of=instant(1, 2)).number == 1
    assert pinned.users(["user-1"]).is_found.all()


def test_an_instant_before_an_erasure_is_read_without_the_erased(world: SmallWorld) -> None:
    (published,) = world.serve(0)
    store, before = world.store, published.version
    folder = store.version_folder(before.digest)
    manifest = Manifest.from_bytes((folder / "manifest.json").read_bytes())
    after = replace(manifest, coverage=replace(manifest.coverage, definition="all but the erased"))
    with store.staged_version() as staged:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        (staged / "manifest.json").write_bytes(after.to_bytes())
        store.commit_version(staged, after.digest)
    shutil.rmtree(folder)
    rewritten = {"digest": after.digest, "manifest_sha256": digest_bytes(after.to_bytes())}
    erased = VersionsErased(key="k", users=["hash"], replacements={before.digest: rewritten})
    store.log.append(erased.kind, to_body(erased), effective_at=instant(9), by="test", why="asked")

    client = EmbeddingClient(store.root)

    assert client.pin(as_of=instant(1, 2)).digest == after.digest == client.pin().digest
    assert client.pin(as_of=instant(1, 2)).users(["user-1"]).is_found.all()


def test_what_was_served_at_each_instant(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(5), why="a test")
    client = EmbeddingClient(world.store.root)
    switched = [at for at, _ in client.store.state().served(1)]
    before = timedelta(microseconds=1)
    asked = [
        switched[1],  # v2 from this very instant on
        switched[0] - before,  # nothing yet
        switched[1] - before,
        switched[2] + before,  # rolled back to v1
        switched[0],
    ]

    served = {version.name: rows.tolist() for rows, version in client.served_at(asked)}

    assert served == {"v1": [2, 3, 4], "v2": [0]}
    arrow = pa.array(asked, pa.timestamp("ns", "Europe/Berlin"))
    assert {v.name: r.tolist() for r, v in client.served_at(arrow, frame=1)} == served
    assert list(client.served_at([])) == []
    for at, version in client.store.state().served(1):
        assert client.pin(as_of=at).number == version.number


@pytest.mark.parametrize(
    "instants",
    [[datetime(2024, 3, 2)], ["2024-03-02"], [None], [datetime(2024, 3, 2, tzinfo=UTC), "x"]],  # noqa: DTZ001
)
def test_instants_without_a_time_zone_are_refused(served_world: SmallWorld, instants: list) -> None:
    client = EmbeddingClient(served_world.store.root)
    with pytest.raises(ContractError, match="want timestamps with a time zone"):
        list(client.served_at(instants))
    with pytest.raises(ContractError, match="want an instant with a time zone"):
        client.pin(as_of=datetime(2024, 3, 2))  # noqa: DTZ001


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


def test_a_damaged_log_is_an_error_of_the_store(world: SmallWorld) -> None:
    if world.bucket:
        pytest.skip("the damage is done to files")
    world.serve(0)
    (entry, *_) = sorted((world.store.root / "log").glob("*.json"))
    whole = entry.read_text()
    entry.write_text("{")
    with pytest.raises(CorruptVersionError, match=r"log entry .*restore it"):
        EmbeddingClient(world.store.root).pin()
    entry.write_text(whole.replace('"format_version": 2', '"format_version": 9'))
    with pytest.raises(UnknownEntryError, match="release"):
        EmbeddingClient(world.store.root).pin()


def test_a_lost_version_says_what_to_do(world: SmallWorld) -> None:
    if world.bucket:
        pytest.skip("the damage is done to files")
    (publication,) = world.serve(0)
    folder = world.store.version_folder(publication.version.digest)
    folder.rename(folder.with_name("gone"))
    with pytest.raises(CorruptVersionError, match=r"no folder .*: restore the folder"):
        EmbeddingClient(world.store.root).pin()


def test_a_place_that_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreachableStoreError, match="want the folder of a store, or s3://"):
        EmbeddingClient.at("gs://bucket/store")
    with pytest.raises(UnreachableStoreError, match="want s3://bucket/prefix"):
        EmbeddingClient.at("s3://", cache=tmp_path)
    with pytest.raises(NoVersionError, match=r"nothing is published in .*missing: want the folder"):
        EmbeddingClient.at(tmp_path / "missing").pin()


def test_a_folder_that_this_user_may_not_read_is_told(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreachableStoreError, match="Permission denied: give this user access"):
        EmbeddingClient(world.folder / "store").pin()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreachableStoreError, match=r"cannot be kept in .*name a folder"):
        EmbeddingClient.at("s3://bucket/store", cache=tmp_path / "file" / "cache")


def test_every_error_of_a_consumer_is_a_store_error() -> None:
    for error in (UnreachableStoreError, NoVersionError, CorruptVersionError, MixedVersionsError):
        assert issubclass(error, StoreError)


def test_one_bucket_of_users_is_read_alone(world: SmallWorld) -> None:
    world.serve(0)
    pinned = EmbeddingClient(world.store.root).pin()
    every = list(pinned.tables("user"))
    for path in pinned.files("user")[1:]:
        path.write_bytes(b"damaged")
    assert pinned.bucket_table(0).equals(every[0])
    with pytest.raises(CorruptVersionError):
        pinned.bucket_table(1)
    for bucket in (-1, BUCKETS):
        with pytest.raises(ContractError, match=f"bucket: want 0 to {BUCKETS - 1}, got"):
            pinned.bucket_table(bucket)
