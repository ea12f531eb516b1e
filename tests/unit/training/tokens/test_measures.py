from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.measures import (
    repeat_gaps_s,
    token_durations_s,
    token_gaps_s,
    tokens_per_user,
)
from training.tokens.storage import write_tokens

Build = Callable[..., pa.Table]
CONFIG = TokenizerConfig(merge_gap_s=600, num_buckets=2)
MORNING = datetime(2026, 2, 1, 8, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return MORNING + timedelta(minutes=minutes)


@pytest.fixture
def events(table: Build) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"occurred_at": at(0), "watch_ms": 1000},
        {"occurred_at": at(5), "watch_ms": 500},
        {"occurred_at": at(6), "action": "shown"},
        {"occurred_at": at(25)},
        {"occurred_at": at(26), "item_id": "B", "watch_ms": 4000},
        {"occurred_at": at(1), "user_id": "bo"},
        {"occurred_at": at(2), "user_id": "bo", "item_id": "B"},
        {"occurred_at": at(3), "user_id": "cy"},
    ]
    return table(rows)


@pytest.fixture
def tokens(events: pa.Table, write_valid: Callable[..., Path], tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    folder.mkdir()
    write_tokens(write_valid(events, tmp_path / "valid"), CONFIG, folder)
    return folder


def test_each_user_has_the_tokens_of_all_days(tokens: Path) -> None:
    assert sorted(tokens_per_user([tokens])) == [1, 2, 3]
    assert sorted(tokens_per_user([tokens, tokens])) == [2, 4, 6]
    assert tokens_per_user([]).tolist() == []


def test_durations_are_those_of_merged_tokens(tokens: Path) -> None:
    assert sorted(token_durations_s(tokens)) == [0, 0, 0, 0, 1.5, 4]


def test_gaps_between_tokens_are_from_an_end_to_the_next_start_of_one_user(tokens: Path) -> None:
    assert sorted(token_gaps_s(tokens)) == [60, 60, 20 * 60]


def test_what_may_merge_are_neighbours_of_one_user_on_one_item(
    events: pa.Table, schema: EventSchema
) -> None:
    assert repeat_gaps_s(events, schema).tolist() == [5 * 60, 20 * 60]
    assert repeat_gaps_s(events.slice(0, 1), schema).tolist() == []


def test_a_day_without_tokens_has_nothing_to_measure(
    table: Build, write_valid: Callable[..., Path], tmp_path: Path
) -> None:
    write_tokens(write_valid(table([]), tmp_path / "valid"), CONFIG, tmp_path)

    for measure in (token_durations_s, token_gaps_s):
        assert measure(tmp_path).tolist() == []
    assert tokens_per_user([tmp_path]).tolist() == []
