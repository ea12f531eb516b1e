"""What may inform a prediction, over generated logs that went through the tokenizer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.training.tokens.generated_logs import (
    NUM_CASES,
    SCHEMA,
    LogShape,
    events_of,
    histories_of,
)
from training.contracts import Histories
from training.tokens.config import TokenizerConfig
from training.tokens.merge import merge

ITEMS = [f"item {n}" for n in range(42)]
SHAPES = st.builds(
    LogShape,
    seed=st.integers(0, 2**32 - 1),
    num_events=st.integers(10_000, 12_000),
    num_users=st.sampled_from([1500, 3000]),
    num_items=st.just(40),
    num_days=st.just(4),
    stay=st.sampled_from([0.0, 0.5, 0.9]),
    tie=st.sampled_from([0.0, 0.5]),
)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_outcomes_of_a_token_and_all_that_follows_change_no_score_up_to_it(
    num_cases: int, make_scorer: Callable[..., Any]
) -> None:
    some = _histories(LogShape(seed=0, num_events=10_000, num_users=1500, num_items=40, num_days=4,
                               stay=0.5, tie=0.1))  # fmt: skip
    scorer = make_scorer(some, SCHEMA, ITEMS)

    @settings(
        max_examples=num_cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(shape=SHAPES)
    def law(shape: LogShape) -> None:
        histories = _histories(shape)
        lengths = np.diff(histories.offsets)
        draw = np.random.default_rng(shape.seed)
        target = np.repeat(histories.offsets[:-1] + draw.integers(0, lengths), lengths)
        position = np.arange(histories.num_tokens)

        before = scorer.scores_of_tokens(histories)
        after = scorer.scores_of_tokens(_changed(histories, target, draw))

        up_to_it, later = torch.from_numpy(position <= target), position > target
        assert torch.equal(before[up_to_it], after[up_to_it])
        moved = (before != after).any(dim=1).numpy()
        assert moved[later].mean() > 0.9

    law()


def _histories(shape: LogShape) -> Histories:
    tokens = merge(events_of(shape), SCHEMA, TokenizerConfig())
    return histories_of(tokens, most_tokens=16)  # the model's window


def _changed(histories: Histories, target: np.ndarray, draw: np.random.Generator) -> Histories:
    """Change the outcomes of each user's target token, and everything of the tokens after it."""
    position = np.arange(histories.num_tokens)
    is_outcome, is_later = position >= target, position > target
    values, device = histories.request_categories["device"]
    moved_s = np.cumsum(draw.integers(1, 7200, len(position)))
    shift = np.where(is_later, (moved_s - moved_s[target]) * 1_000_000, 0)
    return replace(
        histories,
        item_code=np.where(
            is_outcome, (histories.item_code + 7) % len(histories.items), histories.item_code
        ).astype(np.int32),
        first_at=histories.first_at + shift,
        last_at=histories.last_at + shift + np.where(is_outcome, 1_800_000_000, 0),
        duration_ms=histories.duration_ms + np.where(is_outcome, 5_000_000, 0),
        num_events=histories.num_events + 3 * is_outcome.astype(np.int32),
        action_counts=np.where(is_outcome[:, None], (1, 1, 1), histories.action_counts),
        request_categories={
            "device": (values, np.where(is_later, (device + 1) % len(values), device))
        },
        request_numbers={
            "position": np.where(is_later, 0.77, histories.request_numbers["position"])
        },
    )
