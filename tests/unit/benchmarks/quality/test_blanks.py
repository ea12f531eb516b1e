"""What is left of data in which a facet is always missing."""

from datetime import timedelta

import numpy as np
import pytest

from benchmarks.quality.blanks import Without, known_facets
from benchmarks.quality.logs import DatedLog, source_log
from training.data import TrainingData
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.features.items import build_item_features
from training.features.spec import build_spec
from training.features.tokens import build_token_features

DAYS = 4


@pytest.fixture(scope="module")
def log() -> DatedLog:
    return source_log("simulated", SimulatedWorld(WorldParameters(num_users=60)))


def test_every_facet_of_the_simulated_world_can_be_left_out(log: DatedLog) -> None:
    data = log.before(log.last_day - timedelta(days=DAYS))

    assert {
        *("device", "canvas", "country", "locale", "row", "position", "duration"),
        *("genres", "age", "runtime", "kind", "original_language", "release_country", "maturity"),
    } <= set(known_facets(data))


def test_what_is_left_out_changes_what_is_read_and_nothing_else(log: DatedLog) -> None:
    data = log.before(log.last_day - timedelta(days=DAYS))
    whole = data.histories()

    for facet in known_facets(data):
        blank = Without(data=data, facet=facet)
        assert facet not in known_facets(blank)
        assert set(known_facets(data)) - set(known_facets(blank)) <= {facet}
        assert _read(blank) != _read(data), facet
        # neither who chose what nor when
        left = blank.histories()
        assert np.array_equal(left.item_code, whole.item_code)
        assert np.array_equal(left.first_at, whole.first_at)
        assert np.array_equal(left.action_counts, whole.action_counts)
        assert blank.vocabulary() == data.vocabulary()


def _read(data: TrainingData) -> list[bytes]:
    """Return all that a model reads of data."""
    histories, catalogue = data.histories(), data.catalogue()
    spec = build_spec(data.schema(), histories, catalogue)
    items = build_item_features(data.vocabulary().item_ids, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=data.as_of)
    read = (
        *(items.codes_MK, items.genres_MG, items.numbers_MN),
        *(tokens.item_T, tokens.outcome_TA, tokens.request_TC, tokens.request_TN, tokens.gap_T),
    )
    return [one.numpy().tobytes() for one in read]
