from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.errors import NoDataError
from training.evaluation.evaluate import evaluate_next_day
from training.evaluation.pooled import PooledEvaluation, evaluate_days, pooled
from training.evaluation.ranking import METRICS
from training.evaluation.result import Evaluation


@pytest.fixture(scope="module")
def days(trained: Path, small_lake: Any) -> list[Evaluation]:
    data = small_lake.data(small_lake.days[5])
    return [evaluate_next_day(trained, data, small_lake.days[n]) for n in (4, 5)]


@pytest.fixture(scope="module")
def both(days: list[Evaluation]) -> PooledEvaluation:
    return pooled(days)


def test_pooled_means_are_over_the_targets_of_all_days(
    days: list[Evaluation], both: PooledEvaluation
) -> None:
    counts = [one.counts["targets"] for one in days]
    assert both.num_targets == sum(counts)
    assert both.days == tuple(one.day for one in days)
    for system, metrics in both.systems.items():
        for metric in METRICS:
            values = [one.systems[system][metric].value for one in days]
            assert metrics[metric].value == pytest.approx(np.average(values, weights=counts))
    for name, one in both.slices.items():
        parts = [day.slices[name] for day in days if day.slices[name]["targets"]]
        assert one["targets"] == sum(part["targets"] for part in parts)
        for system, metrics in one["systems"].items():
            weights = [part["targets"] for part in parts]
            mrr = np.average([part["systems"][system]["mrr"] for part in parts], weights=weights)
            assert metrics["mrr"] == pytest.approx(mrr)


def test_a_user_of_two_days_is_drawn_once(days: list[Evaluation], both: PooledEvaluation) -> None:
    ids = {user for one in days for user in one.per_user["user_id"].to_pylist()}
    assert both.num_users == len(ids) < sum(one.counts["users"] for one in days)


def test_pooling_a_day_with_itself_says_nothing_new(days: list[Evaluation]) -> None:
    twice = pooled([days[0], days[0]])

    assert twice.num_users == days[0].counts["users"]
    for found, alone in (
        (twice.systems, days[0].systems),
        (twice.differences, {name: days[0].differences[name] for name in twice.differences}),
    ):
        assert found.keys() == alone.keys()
        for name, metrics in found.items():
            for metric, one in metrics.items():
                want = alone[name][metric]
                assert (one.value, one.low, one.high) == pytest.approx(
                    (want.value, want.low, want.high)
                )


def test_only_the_models_differences_are_told(both: PooledEvaluation) -> None:
    assert set(both.differences) == {"model - popularity", "model - recent_popularity"}


def test_what_cannot_be_asked_is_no_zero(trained: Path, small_lake: Any) -> None:
    data, day = small_lake.data(small_lake.days[4]), small_lake.days[4]

    assert evaluate_days(trained, data, [day]).days == (day,)
    with pytest.raises(NoDataError, match="ends after the data"):
        evaluate_days(trained, data, [day, day + timedelta(days=1)])
    with pytest.raises(NoDataError, match="no target on any of the days"):
        pooled([])
