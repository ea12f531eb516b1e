import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.training.events.listening import START_MS
from training.errors import ConfigError, SourceError
from training.events.drafting import draft
from training.events.mapping_file import mapping_from
from training.events.tables import DECIDE, open_decisions

SECONDS = START_MS // 1000


def drafted(folder: Path, frame: pl.DataFrame, catalogue: pl.DataFrame | None = None) -> Any:
    path = folder / "log.parquet"
    frame.write_parquet(path)
    items = folder / "items.csv"
    if catalogue is not None:
        catalogue.write_csv(items)
    text = draft([path], [items] if catalogue is not None else [], name="own")
    return tomllib.loads(text)


def log(**columns: Any) -> pl.DataFrame:
    base = {
        "user_id": [1, 2, 1],
        "item_id": ["a", "b", "b"],
        "ts": [SECONDS, SECONDS + 1, SECONDS + 2],
    }
    return pl.DataFrame({**base, **columns})


def test_what_names_and_values_tell_is_drafted_and_the_rest_is_left_open(tmp_path: Path) -> None:
    document = drafted(
        tmp_path,
        log(
            received_at=[datetime(2026, 1, 30, 12, tzinfo=UTC)] * 3,
            uuid=["x", "y", "z"],
            liked=[True, False, True],
            device=["tv", "phone", "tv"],
            watched_ms=[1, 2, 3],
            nothing=pl.Series([None] * 3, dtype=pl.String),
        ),
    )
    events = document["events"]

    assert (events["user_id"], events["item_id"], events["event_id"]) == (
        "user_id",
        "item_id",
        "uuid",
    )
    assert events["occurred_at"] == {"column": "ts", "unit": "s"}
    assert events["received_at"] == {"column": "received_at", "unit": "timestamp"}
    assert [facet["name"] for facet in document["facets"]] == ["device", "watched_ms"]
    assert document["facets"][1]["unit"] == "ms"
    assert open_decisions(document) == [
        "actions[0].name",
        "actions[0].role",
        "actions[1].role",
        "facets[0].phase",
        "catalogue.kind",
    ]
    with pytest.raises(ConfigError, match="5 decisions are open"):
        mapping_from(document)


def test_a_draft_is_a_mapping_once_every_decision_is_made(tmp_path: Path) -> None:
    frame = log(event=["play", "like", "play"], device=["tv", "phone", "tv"])
    catalogue = pl.DataFrame({"id": ["a", "b"], "title": ["A", "B"], "genres": ["x|y", "y"]})
    document = drafted(tmp_path, frame, catalogue)

    for action in document["actions"]:
        action["role"] = "target"
    document["facets"][0]["phase"] = "request"
    document["catalogue"]["kind"] = "song"
    mapping = mapping_from(document)

    assert [one.action.name for one in mapping.actions] == ["like", "play"]
    assert mapping.events.action == "event"
    assert mapping.catalogue.texts == {"title": "title"}
    assert (mapping.catalogue.genres, mapping.catalogue.separator) == ("genres", "|")


@pytest.mark.parametrize(
    ("times", "spec"),
    [
        ([START_MS, START_MS], {"column": "at", "unit": "ms"}),
        ([START_MS * 1000, START_MS * 1000], {"column": "at", "unit": "us"}),
        ([START_MS * 1_000_000, START_MS * 1_000_000], {"column": "at", "unit": "ns"}),
        (["2026-01-30T12:00:00+01:00"] * 2, {"column": "at", "unit": "iso"}),
        (["2026-01-30 12:00:00"] * 2, {"column": "at", "unit": "iso", "zone": DECIDE}),
        (
            [datetime(2026, 1, 30)] * 2,  # noqa: DTZ001
            {"column": "at", "unit": "timestamp", "zone": DECIDE},
        ),
        ([1, 2], {"column": DECIDE, "unit": DECIDE}),
    ],
)
def test_the_unit_of_times_is_read_off_and_their_zone_never_guessed(
    tmp_path: Path, times: list[Any], spec: dict[str, str]
) -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": ["a", "b"], "at": times})

    assert drafted(tmp_path, frame)["events"]["occurred_at"] == spec


def test_a_column_may_be_called_count(tmp_path: Path) -> None:
    """As the table of how often each value occurs calls it."""
    document = drafted(tmp_path, log(count=["few", "many", "few"]))

    assert [facet["name"] for facet in document["facets"]] == ["count"]


def test_two_columns_that_may_be_meant_decide_nothing(tmp_path: Path) -> None:
    frame = log(track=["x", "y", "z"], video_id=["q", "r", "s"], at=[SECONDS, SECONDS, SECONDS])
    events = drafted(tmp_path, frame.drop("item_id"))["events"]

    assert events["item_id"] == DECIDE
    assert events["occurred_at"] == {"column": DECIDE, "unit": DECIDE}


def test_a_file_without_a_header_gets_columns_to_name(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_bytes(f"1::Am\xe9lie::5::{SECONDS}\n".encode("latin-1"))

    events = tomllib.loads(draft([path], [], name="own"))["events"]

    assert events["csv"] == {
        "delimiter": "::",
        "nulls": [""],
        "encoding": "latin-1",
        "columns": ["column_1", "column_2", "column_3", "column_4"],
    }
    assert events["occurred_at"] == {"column": "column_4", "unit": "s"}
    assert events["user_id"] == DECIDE


def test_values_and_names_cannot_break_out_of_their_line(tmp_path: Path) -> None:
    nasty = '"\n[world]\nrecipe = "x'
    frame = log(**{nasty: [nasty, nasty + "2", "\x7f"], "flag": ["a\nb = 1", "c", "d"]})

    document = drafted(tmp_path, frame)

    assert document["world"] == {"recipe": "own_log", "fine_tuned_days": 3}
    assert document["facets"][0]["name"] == nasty
    assert "b" not in document


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x1f\x8b\0\0", "want Parquet or CSV"), (b"user,item\n", "there are no rows")],
)
def test_what_cannot_be_drafted_from_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=message):
        draft([path], [], name="own")
    with pytest.raises(SourceError, match=r"no file or folder .*gone"):
        draft([tmp_path / "gone"], [], name="own")
