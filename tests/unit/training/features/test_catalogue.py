from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import pytest

from training.features.catalogue import Catalogue

Make = Callable[..., Catalogue]


def instant(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def test_of_several_descriptions_the_one_that_holds_is_read(make_catalogue: Make) -> None:
    rows = [
        {"item_id": "A", "kind": "movie", "valid_from": instant(1), "valid_to": instant(5)},
        {"item_id": "A", "kind": "series", "valid_from": instant(5)},
    ]

    assert make_catalogue(rows, as_of=instant(4)).categories["kind"] == ["movie"]
    assert make_catalogue(rows, as_of=instant(5)).categories["kind"] == ["series"]
    assert make_catalogue(rows, as_of=datetime(2026, 2, 1, tzinfo=UTC)).categories["kind"] == [
        "movie"
    ]


def test_validity_spans_all_descriptions(make_catalogue: Make) -> None:
    catalogue = make_catalogue(
        [
            {"item_id": "A", "valid_from": instant(1), "valid_to": instant(5)},
            {"item_id": "B", "valid_from": instant(5)},
            {"item_id": "C", "valid_from": instant(1), "valid_to": instant(2)},
            {"item_id": "C", "valid_from": instant(2), "valid_to": instant(6)},
        ]
    )

    assert catalogue.valid_between(instant(4), instant(5)).tolist() == [True, False, True]
    assert catalogue.valid_between(instant(5), instant(6)).tolist() == [False, True, True]


def test_age_is_counted_from_the_release(make_catalogue: Make) -> None:
    catalogue = make_catalogue(
        [
            {"item_id": "A", "release_date": date(2026, 3, 1)},
            {"item_id": "B", "release_date": None},
            {"item_id": "C", "release_date": date(2026, 3, 9)},
        ],
        as_of=instant(2, 12),
    )

    assert catalogue.age_days == pytest.approx([1.5, np.nan, -6.5], nan_ok=True)


def test_a_missing_genre_list_is_an_empty_one(make_catalogue: Make) -> None:
    assert make_catalogue([{"item_id": "A", "genres": None}]).genres == [()]


def test_title_and_synopsis_are_one_text(make_catalogue: Make) -> None:
    catalogue = make_catalogue(
        [
            {"item_id": "A", "title": "Heat", "synopsis": "A heist."},
            {"item_id": "B", "title": "Alien"},
            {"item_id": "C"},
        ]
    )

    assert catalogue.texts == ["Heat. A heist.", "Alien", ""]
