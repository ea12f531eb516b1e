from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from training.errors import SourceError
from training.events import columns
from training.events.mapping import Condition, DurationUnit, InstantColumn, TimeUnit

NOON = datetime(2026, 1, 30, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


def instants(values: Any, unit: str, zone: str | None = None) -> list[datetime | None]:
    frame = pl.DataFrame({"at": values}, strict=False)
    spec = InstantColumn(column="at", unit=TimeUnit(unit), zone=zone)
    found = frame.select(columns.instants(frame.schema, spec))["at"]
    assert found.dtype == columns.INSTANT
    return found.to_list()


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([SECONDS], "s"),
        (pl.Series([SECONDS], dtype=pl.Int32), "s"),
        ([float(SECONDS)], "s"),
        ([str(SECONDS)], "s"),
        ([f"{SECONDS}.0"], "s"),
        ([SECONDS * 1_000], "ms"),
        ([SECONDS * 1_000_000], "us"),
        ([SECONDS * 1_000_000_000 + 999], "ns"),
        (["2026-01-30T12:00:00Z"], "iso"),
        (["2026-01-30 12:00:00.000 UTC"], "iso"),
        (["2026-01-30T13:30+01:30"], "iso"),
        (["2026-01-30 09:00:00-0300"], "iso"),
        (["2026-01-30 13:00:00.0+01"], "iso"),
        ([NOON], "timestamp"),
        (pl.Series([NOON]).dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"), "timestamp"),
    ],
)
def test_every_unit_gives_the_same_instant(values: Any, unit: str) -> None:
    assert instants(values, unit) == [NOON]


@pytest.mark.parametrize("zone", ["UTC", None])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_timestamp_far_beyond_all_clocks_is_no_time(unit: Any, zone: str | None) -> None:
    far = pl.Series([2**63 - 1, -(2**63) + 1]).cast(pl.Datetime(unit, zone))

    assert instants(far, "timestamp", "Europe/Vienna") == [None, None]


def test_fractions_are_kept_to_the_microsecond() -> None:
    wanted = NOON + timedelta(microseconds=123_456)

    assert instants(["2026-01-30T12:00:00.123456Z"], "iso") == [wanted]
    assert instants([f"{SECONDS}.123456"], "s") == [wanted]


@pytest.mark.parametrize("value", ["2026-01-30T13:00:00", datetime(2026, 1, 30, 13)])  # noqa: DTZ001
def test_a_time_without_a_zone_is_read_where_its_clock_stood(value: Any) -> None:
    unit = "iso" if isinstance(value, str) else "timestamp"

    assert instants([value], unit, "Europe/Vienna") == [NOON]


def test_text_without_a_zone_is_no_instant_unless_one_is_stated() -> None:
    assert instants(["2026-01-30T12:00:00", "2026-01-30T12:00:00Z"], "iso") == [None, NOON]


def test_a_clock_change_is_read_the_same_way_every_time() -> None:
    # 02:30 does not exist on the first day, and comes twice on the second
    found = instants(["2026-03-29 02:30:00", "2026-10-25 02:30:00"], "iso", "Europe/Vienna")

    assert found == [None, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([SECONDS * 1_000], "s"),  # milliseconds taken for seconds
        ([1 << 62], "s"),  # would overflow when scaled
        ([-5], "ms"),
        ([float("nan")], "s"),
        ([float("inf")], "s"),
        (["soon"], "s"),
        (["2026-01-30"], "iso"),  # a day has no order inside
        (["2200-01-01T00:00:00Z"], "iso"),
    ],
)
def test_what_is_no_instant_is_null(values: Any, unit: str) -> None:
    assert instants(values, unit) == [None]


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        ([NOON], "ms", 'want "timestamp"'),
        ([SECONDS], "timestamp", "want another unit"),
        ([SECONDS], "iso", "want text"),
        ([NOON.date()], "s", "want numbers"),
        ([NOON.replace(tzinfo=None)], "timestamp", "has no time zone"),
    ],
)
def test_a_unit_that_does_not_fit_the_column_is_refused(
    values: Any, unit: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        instants(values, unit)


def test_ids_of_whole_numbers_have_no_decimal_point() -> None:
    frame = pl.DataFrame({"n": [7.0, None, float("nan"), 1.5], "i": [7, None, 8, 9]})
    found = frame.select(
        *(columns.identifiers(frame.schema, name).alias(name) for name in ("n", "i"))
    )

    assert found["n"].to_list() == ["7", None, None, "1.5"]
    assert found["i"].to_list() == ["7", None, "8", "9"]
    with pytest.raises(SourceError, match="want one value per row"):
        columns.identifiers({"x": pl.List(pl.String())}, "x")


def test_an_id_that_a_real_number_cannot_tell_from_its_neighbour_is_nobodys() -> None:
    frame = pl.DataFrame({"d": [2.0**53 - 1, 2.0**53], "f": [2.0**24 - 1, 2.0**24]})
    frame = frame.cast({"f": pl.Float32})
    found = frame.select(columns.identifiers(frame.schema, name).alias(name) for name in "df")

    assert found["d"].to_list() == ["9007199254740991", None]
    assert found["f"].to_list() == ["16777215", None]


@pytest.mark.parametrize("kind", [pl.Date(), pl.Datetime("us"), pl.List(pl.Int64()), pl.Binary()])
def test_what_is_no_number_is_not_cast_to_one(kind: pl.DataType) -> None:
    with pytest.raises(SourceError, match="want numbers"):
        columns.numbers({"x": kind}, "x")
    with pytest.raises(SourceError, match="want numbers"):
        columns.durations({"x": kind}, "x", DurationUnit.SECONDS)


def test_durations_and_numbers_that_cannot_be_read_are_what_the_rules_refuse() -> None:
    frame = pl.DataFrame({"t": ["1.5", "abc", None, "-2"], "f": [1.5, float("nan"), None, 2.0]})
    found = frame.select(
        seconds=columns.durations(frame.schema, "t", DurationUnit.SECONDS),
        minutes=columns.durations(frame.schema, "f", DurationUnit.MINUTES),
        number=columns.numbers(frame.schema, "t"),
        missing=columns.numbers(frame.schema, "f"),
    )

    assert found["seconds"].to_list() == [1500, -1, None, -2000]
    assert found["minutes"].to_list() == [90_000, None, None, 120_000]
    assert str(found["number"].to_list()) == "[1.5, nan, None, -2.0]"
    assert found["missing"].to_list() == [1.5, None, None, 2.0]


def test_a_set_is_a_list_or_a_text_with_a_separator() -> None:
    frame = pl.DataFrame({"t": ["a| b", "", None], "l": [[1, 2], [], None]})
    found = frame.select(
        text=columns.sets(frame.schema, "t", "|"),
        alone=columns.sets(frame.schema, "t", None),
        list=columns.sets(frame.schema, "l", None),
    )

    assert found["text"].to_list() == [["a", "b"], None, None]
    assert found["alone"].to_list() == [["a| b"], [""], None]
    assert found["list"].to_list() == [["1", "2"], [], None]


@pytest.mark.parametrize(
    ("test", "value", "wanted"),
    [
        ("equals", True, [True, False, False]),
        ("equals", "True", [True, False, False]),
        ("one_of", [False, True], [True, True, False]),
    ],
)
def test_a_condition_on_words(test: str, value: Any, wanted: list[bool]) -> None:
    frame = pl.DataFrame({"c": ["True", "0", None]})
    condition = Condition(column="c", test=test, value=value)

    assert frame.select(columns.holds(frame.schema, condition)).to_series().to_list() == wanted


@pytest.mark.parametrize(
    ("test", "value", "wanted"),
    [
        ("at_least", 4, [True, True, False, False]),
        ("below", 4, [False, False, True, False]),
        ("equals", 4, [True, False, False, False]),
        ("equals", "4", [True, False, False, False]),
    ],
)
def test_a_condition_on_numbers(test: str, value: Any, wanted: list[bool]) -> None:
    frame = pl.DataFrame({"c": [4, 5, 3, None]})
    condition = Condition(column="c", test=test, value=value)

    assert frame.select(columns.holds(frame.schema, condition)).to_series().to_list() == wanted


def test_lists_of_more_than_words_are_refused() -> None:
    schema = pl.DataFrame({"tags": [[["a"]]], "more": [{"a": 1}]}).schema

    with pytest.raises(SourceError, match=r"'tags' is .*: want one value per member of a list"):
        columns.sets(schema, "tags", None)
    with pytest.raises(SourceError, match=r"'more' is .*: want one value per row"):
        columns.sets(schema, "more", None)
    with pytest.raises(SourceError, match=r"'more' is .*: want one value per row"):
        columns.holds(schema, Condition(column="more", test="equals", value="a"))
