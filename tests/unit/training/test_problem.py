from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from training.config.targets import TargetConfig, UtilityConfig
from training.contracts import Histories
from training.errors import ConfigError, ContractError
from training.problem import age_weights, ask, worth
from training.schema import EventSchema

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # what make_histories counts from
CONFIG = TargetConfig(num_targets=3, decay=0.5, window_hours=24.0, window_tokens=2)


def asked(
    histories: Histories, weights: list[float], config: TargetConfig = CONFIG
) -> list[list[tuple[str, float]]]:
    rows = histories.item_code.astype(np.int64)
    target_TK, weight_TK = ask(histories, rows, np.array(weights, dtype=np.float32), config)
    return [
        [
            (histories.items[target], round(weight, 4))
            for target, weight in zip(targets, weights_K, strict=True)
            if weight > 0
        ]
        for targets, weights_K in zip(target_TK.tolist(), weight_TK.tolist(), strict=True)
    ]


def test_a_target_is_asked_for_at_its_own_position_and_at_targets_before(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", 0), ("b", 1), ("C", 2), ("D", 3)]})

    assert asked(histories, [1, 0, 1, 1]) == [
        [("A", 1.0), ("C", 0.5), ("D", 0.25)],
        [],
        [("C", 1.0), ("D", 0.5)],
        [("D", 1.0)],
    ]


def test_a_user_is_never_asked_for_another_users_targets(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", 0)], "bob": [("B", 0)]})

    assert asked(histories, [1, 1]) == [[("A", 1.0)], [("B", 1.0)]]


def test_targets_beyond_the_window_are_not_asked_for(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", 0), ("B", 23), ("C", 25)]})

    assert asked(histories, [1, 1, 1])[0] == [("A", 1.0), ("B", 0.5)]


def test_a_target_counts_less_the_further_ahead_it_is(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", 0), ("B", 1), ("C", 3)], "bob": [("A", None)]})
    config = replace(CONFIG, decay=1.0, ahead_half_life_hours=1.0)

    assert asked(histories, [1, 1, 1, 1], config) == [
        [("A", 1.0), ("B", 0.5), ("C", 0.125)],
        [("B", 1.0), ("C", 0.25)],
        [("C", 1.0)],
        [("A", 1.0)],
    ]


def test_without_times_the_window_counts_tokens(make_histories: Callable[..., Histories]) -> None:
    histories = make_histories({"ana": [("A", None), ("B", None), ("C", None)]})

    assert asked(histories, [1, 1, 1])[0] == [("A", 1.0), ("B", 0.5)]


def test_a_target_keeps_its_own_weight_wherever_it_is_asked_for(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", 0), ("B", 1)]})

    assert asked(histories, [1, 0.5])[0] == [("A", 1.0), ("B", 0.25)]


def test_weights_halve_with_age(make_histories: Callable[..., Histories]) -> None:
    histories = make_histories({"ana": [("P", None), ("A", -48), ("B", -24)]})
    config = replace(CONFIG, half_life_days=1.0, prefix_weight=0.3)

    assert age_weights(histories, config, as_of=NOON).tolist() == pytest.approx([0.3, 0.25, 0.5])


def test_tokens_after_the_end_of_the_data_are_refused(
    make_histories: Callable[..., Histories],
) -> None:
    histories = make_histories({"ana": [("A", -1), ("B", 1)]})

    with pytest.raises(ContractError, match="tokens begin after the data ends"):
        age_weights(histories, CONFIG, as_of=NOON)


@pytest.fixture
def watched(make_histories: Callable[..., Histories]) -> Histories:
    """Four tokens: played; opened and played; only opened; played for an hour."""
    histories = make_histories(
        {"ana": [("A", 0), ("B", 1), ("c", 2), ("D", 3)]},
        actions={("ana", n): counts for n, counts in enumerate([(1, 0, 0), (2, 1, 0), (0, 1, 0)])},
    )
    return replace(histories, duration_ms=np.array([0, 0, 0, 3_600_000]))


TARGETS = np.array([1.0, 0.5, 0.0, 1.0], dtype=np.float32)


def test_all_targets_are_worth_the_same_by_default(
    watched: Histories, watching: EventSchema
) -> None:
    assert worth(TARGETS, watched, watching, UtilityConfig()) is TARGETS


def test_a_token_is_worth_its_most_useful_action(watched: Histories, watching: EventSchema) -> None:
    utility = UtilityConfig(actions=(("play", 0.5), ("open", 3.0)))

    found = worth(TARGETS, watched, watching, utility)

    # factors .5, 3, (3), .5 of targets: 4 / 3 in the mean
    assert found.tolist() == pytest.approx([0.375, 0.5 * 2.25, 0.0, 0.375])
    assert found.dtype == np.float32


def test_an_action_that_is_not_named_counts_as_ever(
    watched: Histories, watching: EventSchema
) -> None:
    found = worth(TARGETS, watched, watching, UtilityConfig(actions=(("open", 4.0),)))

    assert found.tolist() == pytest.approx([0.5, 0.5 * 2.0, 0.0, 0.5])


def test_a_longer_token_is_worth_more(watched: Histories, watching: EventSchema) -> None:
    utility = UtilityConfig(log_minutes=0.5)

    found = worth(np.ones(4, dtype=np.float32), watched, watching, utility)

    longest = 1 + 0.5 * np.log(61)
    mean = (3 + longest) / 4
    assert found.tolist() == pytest.approx([1 / mean, 1 / mean, 1 / mean, longest / mean])
    assert found.mean() == pytest.approx(1.0)


def test_what_is_worth_nothing_is_not_asked_for(watched: Histories, watching: EventSchema) -> None:
    found = worth(TARGETS, watched, watching, UtilityConfig(actions=(("play", 0.0), ("open", 1.0))))
    nothing = worth(
        TARGETS, watched, watching, UtilityConfig(actions=(("play", 0.0), ("open", 0.0)))
    )

    assert found.tolist() == [0.0, 1.5, 0.0, 0.0]
    assert nothing.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_an_action_that_no_token_counts_is_refused(
    watched: Histories, watching: EventSchema
) -> None:
    with pytest.raises(ConfigError, match=r"want some of \('play', .*got 'purchase'"):
        worth(TARGETS, watched, watching, UtilityConfig(actions=(("purchase", 2.0),)))
