"""Rows of erased users leave a lake, on a disk and in a bucket, also from under builders."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.erasing import Rewritten, erase_rows, rewritten_since
from lake.errors import MissingArtifactError
from lake.lake import Built, Lake, Step, Written
from lake.refs import ArtifactRef
from lake.s3 import S3Objects
from lake.storage import locate
from tests.residue import residue

DAY = "2026-02-01"


@pytest.fixture(params=["disk", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "s3":
        locate(tmp_path / "lake", request.getfixturevalue("s3_url"))
    return Lake(tmp_path / "lake")


def build(lake: Lake, *users: str, code: str = "c0de", asset: str = "events") -> Built:
    def write(folder: Path) -> Written:
        pq.write_table(pa.table({"user_id": list(users)}), folder / "events.parquet")
        return Written(len(users))

    step = Step(asset=asset, partition=DAY, schema_id="events/1", as_of="2026-02-02", code=code)
    return lake.build(step, write)


def fewer(ref: ArtifactRef, folder: Path, removed: int) -> ArtifactRef:
    return replace(ref, rows=ref.rows - removed)


def erased(lake: Lake, *users: str) -> list[Rewritten]:
    lake.tombstones().add(users)
    return list(erase_rows(lake, fewer))


def users_in(lake: Lake, ref: ArtifactRef) -> list[str]:
    rows: list[str] = pq.read_table(lake.path(ref) / "events.parquet")["user_id"].to_pylist()
    return rows


def test_other_content_stands_for_the_same_work(lake: Lake, tmp_path: Path) -> None:
    before = build(lake, "ann", "bob", "ann").ref
    untouched = build(lake, "bob", asset="others").ref

    (done,) = erased(lake, "ann")

    after = lake.require("events", DAY)
    assert users_in(lake, after) == ["bob"]
    assert after.logical_id == before.logical_id
    assert (done.before, done.after, done.rows) == (before.digest, after.digest, 2)
    assert done.users == (lake.tombstones().hash_of("ann"),)
    assert list(rewritten_since(lake).values()) == [done]
    assert after.rows == 1
    lake.verify(after)
    assert lake.require("others", DAY) == untouched
    assert residue(tmp_path, ["ann"]) == {}
    with pytest.raises(MissingArtifactError):
        lake.path(before)
    assert build(lake, "ann", "bob", "ann").ref == after
    assert erased(lake, "ann") == []


def test_nothing_is_left_in_the_bucket(s3_url: str, tmp_path: Path) -> None:
    locate(tmp_path / "lake", s3_url)
    lake = Lake(tmp_path / "lake")
    build(lake, "ann", "bob")
    before = set(S3Objects(s3_url).list("artifacts"))

    erased(lake, "ann")

    assert before.isdisjoint(S3Objects(s3_url).list("artifacts"))
    elsewhere = tmp_path / "elsewhere"
    locate(elsewhere, s3_url)
    assert users_in(Lake(elsewhere), lake.require("events", DAY)) == ["bob"]


def bytes_down(storage: S3Objects) -> list[int]:
    """Return a list that grows by the size of every answer of the server to a GET of an object."""
    sizes: list[int] = []
    storage._client.meta.events.register(
        "after-call.s3.GetObject", lambda parsed, **_: sizes.append(parsed.get("ContentLength", 0))
    )
    return sizes


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_of_a_bucket_only_users_and_what_is_rewritten_come_down(
    kind: str, s3_url: str, tmp_path: Path
) -> None:
    locate(tmp_path / "lake", s3_url)
    lake = Lake(tmp_path / "lake")

    def write(folder: Path, users: list[str]) -> Written:
        # other columns are what most of an artifact is
        rows = pa.table({"seen": [os.urandom(1200) for _ in users], "user_id": users})
        if kind == "parquet":
            pq.write_table(rows, folder / "events.parquet")
        else:
            with pa.ipc.new_file(folder / "events.arrow", rows.schema) as file:
                file.write_table(rows, max_chunksize=500)
        return Written(len(users))

    for number in range(10):
        users = [f"user-{number}-{one % 50}" for one in range(2000)]
        step = Step(
            asset=f"events{number}", partition=DAY, schema_id="1", as_of="2026-02-02", code="c"
        )
        lake.build(step, partial(write, users=users))
    size = lake.storage.folders.size("artifacts")
    elsewhere = tmp_path / "elsewhere"
    locate(elsewhere, s3_url)
    there = Lake(elsewhere)
    assert isinstance(there.storage.objects, S3Objects)
    sizes = bytes_down(there.storage.objects)

    (done,) = erased(there, "user-3-7")

    assert (done.asset, done.rows) == ("events3", 40)
    # one artifact of ten whole, the ids of all of them
    assert 0.1 * size < sum(sizes) < 0.2 * size, f"{sum(sizes):,} of {size:,} bytes"
    there.verify(there.require("events3", DAY))
    assert len(there.storage.folders.names("artifacts", depth=3)) == 10


def test_a_folder_of_a_bucket_that_is_half_removed_and_named_is_told(
    s3_url: str, tmp_path: Path
) -> None:
    locate(tmp_path / "lake", s3_url)
    build(Lake(tmp_path / "lake"), "ann", "bob")
    (key,) = (one for one in S3Objects(s3_url).list("artifacts") if one.endswith(".parquet"))
    S3Objects(s3_url).delete(key)
    locate(tmp_path / "elsewhere", s3_url)

    with pytest.raises(MissingArtifactError, match=r"events\.parquet"):
        erased(Lake(tmp_path / "elsewhere"), "ann")


def test_what_was_replaced_is_rewritten_and_may_stand_again(lake: Lake) -> None:
    first = build(lake, "ann", "bob", code="first").ref
    build(lake, "ann", "cat", code="second")

    assert len(erased(lake, "ann")) == 2

    found = lake.references("events", DAY)
    assert sorted(users_in(lake, ref)[0] for ref in found.values()) == ["bob", "cat"]
    restored = lake.restore("events", DAY, is_wanted=lambda ref: ref.logical_id == first.logical_id)
    assert restored is not None
    assert users_in(lake, restored) == ["bob"]


def test_a_folder_that_two_references_name_is_rewritten_once(lake: Lake) -> None:
    for code in ("first", "second"):
        build(lake, "ann", "bob", code=code)

    (done,) = erased(lake, "ann")

    assert len(done.logical_ids) == 2
    found = lake.references("events", DAY)
    assert {ref.digest for ref in found.values()} == {done.after}
    assert len(found) == 2


def test_rows_that_no_reference_names_are_removed(lake: Lake, tmp_path: Path) -> None:
    build(lake, "ann")
    lake.storage.objects.delete(f"refs/events/{DAY}.json")

    (done,) = erased(lake, "ann")

    assert (done.after, done.logical_ids) == (None, ())
    assert lake.storage.folders.names("artifacts", depth=3) == []
    assert residue(tmp_path, ["ann"]) == {}


def test_a_build_that_asked_before_is_waited_for(lake: Lake, tmp_path: Path) -> None:
    has_asked, may_write = Event(), Event()

    def slowly(folder: Path) -> Written:
        assert "ann" not in lake.tombstones()
        has_asked.set()
        may_write.wait(30)
        pq.write_table(pa.table({"user_id": ["ann", "bob"]}), folder / "events.parquet")
        return Written(2)

    step = Step(asset="events", partition=DAY, schema_id="e/1", as_of="2026-02-02", code="c0de")
    builder = Thread(target=lake.build, args=(step, slowly))
    builder.start()
    has_asked.wait(30)
    done: list[Rewritten] = []
    eraser = Thread(target=lambda: done.extend(erased(lake, "ann")))
    eraser.start()
    eraser.join(0.3)
    assert eraser.is_alive()

    may_write.set()
    builder.join()
    eraser.join()

    assert len(done) == 1
    assert users_in(lake, lake.require("events", DAY)) == ["bob"]
    assert residue(tmp_path, ["ann"]) == {}


class Killed(BaseException):
    """Ends an erasure where a kill would."""


def dying_after(writes: int, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lake refuse every change after some."""
    left = [writes]

    def dying(do: Callable[..., object]) -> Callable[..., object]:
        def count(*arguments: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return do(*arguments)

        return count

    for place, names in (
        (lake.storage.objects, ("put", "put_if_absent", "delete")),
        (lake.storage.folders, ("commit", "remove")),
    ):
        for name in names:
            monkeypatch.setattr(place, name, dying(getattr(place, name)))


def test_what_a_killed_erasure_did_is_recorded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each change in turn; three references name the folder."""

    def world(name: str) -> Lake:
        lake = Lake(tmp_path / name)
        for code in ("first", "second", "third"):
            build(lake, "ann", "bob", code=code)
        build(lake, "ann", asset="unnamed")
        lake.storage.objects.delete(f"refs/unnamed/{DAY}.json")
        lake.tombstones().add(["ann"])
        return lake

    whole = world("whole")
    want = {done.before: done for done in erase_rows(whole, fewer)}
    assert [len(done.logical_ids) for done in want.values()] == [3, 0]

    for writes in range(50):
        lake = world(f"killed-{writes}")
        with monkeypatch.context() as patched:
            dying_after(writes, lake, patched)
            try:
                list(erase_rows(lake, fewer))
            except Killed:
                is_killed = True
            else:
                is_killed = False
        list(erase_rows(lake, fewer))
        assert {done.before: done for done in rewritten_since(lake).values()} == want, writes
        if not is_killed:
            break
    assert writes > 6
