from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from training.events.source import CATALOGUE_SCHEMA
from training.events.titles import (
    FOREVER,
    KINDS,
    LIVE,
    MOVIE,
    SERIES,
    Titles,
    catalogue_rows,
    draw_titles,
    launch_days,
)
from training.events.world import DAY_US, WorldParameters, start_us

PARAMETERS = WorldParameters(num_titles=600)
END_US = start_us(PARAMETERS.last_day) + DAY_US


@pytest.fixture(scope="module")
def titles() -> Titles:
    return draw_titles(PARAMETERS)


def test_every_kind_and_distinct_names_exist(titles: Titles) -> None:
    assert set(titles.kind.tolist()) == set(range(len(KINDS)))
    assert len(set(titles.names)) == len(titles.names)
    assert len(set(titles.ids)) == len(titles.ids)


def test_titles_launch_on_the_weekday_and_live_ones_air_on_saturday(titles: Titles) -> None:
    weekday = [datetime.fromtimestamp(at / 1e6, tz=UTC).weekday() for at in titles.available_from]
    is_live = titles.kind == LIVE

    assert set(np.array(weekday)[~is_live]) == {PARAMETERS.launch_weekday}
    assert set(np.array(weekday)[is_live]) == {5}


def test_titles_launch_in_every_week_of_the_log(titles: Titles) -> None:
    assert launch_days(PARAMETERS) == [
        date(2026, 1, 12) + timedelta(days=7 * week) for week in range(4)
    ]
    for day in launch_days(PARAMETERS):
        launched = (titles.available_from == start_us(day)).sum()
        assert launched > 0.5 * PARAMETERS.weekly_launch_share * PARAMETERS.num_titles


def test_a_sequel_is_of_its_kind_alike_and_not_earlier(titles: Titles) -> None:
    first = np.flatnonzero(titles.sequel >= 0)
    second = titles.sequel[first]

    assert len(first) > 50
    assert set(titles.kind[first]) == {MOVIE, SERIES}
    assert (titles.kind[first] == titles.kind[second]).all()
    assert (titles.available_from[first] <= titles.available_from[second]).all()
    assert (titles.factors[first] * titles.factors[second]).sum(axis=1).min() > 0.9
    assert len(set(second.tolist())) == len(second)


def test_popularity_has_a_heavy_tail(titles: Titles) -> None:
    weight = np.sort(np.exp(titles.popularity))[::-1]

    assert weight[:60].sum() > 0.35 * weight.sum()


def test_the_catalogue_knows_nothing_of_the_future(titles: Titles) -> None:
    for as_of_us in range(start_us(PARAMETERS.first_day), END_US + 30 * DAY_US, 5 * DAY_US):
        rows = catalogue_rows(titles, as_of_us=as_of_us).to_pylist()
        as_of = datetime.fromtimestamp(as_of_us / 1e6, tz=UTC)

        assert all(row["valid_from"] < as_of for row in rows)
        assert all(row["valid_to"] is None or row["valid_to"] < as_of for row in rows)


def test_the_catalogue_only_ever_adds_rows_and_closes_open_ones(titles: Titles) -> None:
    for as_of_us in range(start_us(PARAMETERS.first_day), END_US, 3 * DAY_US):
        before = catalogue_rows(titles, as_of_us=as_of_us).to_pylist()
        after = catalogue_rows(titles, as_of_us=as_of_us + 3 * DAY_US).to_pylist()
        later = {(row["item_id"], row["valid_from"]): row for row in after}

        for row in before:
            now = later[row["item_id"], row["valid_from"]]
            assert row["valid_to"] in (None, now["valid_to"])
            assert {**row, "valid_to": None} == {**now, "valid_to": None}


def test_catalogue_rows_of_an_item_follow_each_other(titles: Titles) -> None:
    table = catalogue_rows(titles, as_of_us=FOREVER)
    keys = [(row["item_id"], row["valid_from"]) for row in table.to_pylist()]
    rewritten = [row for row in table.to_pylist() if keys.count((row["item_id"], row["valid_to"]))]

    assert table.schema.equals(CATALOGUE_SCHEMA)
    assert keys == sorted(set(keys))
    assert len(rewritten) == (titles.rewritten_at < titles.available_to).sum() > 0
    assert (titles.available_to < FOREVER).sum() > 0
