import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from lake.errors import CorruptArtifactError, LogMovedError, StorageError, UnknownFormatError
from lake.log import CommitLog, Entry
from lake.objects import DiskObjects, MemoryObjects, Objects

AT = datetime(2026, 2, 1, tzinfo=UTC)
WRITTEN = {
    "body": {"alias": "stable"},
    "by": "publisher",
    "effective_at": "2026-02-02T03:00:00+00:00",
    "entry_id": "6f0e",
    "format_version": 1,
    "kind": "alias_set",
    "recorded_at": "2026-11-22T07:00:00+00:00",
    "seq": 1,
    "why": "gates passed",
}


def append(log: CommitLog, kind: str = "noted", after_seq: int | None = None) -> Entry:
    return log.append(kind, {}, effective_at=AT, by="test", why="a fact", after_seq=after_seq)


def test_the_log_assigns_the_sequence(objects: Objects) -> None:
    log = CommitLog(objects)
    assert [append(log).seq for _ in range(3)] == [1, 2, 3]
    assert [entry.seq for entry in CommitLog(objects).entries()] == [1, 2, 3]


def test_two_writers_interleave_without_losing_an_entry(objects: Objects) -> None:
    one, other = CommitLog(objects), CommitLog(objects)
    for _ in range(5):
        append(one, "one")
        append(other, "other")
    kinds = [entry.kind for entry in CommitLog(objects).entries()]
    assert kinds.count("one") == kinds.count("other") == 5


def test_a_decision_on_an_older_log_is_refused(objects: Objects) -> None:
    log = CommitLog(objects)
    append(log)
    append(CommitLog(objects), after_seq=1)
    with pytest.raises(LogMovedError, match="ends at 2"):
        append(log, after_seq=1)
    assert len(log.entries()) == 2


def test_threads_that_share_a_log_read_every_entry_once_and_in_order(objects: Objects) -> None:
    for _ in range(30):
        append(CommitLog(objects))
    for _ in range(10):
        shared = CommitLog(objects)
        with ThreadPoolExecutor(8) as threads:
            read = list(threads.map(lambda _, log=shared: log.entries(), range(16)))
        assert all([entry.seq for entry in one] == list(range(1, 31)) for one in read)


class EchoingObjects(MemoryObjects):
    """Writes the blob and then answers as if the call had lost: a time-out after the write."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        super().put_if_absent(key, data)
        return False


def test_a_refusal_that_echoes_our_own_write_counts_as_won() -> None:
    log = CommitLog(EchoingObjects())
    assert append(log).seq == 1
    assert len(log.entries()) == 1


class FailingObjects(MemoryObjects):
    """Fails once after the write was done, or before it."""

    def __init__(self, *, is_written: bool) -> None:
        super().__init__()
        self.is_written, self.left = is_written, 1

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if not self.left:
            return super().put_if_absent(key, data)
        self.left -= 1
        if self.is_written:
            super().put_if_absent(key, data)
        raise StorageError("the read timed out")


def test_a_failure_after_our_write_counts_as_won() -> None:
    log = CommitLog(FailingObjects(is_written=True))
    assert append(log).seq == 1
    assert len(log.entries()) == 1


def test_a_failure_without_a_write_is_told() -> None:
    log = CommitLog(FailingObjects(is_written=False))
    with pytest.raises(StorageError, match="timed out"):
        append(log)
    assert log.entries() == ()


def test_instants_are_aware(objects: Objects) -> None:
    with pytest.raises(ValueError, match="aware"):
        CommitLog(objects).append(
            "noted",
            {},
            effective_at=AT.replace(tzinfo=None),
            by="t",
            why="w",
        )


def test_a_newer_format_asks_for_an_upgrade(objects: Objects) -> None:
    objects.put_if_absent(
        "log/00000000000000000001.json", json.dumps({"format_version": 3}).encode()
    )
    with pytest.raises(UnknownFormatError, match="got 3"):
        CommitLog(objects).entries()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff\x00",
        b"[]",
        b"7",
        b"{}",
        b'{"format_version": 1, "seq": 1}',
        json.dumps({**WRITTEN, "more": 1}).encode(),
        json.dumps({**WRITTEN, "effective_at": "soon"}).encode(),
        json.dumps({**WRITTEN, "effective_at": "2026-02-02T03:00:00"}).encode(),
        json.dumps({**WRITTEN, "seq": 2}).encode(),
    ],
)
def test_a_damaged_entry_is_named_with_what_helps(tmp_path: Path, damaged: bytes) -> None:
    objects = DiskObjects(tmp_path)
    objects.put_if_absent("log/00000000000000000001.json", damaged)
    with pytest.raises(CorruptArtifactError, match="restore it from a copy of the log") as caught:
        CommitLog(objects).entries()
    assert str(tmp_path / "log" / "00000000000000000001.json") in str(caught.value)


def test_an_entry_whose_words_changed_is_damaged(tmp_path: Path) -> None:
    objects = DiskObjects(tmp_path)
    append(CommitLog(objects))
    (key,) = objects.list("log")
    fields = json.loads(objects.get(key))
    objects.put(key, json.dumps({**fields, "why": "for another reason"}).encode())
    with pytest.raises(CorruptArtifactError, match="its seal is"):
        CommitLog(objects).entries()
    objects.put(key, json.dumps(dict(reversed(fields.items()))).encode())
    assert len(CommitLog(objects).entries()) == 1  # the same fields, written otherwise


def test_an_entry_that_is_nested_too_deeply_is_damaged(tmp_path: Path) -> None:
    objects = DiskObjects(tmp_path)
    objects.put("log/00000000000000000001.json", b"[" * 100_000)
    with pytest.raises(CorruptArtifactError, match="nested too deeply"):
        CommitLog(objects).entries()


def test_a_missing_entry_is_never_taken_for_a_free_slot(objects: Objects) -> None:
    written = MemoryObjects()
    for _ in range(3):
        append(CommitLog(written))
    for seq in (1, 3):
        objects.put_if_absent(f"log/{seq:020d}.json", written.get(f"log/{seq:020d}.json"))
    with pytest.raises(CorruptArtifactError, match="00000000000000000002"):
        append(CommitLog(objects))
    assert list(objects.list("log")) == [f"log/{seq:020d}.json" for seq in (1, 3)]


def test_an_entry_written_by_the_first_release_still_opens(objects: Objects) -> None:
    objects.put_if_absent("log/00000000000000000001.json", json.dumps(WRITTEN).encode())
    (entry,) = CommitLog(objects).entries()
    assert entry.kind == "alias_set"
    assert entry.body == {"alias": "stable"}


def _append_many(objects: Objects, count: int) -> None:
    log = CommitLog(objects)
    for _ in range(count):
        append(log)


@pytest.mark.parametrize("objects", ["disk", "s3"], indirect=True)
def test_concurrent_processes_lose_and_repeat_nothing(objects: Objects) -> None:
    context = get_context("spawn")
    writers = [context.Process(target=_append_many, args=(objects, 15)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    entries = CommitLog(objects).entries()
    assert len({entry.entry_id for entry in entries}) == len(entries) == 60


class CountedObjects(MemoryObjects):
    """Counts what is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        return super().get(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        self.asked.append(f"{prefix} after {after}")
        return super().list(prefix, after=after)


def test_a_look_at_a_log_that_is_known_is_one_question() -> None:
    objects = CountedObjects()
    for _ in range(12):
        append(CommitLog(objects))
    objects.asked.clear()
    log = CommitLog(objects)
    log.entries()
    assert len(objects.asked) == 14, "two lists, and each entry once"
    objects.asked.clear()
    log.entries()
    assert objects.asked == [f"log after log/{12:020d}.json"]


def test_other_files_beside_the_log_are_no_entries(objects: Objects) -> None:
    append(CommitLog(objects))
    objects.put("log/.DS_Store", b"x")
    objects.put("logs/1", b"x")
    assert len(CommitLog(objects).entries()) == 1
