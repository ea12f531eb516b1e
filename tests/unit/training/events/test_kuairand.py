from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from training.errors import NoDataError, SourceError
from training.events.kuairand import KuaiRand
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA
from training.rules import split_events

START_MS = 1_650_800_000_000  # 2022-04-24 11:33:20 UTC
NEXT_DAY = datetime(2022, 4, 25, tzinfo=UTC)
IMPRESSION: dict[str, Any] = {
    "user_id": 1,
    "video_id": 10,
    "time_ms": START_MS,
    "tab": 1,
    "play_time_ms": 0,
    "is_click": 0,
    "is_like": 0,
    "is_follow": 0,
    "is_comment": 0,
    "is_forward": 0,
    "is_hate": 0,
    "long_view": 0,
    "hourmin": 1900,
}
WATCHED = {"play_time_ms": 20_000, "is_click": 1, "long_view": 1, "is_like": 1}
SEQUENCES = [
    # ends before the user's first event; 11 was liked and watched long, 12 long only
    {
        "user_id": 1,
        "last_time_ms": START_MS - 1,
        "watch_seq": [12, 11, 10],
        "like_seq": [11],
        "long_watch_seq": [11, 12],
    },
    # ends with the user's first event
    {
        "user_id": 2,
        "last_time_ms": START_MS,
        "watch_seq": [10],
        "like_seq": [],
        "long_watch_seq": [],
    },
    # has no event at all
    {
        "user_id": 3,
        "last_time_ms": START_MS,
        "watch_seq": [11],
        "like_seq": [],
        "long_watch_seq": [],
    },
]
VIDEOS = """video_id,author_id,video_type,upload_dt,video_duration,tag
10,1,NORMAL,2022-04-10,87433.0,"39,68"
11,1,AD,2022-04-11,,unknown
12,1,UNKNOWN,2022-04-12,9000.0,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        IMPRESSION,
        {**IMPRESSION, "hourmin": 2000},  # the same impression, logged into the next hour too
        {**IMPRESSION, "user_id": 2, **WATCHED},
        {**IMPRESSION, "user_id": 2, "video_id": 11, "time_ms": START_MS + 5_000, "is_hate": 1},
    ]
    later = {**IMPRESSION, "time_ms": START_MS + 86_400_000}
    pl.DataFrame(rows).write_parquet(tmp_path / "val.parquet")
    pl.DataFrame([later]).write_parquet(tmp_path / "test.parquet")
    pl.DataFrame(
        SEQUENCES,
        schema_overrides=dict.fromkeys(
            ("watch_seq", "like_seq", "long_watch_seq"), pl.List(pl.Int64)
        ),
    ).write_parquet(tmp_path / "user_sequences.parquet")
    (tmp_path / "video_features_basic_pure.csv").write_text(VIDEOS)
    return tmp_path


def test_an_impression_becomes_one_event_per_thing_that_happened(folder: Path) -> None:
    source = KuaiRand(folder)
    raw = source.read_day(date(2022, 4, 24), received_before=NEXT_DAY)

    got = [
        (row["user_id"], row["item_id"], row["action"], row["watch_duration"])
        for row in raw.sort_by([("user_id", "ascending"), ("occurred_at", "ascending")]).to_pylist()
    ]

    assert raw.schema.equals(source.schema.arrow_schema)
    assert got == [
        ("1", "10", "impression", None),
        ("1", "10", "impression", None),
        ("2", "10", "impression", None),
        ("2", "10", "view", 20_000),
        ("2", "10", "click", None),
        ("2", "10", "long_view", None),
        ("2", "10", "like", None),
        ("2", "11", "impression", None),
        ("2", "11", "hate", None),
    ]


def test_days_are_utc_and_repeats_fall_to_the_row_rules(folder: Path) -> None:
    source = KuaiRand(folder)
    day = date(2022, 4, 24)
    raw = source.read_day(day, received_before=NEXT_DAY)

    split = split_events(
        raw, schema=source.schema, day=day, catalogue=source.catalogue(as_of=NEXT_DAY)
    )

    assert (source.first_day, source.last_day) == (day, date(2022, 4, 25))
    assert split.num_duplicates == 1
    assert split.quarantined.num_rows == 0


def test_the_cut_holds_back_what_occurred_later(folder: Path) -> None:
    cut = datetime.fromtimestamp(START_MS / 1000 + 1, tz=UTC)
    raw = KuaiRand(folder).read_day(date(2022, 4, 24), received_before=cut)

    assert "hate" not in raw["action"].to_pylist()
    with pytest.raises(NoDataError, match="the log lasts from 2022-04-24 to 2022-04-25"):
        KuaiRand(folder).read_day(date(2022, 4, 25), received_before=NEXT_DAY)


def test_the_catalogue_says_what_the_video_file_says(folder: Path) -> None:
    rows = KuaiRand(folder).catalogue(as_of=NEXT_DAY)

    assert rows.schema.equals(CATALOGUE_SCHEMA)
    first, second, third = rows.to_pylist()
    assert (first["item_id"], first["kind"], first["genres"]) == ("10", "video", ["39", "68"])
    assert (first["runtime_s"], first["release_date"]) == (87, date(2022, 4, 10))
    # the date is local: the day begins eight hours earlier in UTC
    assert first["valid_from"] == datetime(2022, 4, 9, 16, tzinfo=UTC)
    assert (second["kind"], second["genres"], second["runtime_s"]) == ("advertisement", None, None)
    assert (third["kind"], third["genres"]) == ("other", None)


def test_the_catalogue_knows_no_later_upload(folder: Path) -> None:
    cut = datetime(2022, 4, 10, 16, tzinfo=UTC)

    assert KuaiRand(folder).catalogue(as_of=cut)["item_id"].to_pylist() == ["10"]


def test_the_prefix_holds_the_strongest_action_and_no_doubtful_user(folder: Path) -> None:
    prefix = KuaiRand(folder).history_prefix()

    assert prefix.schema.equals(PREFIX_SCHEMA)
    first, third = prefix.to_pylist()
    assert (first["user_id"], third["user_id"]) == ("1", "3")
    assert first["item_ids"] == ["12", "11", "10"]
    assert first["actions"] == ["long_view", "like", "view"]
    assert first["before"] == datetime.fromtimestamp(START_MS / 1000, tz=UTC)


def test_the_identity_follows_the_files(folder: Path) -> None:
    before = KuaiRand(folder)
    day = date(2022, 4, 24)
    identity, fingerprint = before.identity(), before.fingerprint(day)
    pl.DataFrame([IMPRESSION]).write_parquet(folder / "test.parquet")
    after = KuaiRand(folder)

    assert set(identity["files"]) == set(after.identity()["files"])
    assert identity != after.identity()
    assert fingerprint != after.fingerprint(day)


@pytest.mark.parametrize(
    "file",
    ["val.parquet", "test.parquet", "user_sequences.parquet", "video_features_basic_pure.csv"],
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()

    with pytest.raises(SourceError, match=f"has no file {file}"):
        KuaiRand(folder)


def test_a_missing_column_is_named_with_both_lists(folder: Path) -> None:
    pl.DataFrame([IMPRESSION]).drop("tab").write_parquet(folder / "val.parquet")

    with pytest.raises(SourceError, match=r"'tab' is missing; want \['user_id'.*got \['user_id'"):
        KuaiRand(folder)


def test_a_column_of_another_type_is_named(folder: Path) -> None:
    pl.DataFrame([{**IMPRESSION, "tab": "home"}]).write_parquet(folder / "val.parquet")

    with pytest.raises(SourceError, match="column 'tab': want Int64, got String"):
        KuaiRand(folder)


def test_a_missing_column_of_the_video_file_is_named(folder: Path) -> None:
    path = folder / "video_features_basic_pure.csv"
    path.write_text(path.read_text().replace("upload_dt", "uploaded"))

    with pytest.raises(SourceError, match="'upload_dt' is missing"):
        KuaiRand(folder).catalogue(as_of=NEXT_DAY)


def test_a_file_that_is_no_parquet_is_named(folder: Path) -> None:
    (folder / "val.parquet").write_text("user_id,video_id")

    with pytest.raises(SourceError, match=r"val\.parquet: want a Parquet file"):
        KuaiRand(folder)


def test_the_measured_data_set_comes_whole(kuairand_folder: Path) -> None:
    source = KuaiRand(kuairand_folder)
    days = [source.first_day + timedelta(days=n) for n in range(15)]
    counts: dict[str, int] = {}
    num_duplicates = num_quarantined = 0
    for day in days:
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        split = split_events(
            source.read_day(day, received_before=as_of),
            schema=source.schema,
            day=day,
            catalogue=source.catalogue(as_of=as_of),
        )
        num_duplicates += split.num_duplicates
        num_quarantined += split.quarantined.num_rows
        for action, count in pl.Series("a", split.valid["action"]).value_counts().iter_rows():
            counts[action] = counts.get(action, 0) + count

    assert days[-1] == source.last_day
    # 228,329 rows: 5,460 full repeats, 425 more that differ in the hour they were logged into
    assert counts["impression"] == 222_444
    assert counts["long_view"] == 70_484
    assert counts["click"] == 100_008
    assert counts["hate"] == 187
    assert num_duplicates == 13_183
    assert num_quarantined == 0


def test_the_measured_prefix_ends_before_each_users_first_event(kuairand_folder: Path) -> None:
    source = KuaiRand(kuairand_folder)
    prefix = pl.from_arrow(source.history_prefix())
    assert isinstance(prefix, pl.DataFrame)
    first = source._impressions.group_by(pl.col("user_id").cast(pl.String)).agg(
        first_at=pl.col("occurred_at").min()
    )
    both = prefix.join(first, on="user_id")

    assert prefix.height == 26_469 - 3
    assert (both["before"] <= both["first_at"]).all()
    assert prefix["item_ids"].list.len().max() == 50
    assert set(prefix["actions"].explode(empty_as_null=False)) == {"view", "long_view", "like"}
