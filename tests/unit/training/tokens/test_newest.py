import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.unit.training.tokens.generated_logs import START, LogShape, events_of
from tests.unit.training.tokens.stored_days import DAY, tokens_of_days
from training.contracts import Histories
from training.errors import ContractError, NoDataError
from training.tokens.config import TokenizerConfig
from training.tokens.histories import read_histories
from training.tokens.newest import _tail, last_tokens, open_days

CONFIG = TokenizerConfig(merge_gap_s=1800, num_buckets=4)
NUM_DAYS = 30
PAGE = os.sysconf("SC_PAGE_SIZE")
SHAPE = LogShape(
    seed=3, num_events=60_000, num_users=400, num_items=50, num_days=NUM_DAYS, stay=0.9, tie=0.1
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tokens_of_days(events_of(SHAPE), CONFIG, tmp_path_factory.mktemp("days"))


def decoded(histories: Histories) -> dict[str, list[Any]]:
    devices, device = histories.request_categories["device"]
    return {
        "items": [histories.items[code] for code in histories.item_code],
        "devices": [None if code < 0 else devices[code] for code in device],
        "numbers": np.nan_to_num(histories.request_numbers["position"], nan=-1.0).tolist(),
        **{
            name: getattr(histories, name).tolist()
            for name in ("first_at", "last_at", "duration_ms", "num_events", "action_counts")
        },
    }


def test_the_last_tokens_are_the_tail_of_the_history(folders: list[Path]) -> None:
    draw = np.random.default_rng(0)
    opened = open_days([folders[n] for n in draw.permutation(len(folders))])
    for as_of in (START + 3 * DAY, START + 17 * DAY, START + NUM_DAYS * DAY):
        whole = read_histories(folders, as_of=as_of)
        want = decoded(whole)
        asked = [
            (user, int(n)) for user in draw.integers(0, whole.num_users, 40) for n in (1, 2, 5, 999)
        ]
        at_seams = begin_at_seams(whole)
        assert len(at_seams) > 10
        for row, wanted in asked + at_seams[:200]:
            end = whole.offsets[row + 1]
            begin = max(whole.offsets[row], end - wanted)

            tail = last_tokens(opened, whole.user_ids[row], wanted, as_of=as_of)

            assert decoded(tail) == {name: column[begin:end] for name, column in want.items()}
            assert tail.user_ids == (whole.user_ids[row],)
            assert set(tail.items) == set(decoded(tail)["items"])


def begin_at_seams(histories: Histories) -> list[tuple[int, int]]:
    """Return users and numbers of tokens whose oldest one lasts over a midnight."""
    day_us = 86_400_000_000
    tokens = np.flatnonzero(histories.first_at // day_us != histories.last_at // day_us)
    rows = np.searchsorted(histories.offsets, tokens, side="right") - 1
    return list(zip(rows.tolist(), (histories.offsets[rows + 1] - tokens).tolist(), strict=True))


def test_an_unknown_user_has_no_tokens(folders: list[Path]) -> None:
    opened = open_days(folders)

    for user in ("nobody", "", "zzz"):
        assert last_tokens(opened, user, 5, as_of=START + DAY).num_users == 0
    assert last_tokens(opened, "user 0", 5, as_of=START).num_users == 0


def test_a_month_is_opened_without_reading_it_and_a_tail_reads_little(
    tmp_path: Path,
) -> None:
    """By the pages that the process has of the files' maps."""
    shape = LogShape(
        seed=5, num_events=400_000, num_users=40_000, num_items=900, num_days=1, stay=0.5, tie=0.0
    )
    (one_day,) = tokens_of_days(events_of(shape), CONFIG, tmp_path / "one")
    folders = [_as_of_another_day(one_day, tmp_path / str(n), n) for n in range(NUM_DAYS)]
    total = sum(file.stat().st_size for folder in folders for file in folder.glob("*.arrow"))

    opened = open_days(folders)
    after_opening = _resident(tmp_path)
    users = [f"user {n}" for n in range(0, 40_000, 2500)]
    found = [last_tokens(opened, one, 3, as_of=START + 40 * DAY) for one in users]

    num_files = NUM_DAYS * CONFIG.num_buckets
    assert total > 500 * 1024 * num_files
    # the kernel maps the pages around a touched one too, up to 16 by default
    assert after_opening <= 3 * 16 * PAGE * num_files
    assert after_opening < total / 3
    assert sum(one.num_tokens for one in found) > len(users)
    newest_days_alone = _resident(tmp_path) - after_opening
    assert newest_days_alone < total / 15


def _as_of_another_day(folder: Path, copy: Path, number: int) -> Path:
    """Return a copy of a day's files that says it is of another day."""
    copy.mkdir()
    for path in folder.iterdir():
        if path.suffix != ".arrow":
            (copy / path.name).write_bytes(path.read_bytes())
            continue
        with pa.memory_map(str(path)) as source:
            rows = pa.ipc.open_file(source).get_batch(0)
        rows = _shifted(rows, number)
        with pa.ipc.new_file(str(copy / path.name), rows.schema) as writer:
            writer.write_batch(rows)
    return copy


def _shifted(rows: pa.RecordBatch, num_days: int) -> pa.RecordBatch:
    fields = list(rows.schema.field("tokens").type.value_type)
    values = rows["tokens"].values
    columns = {field.name: values.field(field.name) for field in fields}
    for name in ("first_at", "last_at"):
        columns[name] = pc.add(columns[name], pa.scalar(num_days * DAY))
    moved = pa.StructArray.from_arrays(list(columns.values()), fields=fields)
    tokens = pa.LargeListArray.from_arrays(rows["tokens"].offsets, moved)
    day = (START + num_days * DAY).date().isoformat()
    return pa.record_batch([rows["user_id"], tokens], schema=rows.schema).replace_schema_metadata(
        {**rows.schema.metadata, b"day": day}
    )


def _resident(folder: Path) -> int:
    """Return the bytes of this process's maps of files below ``folder`` that are in memory."""
    total, is_inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_inside = str(folder) in line
        elif is_inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_only_days_that_are_needed_are_looked_at(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_days(folders)
    looked_at = []

    def counted(rows: pa.RecordBatch, *arguments: Any, **named: Any) -> Any:
        looked_at.append(rows.schema.metadata[b"day"])
        return read_newest(rows, *arguments, **named)

    from training.tokens import newest

    read_newest = newest.read_newest
    monkeypatch.setattr(newest, "read_newest", counted)
    whole = read_histories(folders, as_of=START + NUM_DAYS * DAY)
    busiest = whole.user_ids[int(np.argmax(np.diff(whole.offsets)))]

    last_tokens(opened, busiest, 3, as_of=START + NUM_DAYS * DAY)

    assert 1 <= len(looked_at) <= 3


def test_what_cannot_be_answered_is_refused(folders: list[Path]) -> None:
    opened = open_days(folders)

    with pytest.raises(ContractError, match="1 or more"):
        last_tokens(opened, "user 1", 0, as_of=START)
    with pytest.raises(ContractError, match="start of a UTC day"):
        last_tokens(opened, "user 1", 1, as_of=START + timedelta(hours=1))
    with pytest.raises(ContractError, match="two folders hold 2026-02-01"):
        open_days([folders[0], folders[0]])
    with pytest.raises(NoDataError, match="at least one folder"):
        open_days([])


def test_a_tail_has_the_sets_that_it_uses_and_its_own_instants() -> None:
    history = Histories(
        user_ids=("ana",),
        offsets=np.array([0, 3]),
        items=("A", "B"),
        item_code=np.array([0, 1, 1], dtype=np.int32),
        first_at=np.arange(3),
        last_at=np.arange(3),
        duration_ms=np.zeros(3, dtype=np.int64),
        num_events=np.ones(3, dtype=np.int32),
        action_counts=np.ones((3, 1), dtype=np.int32),
        request_categories={},
        request_numbers={},
        request_sets={"tags": ((("x",), ("x", "y"), ()), np.array([0, -1, 2], dtype=np.int32))},
        request_instants={"opened": np.array([5, 6, 7])},
    )

    tail = _tail(history, 2)

    assert tail.items == ("B",)
    sets, codes = tail.request_sets["tags"]
    assert (sets, codes.tolist()) == (((),), [-1, 0])
    assert tail.request_instants["opened"].tolist() == [6, 7]
