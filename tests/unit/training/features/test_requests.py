from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.config.model import ModelConfig
from training.contracts import UNKNOWN_INSTANT, Histories
from training.features.catalogue import Catalogue
from training.features.requests import request_codes, request_numbers
from training.features.spec import MAX_SET_VALUES, FeatureSpec, build_spec
from training.schema import EventSchema

HOUR_US = 3_600_000_000


@pytest.fixture
def histories(make_histories: Callable[..., Histories]) -> Histories:
    """Monday noon, Tuesday noon, and a token of which only the order is known before them."""
    made = make_histories({"ana": [("A", None), ("A", 0), ("A", 24)]})
    return replace(
        made,
        request_categories={"device": (("tv", "web"), np.array([-1, 1, 1], np.int32))},
        request_numbers={"position": np.array([np.nan, 1.0, 3.0])},
        request_sets={"tags": ((("x", "y"), ("y",), ()), np.array([-1, 0, 1], np.int32))},
        request_instants={
            "opened": np.array([UNKNOWN_INSTANT, made.first_at[1] - HOUR_US, UNKNOWN_INSTANT])
        },
    )


@pytest.fixture
def spec_of(
    histories: Histories, make_catalogue: Callable[..., Catalogue], watching: EventSchema
) -> Callable[..., FeatureSpec]:
    def make(**reads: Any) -> FeatureSpec:
        catalogue = make_catalogue([{"item_id": "A"}])
        return build_spec(watching, histories, catalogue, ModelConfig(**reads))

    return make


def test_without_a_wish_category_hour_weekday_and_scaled_numbers_are_read(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = spec_of()

    assert request_codes(histories, spec).tolist() == [[0, 0, 0], [1, 13, 1], [1, 13, 2]]
    assert request_numbers(histories, spec).tolist() == [[0, 0], [1, -1], [1, 1]]


def test_the_calendar_adds_hour_of_the_week_month_and_trend(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = spec_of(request_calendar=True)

    codes = request_codes(histories, spec)[:, 3:]
    assert codes.tolist() == [[0, 0], [1 + 12, 3], [1 + 36, 3]]
    assert request_numbers(histories, spec)[:, 2:].tolist() == [[0, 0], [1, -1], [1, 1]]


def test_coded_numbers_have_a_code_and_no_column(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = spec_of(request_numbers="coded")  # the standard deviation is 1: in units of 1 / 256

    assert request_codes(histories, spec)[:, 3].tolist() == [0, 16 + 8, 16 + 9]
    assert request_numbers(histories, spec).shape == (3, 0)


def test_instants_say_when_they_are_and_how_long_before_the_request(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = spec_of(request_facets="all")

    codes = request_codes(histories, spec)[:, 3:6]
    assert codes.tolist() == [[0, 0, 0], [1 + 11, 3, 32 + 11], [0, 0, 0]]  # 2**11 s < an hour


def test_an_instant_of_a_token_without_a_time_has_no_distance(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    opened = {"opened": np.full(3, histories.first_at[1])}
    codes = request_codes(
        replace(histories, request_instants=opened), spec_of(request_facets="all")
    )

    assert codes[0, 3:6].tolist() == [1 + 12, 3, 0]


def test_sets_are_codes_of_their_members_the_most_frequent_first(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = spec_of(request_facets="all")
    assert spec.request_sets == {"tags": ("y", "x")}

    codes = request_codes(histories, spec)[:, 6:]

    assert codes.shape == (3, MAX_SET_VALUES)
    assert codes[:, :3].tolist() == [[0, 0, 0], [1, 2, 0], [1, 0, 0]]


def test_members_that_the_spec_does_not_hold_and_too_many_are_left_out(
    histories: Histories, spec_of: Callable[..., FeatureSpec]
) -> None:
    spec = replace(spec_of(request_facets="all"), request_sets={"tags": tuple("abcdefghijklmnopq")})
    sets = (tuple("abcdefghijklmnopq"), ("y", "q"), ())
    tags = {"tags": (sets, np.array([0, 1, 2], np.int32))}

    codes = request_codes(replace(histories, request_sets=tags), spec)[:, 6:]

    assert codes[0].tolist() == list(range(1, 17))
    assert codes[1, :2].tolist() == [17, 0]
    assert not codes[2].any()


@pytest.mark.parametrize(
    "reads",
    [
        {},
        {"request_facets": "all"},
        {"request_facets": "all", "request_numbers": "coded", "request_calendar": True},
        {"request_numbers": "periodic", "request_calendar": True},
    ],
)
def test_the_spec_tells_how_many_columns_and_codes_there_are(
    make_histories: Callable[..., Histories],
    spec_of: Callable[..., FeatureSpec],
    reads: dict[str, Any],
) -> None:
    histories = make_histories(
        {f"user {n}": [("A", n * 100 + k) for k in range(9)] for n in range(9)}
    )
    spec = spec_of(**reads)

    codes = request_codes(histories, spec)
    single = codes[:, : len(spec.code_sizes)]
    assert codes.shape[1] == len(spec.code_sizes) + MAX_SET_VALUES * len(spec.request_sets)
    assert (single >= 0).all()
    assert (single < np.array(spec.code_sizes)).all()
    numbers = request_numbers(histories, spec)
    assert numbers.shape[1] == spec.num_number_columns
    assert np.isfinite(numbers).all()
