"""A log with checkpoints opens in a few questions, and never says anything but its entries."""

import gzip
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lake.errors import CorruptArtifactError, MissingArtifactError, StorageError
from lake.log import CHECKPOINT_EVERY, CommitLog, Entry
from lake.log_checkpoints import KEPT, Checkpoints
from lake.objects import MemoryObjects, Objects
from lake.sealed import sealed, unsealed

AT = datetime(2026, 2, 1, tzinfo=UTC)
EVERY = CHECKPOINT_EVERY


def append(log: CommitLog, count: int = 1) -> None:
    for _ in range(count):
        log.append(
            "noted", {"names": ["ä", "b"]}, effective_at=AT, by="test", why="a fact\nin two lines"
        )


def key(num_entries: int) -> str:
    return f"log-checkpoints/{num_entries:020d}.jsonl.gz"


def slot(seq: int) -> str:
    return f"log/{seq:020d}.json"


class CountedObjects:
    """Counts what is asked of other objects."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.objects, name)

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        return self.objects.get(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        found = list(self.objects.list(prefix, after=after))
        # S3 answers with a thousand keys at most
        self.asked.extend(f"{prefix} after {after}" for _ in range(len(found) // 1000 + 1))
        return iter(found)


def filled(objects: Objects, count: int) -> tuple[Entry, ...]:
    """Copy a log of so many entries, checkpoints included, written in memory."""
    written = MemoryObjects()
    append(CommitLog(written), count)
    with ThreadPoolExecutor(8) as threads:
        keys = (key for prefix in ("log", "log-checkpoints") for key in written.list(prefix))
        list(threads.map(lambda key: objects.put(key, written.get(key)), keys))
    return CommitLog(written).slots()


def test_every_so_many_entries_a_writer_leaves_a_checkpoint(objects: Objects) -> None:
    append(CommitLog(objects), 2 * EVERY + 1)
    assert list(objects.list("log-checkpoints")) == [key(EVERY), key(2 * EVERY)]
    log = CommitLog(objects)
    assert log.entries() == log.slots()
    assert len(log.entries()) == 2 * EVERY + 1
    assert log.checkpoint(EVERY) == list(log.entries()[:EVERY])


def test_a_checkpoint_says_the_same_whoever_writes_it() -> None:
    objects = MemoryObjects()
    append(CommitLog(objects), EVERY)
    first = objects.get(key(EVERY))
    objects.delete(key(EVERY))
    objects.delete(slot(EVERY))
    again = MemoryObjects()
    for one in objects.list("log"):
        again.put(one, objects.get(one))
    other = CommitLog(objects)
    other.entries()
    append(other)
    lines, others = (gzip.decompress(one).splitlines() for one in (first, objects.get(key(EVERY))))
    assert lines[:-1] == others[:-1]
    assert not Checkpoints(objects).write(others[1:]), "the second writer loses"


@pytest.mark.parametrize("count", [EVERY - 1, EVERY, 5 * EVERY + 3, 7 * EVERY - 1])
def test_a_long_log_opens_in_a_few_questions(count: int) -> None:
    objects = MemoryObjects()
    entries = filled(objects, count)
    counted = CountedObjects(objects)
    assert CommitLog(counted).entries() == entries
    few = 4 if count >= EVERY else 2
    assert len(counted.asked) == few + count % EVERY


def test_a_writer_that_dies_before_the_checkpoint_loses_nothing() -> None:
    objects = MemoryObjects()
    append(CommitLog(objects), 2 * EVERY)
    objects.delete(key(2 * EVERY))
    append(CommitLog(objects), EVERY)
    assert len(CommitLog(objects).entries()) == 3 * EVERY
    assert list(objects.list("log-checkpoints")) == [key(EVERY), key(3 * EVERY)]


class FullObjects(MemoryObjects):
    """Has no room for checkpoints."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if key.startswith("log-checkpoints"):
            raise StorageError("full")
        return super().put_if_absent(key, data)


def test_an_entry_is_logged_though_its_checkpoint_cannot_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = FullObjects()
    append(CommitLog(objects), EVERY)
    assert len(CommitLog(objects).entries()) == EVERY
    assert "no checkpoint of the log is written at entry 32: full" in caplog.text


HEADER = {"entries": EVERY, "format_version": 1}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no archive",
        gzip.compress(b""),
        gzip.compress(b"[]\n"),
        gzip.compress(json.dumps(HEADER).encode()),
        gzip.compress(b"\n".join([json.dumps(HEADER).encode(), *[b"{}"] * EVERY])),
        gzip.compress(json.dumps({**HEADER, "format_version": 2}).encode()),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_passed_over(
    objects: Objects, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    entries = filled(objects, 2 * EVERY + 3)
    objects.put(key(2 * EVERY), damaged)
    assert CommitLog(objects).entries() == entries
    objects.put(key(EVERY), damaged)
    with caplog.at_level(logging.WARNING):
        assert CommitLog(objects).entries() == entries
    assert caplog.text.count("a checkpoint of the log is passed over") == 3


def test_a_checkpoint_cut_short_or_flipped_is_passed_over() -> None:
    objects = MemoryObjects()
    entries = filled(objects, EVERY)
    whole = objects.get(key(EVERY))
    for position in range(0, len(whole), 7):
        objects.put(key(EVERY), whole[:position])
        assert CommitLog(objects).entries() == entries
        flipped = whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :]
        objects.put(key(EVERY), flipped)
        assert CommitLog(objects).entries() == entries


class CollectedMeanwhile(MemoryObjects):
    """Every checkpoint is gone by the time that it is read."""

    def get(self, key: str) -> bytes:
        if key.startswith("log-checkpoints"):
            raise MissingArtifactError(f"no object {key!r}")
        return super().get(key)


def test_a_reader_whose_checkpoint_is_collected_reads_the_entries() -> None:
    objects = CollectedMeanwhile()
    assert filled(objects, 2 * EVERY) == CommitLog(objects).entries()


def test_collection_leaves_the_newest_and_a_rehearsal_leaves_all() -> None:
    objects = MemoryObjects()
    entries = filled(objects, 5 * EVERY)
    before = list(objects.list("log-checkpoints"))
    found = list(Checkpoints(objects).collect(is_rehearsal=True))
    assert sorted(name for name, _ in found) == before[:-KEPT]
    assert list(objects.list("log-checkpoints")) == before
    assert list(Checkpoints(objects).collect(is_rehearsal=False)) == found
    assert list(objects.list("log-checkpoints")) == before[-KEPT:]
    assert CommitLog(objects).entries() == entries


@pytest.mark.parametrize("what", ["missing", "another"])
def test_a_log_that_ends_before_its_checkpoint_is_damaged(objects: Objects, what: str) -> None:
    filled(objects, EVERY)
    entry = unsealed(json.loads(objects.get(slot(EVERY))))
    objects.delete(slot(EVERY))
    if what == "another":
        other = sealed({**entry, "entry_id": "another"})
        objects.put(slot(EVERY), json.dumps(other).encode())
    log = CommitLog(objects)
    with pytest.raises(CorruptArtifactError, match=r"is missing or not what .*jsonl\.gz has"):
        append(log)


def test_a_hole_behind_the_checkpoint_is_damage(objects: Objects) -> None:
    filled(objects, EVERY + 3)
    objects.delete(slot(EVERY + 2))
    with pytest.raises(CorruptArtifactError, match="is missing while"):
        CommitLog(objects).entries()


def test_a_hole_below_the_checkpoint_is_no_free_slot(objects: Objects) -> None:
    entries = filled(objects, EVERY + 1)
    objects.delete(slot(3))
    log = CommitLog(objects)
    assert log.entries() == entries
    append(log)
    assert not list(objects.list("log", after=slot(EVERY + 2)))
    with pytest.raises(CorruptArtifactError, match="is missing while"):
        CommitLog(objects).slots()


def test_a_checkpoint_written_by_the_first_release_still_opens() -> None:
    objects = MemoryObjects()
    written = {
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
    line = json.dumps(written).encode()
    objects.put(slot(1), line)
    objects.put(key(1), gzip.compress(b'{"entries": 1, "format_version": 1}\n' + line + b"\n"))
    counted = CountedObjects(objects)
    (entry,) = CommitLog(counted).entries()
    assert entry.body == {"alias": "stable"}
    assert key(1) in counted.asked


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("objects", ["disk", "s3"], indirect=True)
def test_ten_thousand_commits_open_in_a_handful_of_questions(objects: Objects) -> None:
    entries = filled(objects, 10_000)
    counted = CountedObjects(objects)
    assert CommitLog(counted).entries() == entries
    assert len(counted.asked) == 4 + 10_000 % EVERY < 25
