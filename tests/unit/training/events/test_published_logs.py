"""The published data sets themselves; their layouts are proven with made-up files elsewhere."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from lake.days import end_of
from training.events.examination import examine
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog
from training.events.published_logs import published_mapping
from training.rules import split_events


def test_the_measured_movietweetings_come_whole(movietweetings_folder: Path) -> None:
    mapping = published_mapping("movietweetings", movietweetings_folder)
    whole = OwnLog(replace(mapping, world=replace(mapping.world, first_day=None, last_day=None)))
    (days,) = whole.days

    assert (whole.first_day, whole.last_day) == (date(2013, 2, 28), date(2013, 11, 6))
    assert (sum(days.rows_by_day.values()), days.num_untimed) == (141_695, 0)
    assert whole.catalogue(as_of=end_of(whole.last_day)).num_rows == 12_611


def test_a_week_of_the_measured_movietweetings_keeps_every_rule(
    movietweetings_folder: Path,
) -> None:
    mapping = published_mapping("movietweetings", movietweetings_folder)
    week = replace(mapping.world, first_day=date(2013, 10, 28), last_day=date(2013, 11, 3))

    found = examine(OwnLog(replace(mapping, world=week)), lateness=timedelta(hours=6))

    assert found.refused == {}
    assert len(found.days) == 7
    assert found.valid == sum(found.by_action.values()) > 3_000
    assert found.by_action["liked"] > found.by_action["disliked"]


def test_the_measured_movielens_is_read_with_its_published_items(movielens_folder: Path) -> None:
    published = published_mapping("movielens-1m", movielens_folder).document
    document = {
        **published,
        "events": {
            "files": [str(movielens_folder / "interactions.parquet")],
            "format": "parquet",
            "user_id": "user",
            "item_id": "item",
            "occurred_at": {"column": "ts", "unit": "s"},
        },
        "actions": [
            {"name": "rated", "role": "context"},
            {
                "name": "liked",
                "role": "target",
                "where": [{"column": "rating", "at_least": 4}],
            },
        ],
        "world": {},
    }
    source = OwnLog(mapping_from(document))
    (days,) = source.days
    day = date(2000, 11, 20)
    split = split_events(
        source.read_day(day, received_before=end_of(day)),
        schema=source.schema,
        day=day,
        catalogue=source.catalogue(as_of=end_of(day)),
    )

    assert sum(days.rows_by_day.values()) == 1_000_209
    assert split.quarantined.num_rows == 0
    actions = pl.Series(split.valid["action"])
    assert (actions == "rated").sum() == days.rows_by_day[day]
