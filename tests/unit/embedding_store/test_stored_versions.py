"""Versions of every dtype, from the stabilised vectors to whoever reads them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.contracts import SIDES, embedding_table
from embedding_store.dtypes import decode, encode
from embedding_store.errors import (
    ContractError,
    CorruptVersionError,
    PublicationRefusedError,
    UnknownEntryError,
)
from embedding_store.gates import judge, published_record
from embedding_store.history import part_path, rebuild
from embedding_store.indexes import build_index
from embedding_store.manifest import FileRecord, Manifest
from embedding_store.parts import read_default_user, shards, write_part
from embedding_store.pinned import PinnedVersion
from embedding_store.staging import require_dtype_of_frame
from embedding_store.state import Frame, StoreState
from embedding_store.versions import MANIFEST_FILE, Version, open_version
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones
from tests.unit.embedding_store.small_world import (
    DIM,
    SmallWorld,
    drifted,
    instant,
    raw_world,
    record_again,
    write_side,
)

DTYPES = ["float32", "float16", "int8"]
ENCODED = DTYPES[1:]
VALUE_TYPES = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


@pytest.fixture(params=DTYPES)
def world(request: pytest.FixtureRequest, tmp_path: Path, bucket: str | None) -> SmallWorld:
    return SmallWorld(tmp_path, bucket=bucket, dtype=request.param)


@pytest.fixture(params=ENCODED)
def encoded(request: pytest.FixtureRequest, tmp_path: Path, bucket: str | None) -> SmallWorld:
    return SmallWorld(tmp_path, bucket=bucket, dtype=request.param)


def pinned(world: SmallWorld) -> PinnedVersion:
    return EmbeddingClient(world.store.root).pin()


def test_each_side_is_stored_as_the_manifest_says(world: SmallWorld) -> None:
    version = world.staged(0)
    version.verify()
    assert version.manifest.dtype == world.dtype
    for record in version.manifest.files:
        schema = pq.read_schema(version.folder / record.path)
        assert schema.field("embedding").type.value_type == VALUE_TYPES[world.dtype]
        assert ("scale" in schema.names) == (world.dtype == "int8")
        assert record == FileRecord.of(version.folder, record.path, rows=record.rows)


def test_the_files_of_a_float32_version_are_those_of_the_stabilised_embeddings(
    tmp_path: Path,
) -> None:
    world = SmallWorld(tmp_path)
    version = world.staged(0)
    for record in version.manifest.files:
        data = (world.stabilised(0) / record.path).read_bytes()
        assert (version.folder / record.path).read_bytes() == data


def test_what_is_read_is_what_the_dtype_makes_of_the_stabilised_vectors(world: SmallWorld) -> None:
    version, folder = world.staged(0), world.stabilised(0)
    for side in SIDES:
        exact = list(shards(folder / side, side, DIM))
        stored = [version.shard(record, side) for record in version.manifest.parts(side)]
        for one, other in zip(exact, stored, strict=True):
            assert one.ids.equals(other.ids)
            want = decode(*encode(one.vectors, world.dtype))
            np.testing.assert_array_equal(other.vectors, want)


def test_the_default_user_is_the_same_in_its_file_and_in_the_manifest(world: SmallWorld) -> None:
    version = world.staged(0)
    default = read_default_user(version.folder / "user_default.parquet", DIM, world.dtype)
    assert tuple(default.vectors[0].tolist()) == version.manifest.default_user
    exact = read_default_user(world.stabilised(0) / "user_default.parquet", DIM)
    np.testing.assert_array_equal(default.vectors, decode(*encode(exact.vectors, world.dtype)))


def test_staging_again_gives_the_same_version(encoded: SmallWorld) -> None:
    assert encoded.staged(0).manifest == encoded.staged(0).manifest


def test_an_encoded_version_is_smaller(tmp_path: Path) -> None:
    sizes, raw = {}, raw_world(num_users=3000, dim=64)
    for dtype in DTYPES:
        world = SmallWorld(tmp_path, raw, dtype=dtype)
        sizes[dtype] = sum(one.bytes for one in world.staged(0).manifest.parts("user"))
    assert sizes["float16"] < 0.52 * sizes["float32"]
    assert sizes["int8"] < 0.32 * sizes["float32"]


def test_every_look_up_and_table_is_of_the_same_float32(world: SmallWorld) -> None:
    world.serve(0, 1)
    version = pinned(world)
    assert version.dtype == world.dtype
    tables = [*version.tables("user")]
    assert version.bucket_table(0).equals(tables[0])
    for table in tables:
        assert table.column_names == ["user_id", "embedding"]
        assert table.schema.field("embedding").type.value_type == pa.float32()
        flat = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
        found = version.users(table["user_id"].to_pylist())
        assert found.is_found.all()
        np.testing.assert_array_equal(found.vectors, flat)
    ids, vectors = version.all_items()
    np.testing.assert_array_equal(version.items(ids.to_pylist()).vectors, vectors)
    stranger = version.users(["stranger"]).vectors[0]
    np.testing.assert_array_equal(stranger, version.default_user)


def test_search_scores_what_look_ups_answer(world: SmallWorld) -> None:
    world.serve(0)
    version = pinned(world)
    users = version.users(world.raw.user_ids)
    ids, items = version.all_items()
    best = version.search_items(users, 5)
    scores = users.vectors @ items.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert best.ids.tolist() == [[ids[int(row)].as_py() for row in one] for one in order]
    np.testing.assert_allclose(best.scores, np.take_along_axis(scores, order, axis=1), rtol=1e-5)


def test_the_history_is_float32_and_what_was_answered_then(world: SmallWorld) -> None:
    world.serve(0, 1)
    world.publisher.rollback(1, effective_at=instant(5), why="a test")
    client = EmbeddingClient(world.store.root)
    assert client.pin().name == "v1"
    for switch in world.store.state().stable_switches(1):
        version = client.pin_number(switch.number)
        for side in SIDES:
            rows = pq.read_table(part_path(world.store, switch, side))
            assert rows.schema.field("embedding").type.value_type == pa.float32()
            flat = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
            answers = {"user": version.users, "item": version.items}[side]
            want = answers(rows[f"{side}_id"].to_pylist()).vectors
            np.testing.assert_array_equal(flat, want)
    assert rebuild(world.store).written == ()
    (_, first), (_, second) = client.served_at([instant(1, 2), instant(2, 2)])
    assert (first.name, second.name) == ("v1", "v2")


def test_an_erasure_leaves_the_bytes_of_all_other_rows(world: SmallWorld) -> None:
    world.serve(0, 1)
    before = world.opened(1)
    stored = {one.path: before.shard(one, "user").table for one in before.manifest.parts("user")}
    answers = pinned(world).users(world.raw.user_ids)
    gone = ["user-3", "user-17"]
    erased = Tombstones(MemoryObjects())
    erased.add(gone)
    world.publisher.erase(erased, effective_at=instant(50), why="asked for")

    after = world.opened(1)
    assert check(world.store) == []
    assert after.manifest.rows("user") == 58
    assert after.manifest.to_json()["dtype"] == world.dtype
    assert after.manifest.score_error == before.manifest.score_error
    for record in after.manifest.parts("user"):
        is_left = pa.array([one not in gone for one in stored[record.path]["user_id"].to_pylist()])
        assert after.shard(record, "user").table.equals(stored[record.path].filter(is_left))
    left = pinned(world).users(world.raw.user_ids)
    np.testing.assert_array_equal(left.vectors[left.is_found], answers.vectors[left.is_found])
    assert left.is_found.sum() == 58


def test_an_index_is_over_what_look_ups_answer(
    encoded: SmallWorld, bucket: str | None, tmp_path: Path
) -> None:
    pytest.importorskip("usearch")
    world = SmallWorld(tmp_path / "many", raw_world(num_items=2000), 1, bucket, "", encoded.dtype)
    world.promote(world.publish(0))
    build_index(world.store, world.opened(0), threads=1)
    version = pinned(world)
    assert version.index is not None
    users = version.users(world.raw.user_ids)
    by_index, by_all = (version.search_items(users, 10, exact=one) for one in (False, True))
    np.testing.assert_allclose(by_index.scores, by_all.scores, rtol=1e-5)


def test_the_next_day_is_stabilised_onto_what_was_stored(world: SmallWorld) -> None:
    world.serve(0, 1, 2)
    version = world.opened(2)
    assert version.manifest.reference == world.opened(1).digest
    exact = drifted(world.raw, seed=2)
    users = pinned(world).users(exact.user_ids).vectors
    items = pinned(world).items(exact.item_ids).vectors
    want = exact.users @ exact.items.T
    tolerance = {"float32": 1e-5, "float16": 1e-3, "int8": 2e-2}[world.dtype]
    assert np.abs(users @ items.T - want).max() <= tolerance * np.abs(want).max()


def test_the_gate_record_says_what_the_encoding_does(world: SmallWorld) -> None:
    world.serve(0)
    version = world.store.state().stable(1)
    notes = {one.name: one.note for one in published_record(world.store, version).gates}
    error = world.opened(0).manifest.score_error
    want = f"; stored as {world.dtype}, which changes scores by at most {error or 0:.1e} of"
    assert (want in notes["valid_vectors"]) == (world.dtype != "float32")
    assert notes["valid_vectors"].startswith("100 vectors: finite, not zero, unique, checksums")


def test_a_part_of_another_dtype_does_not_pass_the_gates(
    encoded: SmallWorld, tmp_path: Path
) -> None:
    version = encoded.staged(0)
    other = with_part(version, tmp_path / "work", version.items.stored_as("float32").table)
    policy = encoded.evidence().policy
    record = judge(encoded.store, other, reference=None, quality=None, policy=policy)
    notes = {one.name: one.note for one in record.failures}
    assert notes["valid_vectors"].startswith("item embeddings ")


def test_a_frame_keeps_its_dtype(encoded: SmallWorld) -> None:
    encoded.serve(0)
    float32 = replace(encoded, dtype="float32")
    with pytest.raises(
        PublicationRefusedError,
        match=f"frame 1 is {encoded.dtype}, as v1 is, and cannot take a version of float32",
    ):
        float32.publish(1)
    assert [one.kind for one in encoded.store.log.entries()] == ["version_published", "alias_set"]
    encoded.promote(encoded.publish(1))
    opened = SmallWorld(encoded.folder, frame=2, bucket=encoded.bucket)
    opened.promote(opened.publish(2, stabilised=opened.stabilised(2, raw_world(seed=77))))
    state = encoded.store.state()
    dtypes = [encoded.store.open(state.stable(frame)).manifest.dtype for frame in (1, 2)]
    assert dtypes == [encoded.dtype, "float32"]


def test_a_frame_has_its_dtype_before_anything_is_in_it(world: SmallWorld) -> None:
    opened = Frame(number=2, day="2024-03-01", effective_at=instant(1), dim=8, dtype="int8")
    state = StoreState(opened={2: opened})
    require_dtype_of_frame(world.store, state, 2, "int8")
    with pytest.raises(PublicationRefusedError, match="frame 2 is int8, as it was opened, and"):
        require_dtype_of_frame(world.store, state, 2, "float32")


def test_a_frame_has_its_dtype_before_anything_in_it_is_stable(encoded: SmallWorld) -> None:
    encoded.publish(0)
    float32 = replace(encoded, dtype="float32")
    with pytest.raises(PublicationRefusedError, match="as v1 is"):
        float32.publish(1)
    encoded.publisher.retire(1, effective_at=instant(4), why="never used")
    assert float32.publish(1).version.number == 2


def test_an_unknown_dtype_publishes_nothing(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path, dtype="int4")
    with pytest.raises(ContractError, match="dtype: want one of float32, float16, int8"):
        world.publish(0)
    assert not world.store.stored_versions()
    assert not world.unfinished()


def test_vectors_that_the_dtype_cannot_hold_commit_nothing(encoded: SmallWorld) -> None:
    folder = Path(shutil.copytree(encoded.stabilised(0), encoded.folder / "wide"))
    wide = np.array([[1e20, *[1e-20] * (DIM - 1)]])
    narrow = np.array([[1e-20, *[1e-3] * (DIM - 1)]])
    write_side(folder / "item/part-0.parquet", "item", ["a"], wide)
    for path in folder.glob("user/part-*.parquet"):
        ids = pq.read_table(path)["user_id"].to_pylist()
        write_side(path, "user", ids, np.tile(narrow, (len(ids), 1)))
    write_side(folder / "user_default.parquet", "user", [""], narrow)
    record_again(folder)
    with pytest.raises(ContractError, match=r"rule (finite|score_error)"):
        encoded.staged(0, folder)
    assert not encoded.store.stored_versions()
    assert not encoded.unfinished()


def with_part(version: Version, work: Path, table: pa.Table) -> Version:
    """The version with another first item part, its checksum as it should be."""
    folder = Path(shutil.copytree(version.folder, work / "other"))
    path = "item/part-0.parquet"
    write_part(folder / path, table)
    files = [
        FileRecord.of(folder, path, rows=one.rows) if one.path == path else one
        for one in version.manifest.files
    ]
    return Version(folder, replace(version.manifest, files=tuple(files)))


def test_a_part_of_another_dtype_is_refused(world: SmallWorld, tmp_path: Path) -> None:
    version = world.staged(0)
    for dtype in DTYPES:
        table = version.items.stored_as(dtype).table
        other = with_part(version, tmp_path / dtype, table)
        other.verify()
        if dtype == world.dtype:
            assert other.items.table.num_rows == version.items.table.num_rows
            continue
        with pytest.raises(ContractError, match=r"item embeddings (columns|embedding): want"):
            _ = other.items


def test_a_changed_scale_is_found(tmp_path: Path) -> None:
    version = SmallWorld(tmp_path, dtype="int8").staged(0)
    path = version.folder / "item/part-0.parquet"
    table = version.items.table
    write_part(path, table.set_column(2, "scale", pa.array([1.0] * len(table), pa.float32())))
    with pytest.raises(CorruptVersionError, match=r"part-0\.parquet: want .* sha256"):
        _ = open_version(version.folder).items


def test_a_release_that_knows_float32_alone_refuses_other_dtypes(encoded: SmallWorld) -> None:
    """It reads manifests whose ``format_version`` is 1, and asks for an upgrade otherwise."""
    fields = encoded.staged(0).manifest.to_json()
    assert fields["format_version"] == 2
    assert (fields["dtype"], fields["score_error"] > 0) == (encoded.dtype, True)


def test_float32_is_written_as_by_a_release_that_knows_nothing_else(tmp_path: Path) -> None:
    manifest = SmallWorld(tmp_path).staged(0).manifest
    fields = manifest.to_json()
    assert fields["format_version"] == 1
    assert "score_error" not in fields
    assert (fields["dtype"], manifest.score_error) == ("float32", None)


def test_manifests_of_every_dtype_read_back_equal(world: SmallWorld) -> None:
    manifest = world.staged(0).manifest
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def changed(manifest: Manifest, **changes: object) -> bytes:
    fields = manifest.to_bytes().decode()
    for name, value in changes.items():
        was = manifest.to_json()[name]
        fields = fields.replace(f'"{name}": {_json(was)}', f'"{name}": {_json(value)}')
    return fields.encode()


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_a_dtype_in_the_format_of_another_is_no_manifest(encoded: SmallWorld) -> None:
    manifest = encoded.staged(0).manifest
    for changes in ({"format_version": 1}, {"dtype": "float32"}, {"dtype": "int4"}):
        with pytest.raises(CorruptVersionError, match="restore it from a copy"):
            Manifest.from_bytes(changed(manifest, **changes))
    with pytest.raises(UnknownEntryError, match="through 2, got 3: upgrade"):
        Manifest.from_bytes(changed(manifest, format_version=3))


def test_a_version_under_the_name_of_another_dtype_is_found(encoded: SmallWorld) -> None:
    version = encoded.staged(0)
    folder = Path(shutil.copytree(version.folder, encoded.folder / "copies" / version.digest))
    (folder / MANIFEST_FILE).write_bytes(changed(version.manifest, dtype="float32"))
    with pytest.raises(CorruptVersionError):
        open_version(folder)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    for dtype in ENCODED:
        table = embedding_table("item", pa.array([f"i{n:02d}" for n in range(50)]), vectors, dtype)
        paths = [tmp_path / dtype / name for name in ("one.parquet", "other.parquet")]
        for path in paths:
            write_part(path, table)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert pq.read_table(paths[0]).column_names == table.column_names
