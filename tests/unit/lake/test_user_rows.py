from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.digests import digest_files
from lake.errors import CorruptArtifactError, ErasureError
from lake.folders import DiskFolders
from lake.user_rows import copy_without, count_rows, users_of

TOKENS = pa.large_list(
    pa.struct(
        [
            pa.field("item", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("seconds", pa.int64(), nullable=False),
        ]
    )
)


def events(*users: str | None) -> pa.Table:
    return pa.table({"user_id": pa.array(users, pa.string()), "n": list(range(len(users)))})


def token_lists(lists: dict[str, list[str]]) -> pa.RecordBatch:
    """As they are written: the dictionary holds, sorted, what the lists hold and nothing else."""
    items = [item for one in lists.values() for item in one]
    known = sorted(set(items))
    codes = pa.array([known.index(item) for item in items], pa.int32())
    values = pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(codes, pa.array(known)), pa.array([len(i) for i in items])],
        fields=list(TOKENS.value_type),
    )
    offsets = [0]
    for one in lists.values():
        offsets.append(offsets[-1] + len(one))
    columns = [
        pa.array(list(lists), pa.string()),
        pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values),
    ]
    return pa.record_batch(
        columns, schema=pa.schema([("user_id", pa.string()), ("tokens", TOKENS)])
    )


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    batch = batch.replace_schema_metadata({"day": "2026-02-01"})
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    pq.write_table(events("ann", "bob", None, "ann", ""), folder / "events.parquet")
    pq.write_table(pa.table({"item_id": ["a"]}), folder / "items.parquet")
    write_arrow(folder / "deep" / "lists.arrow", token_lists({"bob": ["x"], "cat": ["y", "x"]}))
    (folder / "schema.json").write_text("{}")
    return folder


def made(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    return folder


def test_users_of_every_table_are_found(folder: Path) -> None:
    assert users_of(DiskFolders(folder.parent).files(folder.name)) == {"ann", "bob", "cat", ""}
    assert count_rows(folder) == 7


def test_a_copy_has_everything_but_their_rows(folder: Path, tmp_path: Path) -> None:
    into = made(tmp_path, "copy")

    assert copy_without(folder, {"ann", "dan"}, into) == 2

    left = pq.read_table(into / "events.parquet")
    assert left.to_pylist() == [{"user_id": u, "n": n} for u, n in (("bob", 1), (None, 2), ("", 4))]
    before, after = digest_files(folder), digest_files(into)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["events.parquet"]


def test_a_copy_is_what_would_have_been_written_without_them(tmp_path: Path) -> None:
    both, without, copied = (made(tmp_path, name) for name in ("both", "without", "copied"))
    lists = {"ann": ["b", "c"], "bob": ["a"], "cat": [], "dan": ["d", "b"]}
    for folder, users in ((both, list(lists)), (without, list(lists)[1:])):
        write_arrow(folder / "lists.arrow", token_lists({user: lists[user] for user in users}))
        for codec in ("zstd", "none"):
            pq.write_table(
                events("ann", *lists).filter(
                    pa.array([len(users) == 4, len(users) == 4, *[True] * 3])
                ),
                folder / f"{codec}.parquet",
                compression=codec,
                use_dictionary=["user_id"],
            )

    copy_without(both, ["ann"], copied)

    assert digest_files(copied) == digest_files(without)


def test_nothing_of_them_is_left_in_the_bytes(tmp_path: Path) -> None:
    """A dictionary could keep what no row refers to."""
    folder, into = made(tmp_path, "folder"), made(tmp_path, "into")
    lists = {"ann": ["only-ann-saw-this"], "bob": ["a"]}
    write_arrow(folder / "lists.arrow", token_lists(lists))

    copy_without(folder, ["ann"], into)

    data = (into / "lists.arrow").read_bytes()
    assert b"ann" not in data
    with pa.memory_map(str(into / "lists.arrow")) as source:
        file = pa.ipc.open_file(source)
        assert file.schema.metadata == {b"day": b"2026-02-01"}
        (row,) = file.read_all().to_pylist()
    assert row == {"user_id": "bob", "tokens": [{"item": "a", "seconds": 1}]}


SHARED = pa.schema(
    [
        ("user_id", pa.string()),
        ("device", pa.dictionary(pa.int32(), pa.string())),
        ("genres", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        ("seen", pa.struct([("title", pa.dictionary(pa.int32(), pa.string()))])),
    ]
)


def coded(values: list[str | None], dictionary: list[str]) -> pa.DictionaryArray:
    codes = [None if value is None else dictionary.index(value) for value in values]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(dictionary))


def batch_of(known: list[str], *rows: tuple[str, str | None, str | None]) -> pa.RecordBatch:
    """A batch of user, device and genre; a genre that is missing is a missing list and struct."""
    users, devices, genres = zip(*rows, strict=True)
    is_missing = pa.array([one is None for one in genres])
    ends = [0]
    for one in genres:
        ends.append(ends[-1] + (one is not None))
    values = coded([one for one in genres if one is not None], known)
    columns = [
        pa.array(users, pa.string()),
        coded(list(devices), known),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=is_missing),
        pa.StructArray.from_arrays(
            [coded(list(genres), known)], fields=list(SHARED.field("seen").type), mask=is_missing
        ),
    ]
    return pa.record_batch(columns, schema=SHARED)


@pytest.mark.parametrize("gone", [{"ann"}, {"ann", "bob"}, {"bob", "cat"}, {"dan"}])
def test_batches_whose_dictionaries_grow_keep_the_rows_of_others(
    tmp_path: Path, gone: set[str]
) -> None:
    folder, into = made(tmp_path, "folder"), made(tmp_path, "into")
    batches = [
        batch_of(["x", "of-ann"], ("ann", "of-ann", "x"), ("bob", "x", None)),
        batch_of(["x", "of-ann", "y"], ("cat", "y", "x"), ("ann", "x", "y"), ("dan", None, "y")),
        batch_of(["x", "of-ann", "y", "z"], ("bob", "z", "x")),
    ]
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_file(str(folder / "rows.arrow"), SHARED, options=options) as writer:
        for one in batches:
            writer.write_batch(one)

    num_removed = copy_without(folder, gone, into)

    before = [row for one in batches for row in one.to_pylist()]
    wanted = [row for row in before if row["user_id"] not in gone]
    with pa.memory_map(str(into / "rows.arrow")) as source:
        file = pa.ipc.open_file(source)
        assert file.num_record_batches == 3
        left = file.read_all()
        assert left.to_pylist() == wanted
        left.validate(full=True)
        known = file.get_batch(0)["device"].dictionary.to_pylist()
    assert known == [one for one in known if any(row["device"] == one for row in wanted)]
    assert num_removed == len(before) - len(wanted)
    assert (b"of-ann" in (into / "rows.arrow").read_bytes()) == ("ann" not in gone)


def test_a_user_inside_another_column_is_refused(tmp_path: Path) -> None:
    rows = pa.table({"who": [{"user_id": "ann"}]})
    pq.write_table(rows, tmp_path / "nested.parquet")
    with pytest.raises(ErasureError, match=r"nested\.parquet: user_id is inside another column"):
        users_of(DiskFolders(tmp_path.parent).files(tmp_path.name))


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptArtifactError, match=r"events\.parquet"):
        users_of(DiskFolders(tmp_path.parent).files(tmp_path.name))
