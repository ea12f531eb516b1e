import gzip
import os
import signal
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.days import end_of
from lake.digests import digest_file, digest_folder
from tests.unit.training.events.listening import DAY_MS, PLAYS, START_MS, mapping, plays
from training.errors import NoDataError, SourceError
from training.events import day_split, file_facts
from training.events.artifacts import read_events, write_catalogue, write_raw, write_valid
from training.events.log_files import LogFile
from training.events.mapping_file import mapping_from
from training.events.own_log import OwnLog, _only_around
from training.events.row_events import OWN_COLUMNS
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA

DAY = date(2026, 1, 30)
END = datetime(2026, 1, 31, tzinfo=UTC)
ALWAYS = datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plays().write_parquet(tmp_path / "plays.parquet")
    return tmp_path


def opened(document: Mapping[str, Any], cache: Path | None = None) -> OwnLog:
    return OwnLog(mapping_from(document), cache=cache)


def day_rows(source: OwnLog, *columns: str) -> list[tuple[Any, ...]]:
    table = pl.from_arrow(source.read_day(DAY, received_before=END))
    assert isinstance(table, pl.DataFrame)
    return table.sort("occurred_at", "item_id", maintain_order=True).select(columns).rows()


def test_a_row_becomes_an_event_for_each_action_that_it_is(folder: Path) -> None:
    source = opened(mapping(folder))
    raw = source.read_day(DAY, received_before=END)

    assert raw.schema.equals(source.schema.arrow_schema)
    assert day_rows(source, "user_id", "item_id", "action", "ms_played") == [
        ("1", "a", "play", 200_000),
        ("1", "a", "finished", None),  # the row's time is counted once
        ("1", "b", "play", 9_000),
        ("1", "b", "skipped", None),
        ("2", "a", "play", 60_000),
    ]
    assert raw["moods"].to_pylist()[0] == ["calm", "late"]
    assert raw["received_at"].equals(raw["occurred_at"])
    assert raw["event_id"].null_count == raw.num_rows
    assert source.history_prefix().schema.equals(PREFIX_SCHEMA)


def test_an_ignored_action_carries_no_duration_beside_one_that_tokens_hold(folder: Path) -> None:
    document = mapping(folder)
    document["actions"][0]["role"] = "ignored"

    rows = day_rows(opened(document), "item_id", "action", "ms_played")

    assert rows[:2] == [("a", "play", None), ("a", "finished", 200_000)]
    assert rows[-1] == ("a", "play", 60_000)


def test_a_row_that_is_no_action_stays_for_the_rules_to_refuse(folder: Path) -> None:
    document = mapping(folder)
    del document["actions"][0]

    assert ("a", None, 60_000) in day_rows(opened(document), "item_id", "action", "ms_played")


def test_a_column_of_words_names_the_actions(folder: Path) -> None:
    words = pl.Series("what", ["start", "play", "played", "play"])
    plays().with_columns(words).write_parquet(folder / "plays.parquet")
    actions = [
        {"name": "play", "role": "target", "values": ["start"]},
        {"name": "open", "role": "context", "values": ["played"]},
    ]

    rows = day_rows(opened(mapping(folder, events__action="what", actions=actions)), "action")

    # nobody said what the word "play" means, and it must not pass for the action of that name
    assert rows == [("play",), ("play?",), ("open",)]


def test_events_of_one_row_have_ids_of_their_own(folder: Path) -> None:
    ids = pl.Series("id", ["e1", "e2", "e3", "e4"])
    plays().with_columns(ids).write_parquet(folder / "plays.parquet")

    rows = day_rows(opened(mapping(folder, events__event_id="id")), "event_id")

    assert " ".join(one for (one,) in rows) == "e1:play e1:finished e2:play e2:skipped e3:play"


def test_days_are_utc_and_the_world_may_be_a_part_of_the_log(folder: Path) -> None:
    source = opened(mapping(folder))
    part = opened(mapping(folder, world={"first_day": "2026-01-31"}))

    assert (source.first_day, source.last_day) == (DAY, date(2026, 1, 31))
    assert (part.first_day, part.last_day) == (date(2026, 1, 31), date(2026, 1, 31))
    with pytest.raises(NoDataError, match="the log lasts from 2026-01-31 to 2026-01-31"):
        part.read_day(DAY, received_before=END)


def test_what_arrives_later_is_held_back_and_what_does_not_say_when_is_not(folder: Path) -> None:
    arrived = pl.Series("got", [START_MS, START_MS + DAY_MS, None, START_MS], dtype=pl.Int64)
    plays().with_columns(arrived).write_parquet(folder / "plays.parquet")
    source = opened(mapping(folder, events__received_at={"column": "got", "unit": "ms"}))

    assert day_rows(source, "item_id", "received_at") == [
        ("a", datetime(2026, 1, 30, 12, tzinfo=UTC)),
        ("a", datetime(2026, 1, 30, 12, tzinfo=UTC)),
        ("a", None),
    ]


def test_rows_without_a_time_are_counted_with_the_first_ones_number(folder: Path) -> None:
    rows = [*PLAYS, {**PLAYS[0], "played_at": None}, {**PLAYS[0], "played_at": -1}]
    plays(rows).write_parquet(folder / "plays.parquet")

    (days,) = opened(mapping(folder)).days

    assert dict(days.rows_by_day) == {DAY: 3, date(2026, 1, 31): 1}
    assert (days.num_untimed, days.first_untimed) == (2, 5)


def test_a_log_without_any_usable_time_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="no value of column 'played_at' is a time"):
        opened(mapping(folder, events__occurred_at={"column": "played_at", "unit": "s"}))


def valid_digest(document: Mapping[str, Any], folder: Path) -> str:
    source = opened(document)
    raw, titles, valid = (folder / name for name in ("raw", "titles", "valid"))
    for one in (raw, titles, valid):
        one.mkdir(parents=True)
    write_raw(source, DAY, END, raw)
    write_catalogue(source, END, titles)
    write_valid(raw, titles, DAY, valid)
    assert read_events(valid)[1]["event_id"].null_count == 0
    return digest_folder(valid)


def test_any_split_order_or_copy_of_the_files_gives_the_same_day(tmp_path: Path) -> None:
    whole, split = tmp_path / "plays.parquet", tmp_path / "split"
    plays().write_parquet(whole)
    (split / "2026").mkdir(parents=True)
    (split / "_SUCCESS").touch()
    plays()[::-1][:2].write_parquet(split / "b.parquet")
    plays()[::-1][2:].write_parquet(split / "2026" / "a.parquet")
    plays()[1:3].write_parquet(split / "copies.parquet")

    assert valid_digest(mapping(tmp_path), tmp_path / "1") == valid_digest(
        mapping(tmp_path, events__files=[str(split)]), tmp_path / "2"
    )


def test_csv_and_parquet_of_one_log_give_the_same_day(tmp_path: Path) -> None:
    plays().write_parquet(tmp_path / "plays.parquet")
    plays().write_csv(tmp_path / "plays.csv")
    as_csv = mapping(tmp_path, events__files=[str(tmp_path / "plays.csv")], events__format="csv")

    assert valid_digest(mapping(tmp_path), tmp_path / "1") == valid_digest(as_csv, tmp_path / "2")


def test_the_fingerprint_follows_contents_and_not_names(folder: Path) -> None:
    before = opened(mapping(folder, world={"last_day": "2026-01-31"}))
    fingerprint, known = before.fingerprint(DAY), before.catalogue_fingerprint(as_of=END)
    moved = folder / "moved"
    moved.mkdir()
    for name in ("x.parquet", "copy.parquet"):
        plays().write_parquet(moved / name)
    same = opened(mapping(folder, events__files=[str(moved)]))
    plays()[:3].write_parquet(folder / "plays.parquet")
    changed = opened(mapping(folder, world={"last_day": "2026-01-31"}))

    assert before.identity() == same.identity() == changed.identity()
    assert fingerprint == same.fingerprint(DAY) != changed.fingerprint(DAY)
    assert known == same.catalogue_fingerprint(as_of=END)
    assert known != changed.catalogue_fingerprint(as_of=END)


def test_another_reading_of_the_files_is_another_source(folder: Path) -> None:
    source = opened(mapping(folder))
    later = opened(mapping(folder, world={"first_day": "2026-01-31"}))
    other = mapping(folder)
    other["actions"][0]["role"] = "ignored"

    assert source.identity() != opened(other).identity()
    assert source.identity() != later.identity()


def test_tomorrows_file_leaves_the_days_before_as_they_were(folder: Path) -> None:
    tomorrow = date(2026, 2, 1)
    logs = folder / "logs"
    logs.mkdir()
    plays().write_parquet(logs / "1.parquet")
    document = mapping(folder, events__files=[str(logs)])

    def said(source: OwnLog, day: date) -> tuple[Any, ...]:
        known = source.catalogue_fingerprint(as_of=end_of(day.isoformat()))
        return source.identity(), source.fingerprint(day), known

    before = opened(document)
    plays([{**PLAYS[0], "played_at": START_MS + 2 * DAY_MS}]).write_parquet(logs / "2.parquet")
    after = opened(document)

    for day in (DAY, date(2026, 1, 31)):
        assert said(after, day) == said(before, day)
    assert said(after, tomorrow)[1:] != said(before, tomorrow)[1:]


def test_a_late_file_is_another_day_and_another_catalogue_from_then_on(folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir()
    plays().write_parquet(logs / "1.parquet")
    document = mapping(folder, events__files=[str(logs)])
    days = (DAY, date(2026, 1, 31))
    before = opened(document)
    plays([{**PLAYS[3], "track": "z"}]).write_parquet(logs / "late.parquet")
    after = opened(document)

    assert [after.fingerprint(day) == before.fingerprint(day) for day in days] == [True, False]
    known = [
        [one.catalogue_fingerprint(as_of=end_of(day.isoformat())) for day in days]
        for one in (before, after)
    ]
    assert known[0][0] == known[1][0]
    assert known[0][1] != known[1][1]


def test_a_file_that_is_known_is_not_looked_at_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, cache = mapping(folder), folder / "cache"
    days, fingerprint = opened(document, cache).days, opened(document, cache).fingerprint(DAY)
    with monkeypatch.context() as unread:
        unread.setattr(file_facts, "_looked_at", lambda *_: pytest.fail("it was read"))
        again = opened(document, cache)
        assert again.days == days
        assert again.fingerprint(DAY) == fingerprint

    with monkeypatch.context() as other_code:
        other_code.setattr(file_facts, "code_identity", lambda _: "another")
        other_code.setattr(file_facts, "_looked_at", lambda *_: pytest.fail("it was read"))
        with pytest.raises(pytest.fail.Exception):
            assert opened(document, cache).days

    (kept,) = (cache / "files").iterdir()
    kept.write_text("{")
    assert opened(document, cache).fingerprint(DAY) == fingerprint
    plays()[:3].write_parquet(folder / "plays.parquet")
    assert opened(document, cache).fingerprint(DAY) != fingerprint
    seconds = {"column": "played_at", "unit": "us"}
    other = opened(mapping(folder, events__occurred_at=seconds), cache)
    assert other.first_day.year == 1970


def test_a_file_of_many_days_is_read_twice_at_most(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**PLAYS[n % 4], "played_at": START_MS + (n * 7 % 5) * DAY_MS + n} for n in range(40)]
    plays(rows).write_parquet(folder / "plays.parquet")
    document = mapping(folder)
    days = [DAY + timedelta(days=n) for n in range(5)]

    def numbers(source: OwnLog, day: date) -> list[tuple[Any, ...]]:
        parts = source.located(day, received_before=ALWAYS, is_numbered=True)
        return [row for _, part in parts for row in part.rows()]

    scanned = [numbers(opened(document), day) for day in days]
    source, reads = opened(document), []
    frames = LogFile.frames
    monkeypatch.setattr(
        LogFile, "frames", lambda *a, **named: reads.append(a) or frames(*a, **named)
    )
    monkeypatch.setattr(day_split, "_ROWS_AT_ONCE", 7)
    assert [numbers(source, day) for day in (*days, days[0])] == [*scanned, scanned[0]]
    assert len(reads) == 2, "a scan for the first day, and a split for all others"


def test_rows_that_are_told_apart_are_in_no_folder_also_after_a_kill(
    folder: Path, tmp_path: Path
) -> None:
    """Else rows of users who were erased would lie where an erasure has to look for them."""
    rows = [{**PLAYS[0], "played_at": START_MS + n * DAY_MS} for n in range(3)]
    plays(rows).write_parquet(folder / "plays.parquet")
    document, cache = mapping(folder), tmp_path / "cache"
    source = opened(document, cache)
    known = {path.name for path in cache.rglob("*")}
    told_apart = get_context("spawn").Process(target=killed_amid_days, args=(document, cache))
    told_apart.start()
    told_apart.join()

    for n in range(2):
        assert source.read_day(DAY + timedelta(days=n), received_before=ALWAYS).num_rows

    assert told_apart.exitcode == -signal.SIGKILL
    assert {path.name for path in cache.rglob("*")} == known


def killed_amid_days(document: Mapping[str, Any], cache: Path) -> None:
    source = opened(document, cache)
    for n in range(2):
        source.read_day(DAY + timedelta(days=n), received_before=ALWAYS)
    assert source._splits
    os.kill(os.getpid(), signal.SIGKILL)


def test_rows_that_were_told_apart_before_an_erasure_are_not_taken_in_after_it(
    folder: Path, tmp_path: Path
) -> None:
    rows = [
        {**play, "played_at": START_MS + n * DAY_MS, "user": user}
        for n in range(3)
        for user in (1, 2)
        for play in PLAYS[:1]
    ]
    plays(rows).write_parquet(folder / "plays.parquet")
    source = opened(mapping(folder), tmp_path / "cache")
    for n in range(2):
        source.read_day(DAY + timedelta(days=n), received_before=ALWAYS)
    assert source._splits

    written = write_raw(source, DAY + timedelta(days=2), ALWAYS, tmp_path, erased={"1"})

    assert written.figures["erased"] > 0
    assert read_events(tmp_path)[1]["user_id"].unique().to_pylist() == ["2"]


@pytest.mark.parametrize("is_longer", [True, False])
@pytest.mark.parametrize("num_read", [0, 1])
def test_a_file_that_changes_while_it_is_read_is_named(
    folder: Path, num_read: int, *, is_longer: bool
) -> None:
    """Else rows of two states would stand under the digest of one."""
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    rows = [{**PLAYS[0], "played_at": START_MS + n * DAY_MS} for n in range(3)]
    plays(rows).write_parquet(folder / "plays.parquet")
    source = opened(mapping(folder))
    assert source.days
    for day in days[:num_read]:
        source.read_day(day, received_before=ALWAYS)
    plays(rows * 2 if is_longer else rows[:1]).write_parquet(folder / "plays.parquet")

    with pytest.raises(SourceError, match=r"plays\.parquet: changed while it was read"):
        source.read_day(days[num_read], received_before=ALWAYS)
    with pytest.raises(SourceError, match=r"plays\.parquet: changed while it was read"):
        source.catalogue(as_of=END)


def test_rows_that_were_told_apart_before_a_file_changed_still_stand(folder: Path) -> None:
    rows = [{**PLAYS[0], "played_at": START_MS + n * DAY_MS} for n in range(3)]
    plays(rows).write_parquet(folder / "plays.parquet")
    source = opened(mapping(folder))
    before = [
        source.read_day(DAY + timedelta(days=n), received_before=ALWAYS).num_rows for n in range(2)
    ]
    (folder / "plays.parquet").unlink()

    again = source.read_day(DAY, received_before=ALWAYS).num_rows
    assert again == before[0]


@pytest.mark.parametrize("num_days", [2, 5])
def test_rows_of_one_file_are_never_taken_by_the_digest_of_another(
    folder: Path, num_days: int
) -> None:
    """The day is there in both: only the file's size and times tell that it is another one."""
    rows = [{**PLAYS[n % 4], "played_at": START_MS + n * DAY_MS} for n in range(num_days)]
    plays(rows).write_parquet(folder / "plays.parquet")
    source = opened(mapping(folder))
    assert source.read_day(DAY, received_before=END).num_rows

    plays([{**one, "track": "other"} for one in rows]).write_parquet(folder / "plays.parquet")

    with pytest.raises(SourceError, match=r"plays\.parquet: changed while it was read: run again"):
        source.read_day(DAY, received_before=END)
    assert {"other"} == {item for (item,) in day_rows(opened(mapping(folder)), "item_id")}


def test_a_file_that_changes_while_it_is_looked_at_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(path: Path) -> str:
        plays()[:3].write_parquet(path)
        return digest_file(path)

    monkeypatch.setattr(file_facts, "digest_file", replaced)
    with pytest.raises(SourceError, match=r"plays\.parquet: changed while it was read"):
        _ = opened(mapping(folder), folder / "cache").days
    assert not (folder / "cache").exists()


def test_parts_of_a_file_that_state_other_times_are_skipped(folder: Path) -> None:
    far = plays([{**PLAYS[0], "played_at": START_MS + 9 * DAY_MS}] * 3)
    pl.concat([plays(), far]).write_parquet(folder / "plays.parquet", row_group_size=4)
    source = opened(mapping(folder))
    (file,) = source.files
    seen = [rows.height for rows in file.frames(["played_at"])]
    only = _only_around(file, source.mapping.events.occurred_at, DAY)
    near = [rows.height for rows in file.frames(["played_at"], only=only)]

    assert (sum(seen), sum(near)) == (7, 4)
    assert len(day_rows(source, "action")) == 5


def test_a_number_beyond_all_times_costs_its_row_alone(folder: Path) -> None:
    frame = plays().with_columns(pl.col("played_at").cast(pl.UInt64))
    far = frame.head(1).with_columns(played_at=pl.lit(2**64 - 1, dtype=pl.UInt64))
    want = day_rows(opened(mapping(folder)), "occurred_at", "action")
    pl.concat([frame, far]).write_parquet(folder / "plays.parquet")

    source = opened(mapping(folder))

    assert day_rows(source, "occurred_at", "action") == want
    assert [one.num_untimed for one in source.days] == [1]


@pytest.mark.parametrize(
    "times",
    [
        pl.col("played_at").cast(pl.Datetime("ms")),
        pl.from_epoch("played_at", time_unit="ms").dt.replace_time_zone("UTC"),
        pl.from_epoch("played_at", time_unit="ms")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Tokyo"),
    ],
)
def test_times_of_the_files_own_type_give_the_same_day(folder: Path, times: pl.Expr) -> None:
    want = day_rows(opened(mapping(folder)), "occurred_at", "action")
    plays().with_columns(played_at=times).write_parquet(folder / "plays.parquet")
    spec = {"column": "played_at", "unit": "timestamp", "zone": "UTC"}

    assert day_rows(opened(mapping(folder, events__occurred_at=spec)), "occurred_at", "action") == (
        want
    )


def test_a_column_that_a_file_lacks_is_named_before_anything_runs(folder: Path) -> None:
    other = folder / "more.parquet"
    plays().drop("device").write_parquet(other)
    files = [str(folder / "plays.parquet"), str(other)]

    told = r"more\.parquet: column 'device' is missing\n  expected: .*device string.*plays\.parquet"
    with pytest.raises(SourceError, match=told):
        opened(mapping(folder, events__files=files))


def test_a_column_that_changes_its_type_is_named(folder: Path) -> None:
    plays().with_columns(played_at=pl.lit(END)).write_parquet(folder / "zz.parquet")
    files = [str(folder / "plays.parquet"), str(folder / "zz.parquet")]

    with pytest.raises(
        SourceError, match=r'zz\.parquet: column \'played_at\' is .*want "timestamp"'
    ):
        opened(mapping(folder, events__files=files))


@pytest.mark.parametrize("name", sorted(OWN_COLUMNS))
def test_a_column_that_is_called_as_one_of_ours_is_refused_where_it_is_used(
    folder: Path, name: str
) -> None:
    plays().with_columns(plays()["track"].alias(name)).write_parquet(folder / "plays.parquet")

    with pytest.raises(SourceError, match=rf"column '{name}': .*rename yours"):
        opened(mapping(folder, events__item_id=name))

    source = opened(mapping(folder))  # two days, and the file told apart for a third
    assert len(day_rows(source, "item_id")) == 5


def test_items_without_a_catalogue_are_those_that_events_name(folder: Path) -> None:
    source = opened(mapping(folder))
    items = source.catalogue(as_of=END)

    assert items.schema.equals(CATALOGUE_SCHEMA)
    assert items["item_id"].to_pylist() == ["a", "b"]  # c comes on the next day
    assert items["valid_from"].to_pylist()[0] == datetime(2026, 1, 30, 12, tzinfo=UTC)
    assert set(items["kind"].to_pylist()) == {"track"}


CATALOGUE = {
    "format": "csv",
    "item_id": "id",
    "kind": {"column": "kind"},
    "title": "name",
    "genres": "genres",
    "separator": "|",
    "release_date": "year",
    "runtime": {"column": "length", "unit": "s"},
    "valid_from": {"column": "since", "unit": "iso", "zone": "UTC"},
}
ITEMS = '''id,kind,name,genres,year,length,since
a,song,"Nine, ""ten""",rock|pop,1999,180,
b,song,"two
lines",,2001-05-06,,2026-01-30 09:00:00
b,song,renamed,,2001-05-06,,2026-02-01 00:00:00
'''


def test_a_catalogue_says_what_its_columns_say(folder: Path) -> None:
    path = folder / "items.csv"
    path.write_text(ITEMS)
    source = opened(mapping(folder, catalogue={**CATALOGUE, "files": [str(path)]}))

    a, b = source.catalogue(as_of=END).to_pylist()

    assert (a["title"], a["genres"], a["runtime_s"]) == ('Nine, "ten"', ["rock", "pop"], 180)
    assert (a["release_date"], b["release_date"]) == (date(1999, 1, 1), date(2001, 5, 6))
    assert (b["title"], b["genres"], b["runtime_s"]) == ("two\nlines", None, None)
    # who does not say since when is taken to be there from the first day on
    assert a["valid_from"] == datetime(2026, 1, 30, tzinfo=UTC)
    assert source.catalogue(as_of=datetime(2026, 2, 2, tzinfo=UTC)).num_rows == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,song,another,,,,", "rows of item 'a' differ and both hold since"),
        (",song,nameless,,,,", "1 rows without item_id; the first one has the title 'nameless'"),
        ("d,,kindless,,,,", "1 rows without kind"),
        ("d,song", "Expected 7 columns, got 2$"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(
    folder: Path, row: str, message: str
) -> None:
    path = folder / "items.csv"
    path.write_text(ITEMS + row + "\n")
    document = mapping(folder, catalogue={**CATALOGUE, "files": [str(path)]})

    with pytest.raises(SourceError, match=message):
        opened(document).catalogue(as_of=END)


def test_a_published_layout_with_a_long_delimiter_is_read(tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.dat.csv"
    second = START_MS // 1000
    ratings.write_bytes(f"1::0001::5::{second}\n2::0001::\\N::{second}\n".encode())
    movies = tmp_path / "movies.dat.csv"
    movies.write_bytes('0001::Amélie: a "film" (2001)::Comedy|Romance\n'.encode("latin-1"))
    layout = {"delimiter": "::", "encoding": "latin-1", "nulls": ["\\N"]}
    document = {
        **mapping(tmp_path),
        "events": {
            "files": str(ratings),
            "format": "csv",
            "csv": {**layout, "columns": ["user", "item", "rating", "at"]},
            "user_id": "user",
            "item_id": "item",
            "occurred_at": {"column": "at", "unit": "s"},
        },
        "actions": [
            {"name": "like", "role": "target", "where": [{"column": "rating", "at_least": 4}]}
        ],
        "facets": [],
        "catalogue": {
            "files": str(movies),
            "format": "csv",
            "csv": {**layout, "columns": ["id", "title", "genres"]},
            "item_id": "id",
            "kind": "movie",
            "title": "title",
            "genres": "genres",
            "separator": "|",
        },
    }
    source = opened(document)

    assert day_rows(source, "user_id", "item_id", "action") == [
        ("1", "0001", "like"),
        ("2", "0001", None),
    ]
    (item,) = source.catalogue(as_of=END).to_pylist()
    assert (item["title"], item["genres"]) == ('Amélie: a "film" (2001)', ["Comedy", "Romance"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "nowhere"}, r"items\.parquet: column 'nowhere' is missing; there are: id, name"),
        ({"title": "name"}, r"items\.parquet: column 'name' is List.*want one value per row"),
        ({"valid_from": {"column": "id", "unit": "timestamp"}}, r"items\.parquet: column 'id' is"),
    ],
)
def test_a_catalogues_columns_are_looked_at_before_anything_runs(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    path = folder / "items.parquet"
    pl.DataFrame({"id": ["a"], "name": [["A"]]}).write_parquet(path)
    catalogue = {"files": str(path), "format": "parquet", "item_id": "id", "kind": "x", **changes}

    with pytest.raises(SourceError, match=message):
        opened(mapping(folder, catalogue=catalogue))


def test_narrow_seconds_and_compressed_text_give_the_same_day(folder: Path) -> None:
    want = day_rows(opened(mapping(folder)), "occurred_at", "action")
    seconds = {"column": "played_at", "unit": "s"}
    narrow = plays().with_columns((pl.col("played_at") // 1000).cast(pl.Int32))
    narrow.write_parquet(folder / "plays.parquet")
    with gzip.open(folder / "plays.csv.gz", "wt") as file:
        file.write(narrow.write_csv())
    text = {
        "events__files": [str(folder / "plays.csv.gz")],
        "events__format": "csv",
        "events__occurred_at": seconds,
    }

    for document in (mapping(folder, events__occurred_at=seconds), mapping(folder, **text)):
        assert day_rows(opened(document), "occurred_at", "action") == want
