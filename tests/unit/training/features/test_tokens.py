from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.contracts import Histories
from training.features.catalogue import Catalogue
from training.features.items import ItemFeatures, build_item_features
from training.features.spec import FeatureSpec, build_spec
from training.features.tokens import NUM_GAP_CODES, TokenFeatures, build_token_features
from training.schema import EventSchema

AS_OF = datetime(2026, 3, 3, 12, tzinfo=UTC)  # 24 hours after what make_histories counts from
Build = Callable[..., TokenFeatures]


@pytest.fixture
def build(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> Build:
    def make(users: dict[str, Sequence[tuple[str, float | None]]]) -> TokenFeatures:
        histories = make_histories(users)
        catalogue = make_catalogue([{"item_id": item} for item in histories.items])
        spec: FeatureSpec = build_spec(watching, histories, catalogue)
        items: ItemFeatures = build_item_features(histories.items, catalogue, spec)
        return build_token_features(histories, spec, items, as_of=AS_OF)

    return make


def test_there_is_a_query_per_user_and_a_placeholder_without_a_past(build: Build) -> None:
    tokens = build({"ana": [("A", 0), ("B", 1)], "bob": [("A", 2)]})

    assert tokens.num_tokens == 3
    assert len(tokens.outcome_TA) == len(tokens.item_T) == 4
    assert len(tokens.request_TC) == len(tokens.gap_T) == 5
    assert not tokens.outcome_TA[3].any()
    assert not tokens.request_TC[3:].any()
    assert not tokens.request_TN[3:].any()


def test_gaps_are_measured_from_the_end_of_the_users_own_token_before(build: Build) -> None:
    tokens = build({"ana": [("A", 0), ("B", 1)], "bob": [("A", 2)]})
    hour = 1 + int(np.log2(3600 - 60 + 1))
    day = 1 + int(np.log2(86_400 - 60 + 1))

    # tokens: first of ana, an hour later, first of bob; queries: 23 and 22 hours after the newest
    assert tokens.gap_T.tolist()[:3] == [0, hour, 0]
    assert tokens.gap_T.tolist()[3:] == [day, day]


def test_an_unknown_instant_has_no_gap_hour_or_weekday(build: Build) -> None:
    tokens = build({"ana": [("A", None), ("B", None), ("C", 0)]})

    assert tokens.gap_T.tolist()[:3] == [0, 0, 0]
    assert tokens.request_TC[:2, -2:].tolist() == [[0, 0], [0, 0]]
    assert tokens.outcome_TA[:, 3].tolist() == [0, 0, 1, 0]  # is the time known


def test_a_query_after_a_prefix_has_no_gap(build: Build) -> None:
    assert build({"ana": [("A", None)]}).gap_T.tolist() == [0, 0]


def test_hour_and_weekday_are_those_of_the_token(build: Build) -> None:
    tokens = build({"ana": [("A", 0), ("B", 13)]})  # Monday noon, Tuesday one o'clock

    assert tokens.request_TC[:2, -2:].tolist() == [[1 + 12, 1 + 0], [1 + 1, 1 + 1]]


def test_the_longest_gap_has_the_last_code(build: Build) -> None:
    tokens = build({"ana": [("A", -24 * 400)]})

    assert tokens.gap_T.tolist() == [0, NUM_GAP_CODES - 1]
    assert timedelta(seconds=2 ** (NUM_GAP_CODES - 2)) > timedelta(days=90)


def test_every_number_is_finite(build: Build) -> None:
    tokens = build({"ana": [("A", None), ("B", 0), ("A", 5)]})

    assert np.isfinite(tokens.outcome_TA.numpy()).all()
    assert np.isfinite(tokens.request_TN.numpy()).all()
