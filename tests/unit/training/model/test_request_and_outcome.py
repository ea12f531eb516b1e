"""What may inform a prediction, over generated logs that went through the tokenizer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.unit.training.model.conftest import AS_OF, CONFIG
from tests.unit.training.tokens.generated_logs import (
    NUM_CASES,
    SCHEMA,
    LogShape,
    events_of,
    histories_of,
)
from training.config.model import HeadsConfig
from training.contracts import Histories
from training.features.heads import NOT_ASKED
from training.features.tokens import build_token_features
from training.model.heads import Unread
from training.objective import read_in_training
from training.packing import newest_windows, pack
from training.problem import Problem
from training.shards import generator
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


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_a_head_reads_no_answer_that_it_is_asked_for(
    num_cases: int, make_scorer: Callable[..., Any]
) -> None:
    some = _histories(LogShape(seed=0, num_events=10_000, num_users=1500, num_items=40, num_days=4,
                               stay=0.5, tie=0.1))  # fmt: skip
    names = ("action", "duration", "time_to_next", "genres", "device")
    config = replace(CONFIG, heads=HeadsConfig(names=names), relative_bias=("position", "time"))
    scorer = make_scorer(some, SCHEMA, ITEMS, config)

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
        is_target = torch.from_numpy(np.arange(histories.num_tokens) == target)

        said, right, unread = _said(scorer, histories)

        for source, later_us in (("request", 0), ("time_to_next", 50_000_000_000)):
            # outcomes of the target, its request with them, and when it comes
            changed = _moved(_changed(histories, target, draw), target, later_us)
            other, others_right, _ = _said(scorer, changed)
            is_blind = is_target & unread[source]
            for head, before, after, answer, another in zip(
                scorer.network.heads.chosen, said, other, right, others_right, strict=True
            ):
                assert torch.equal(before[is_blind], after[is_blind])
                if head.source == source:
                    is_asked = unread[source]
                    assert (answer[~is_asked] == NOT_ASKED).all()
                    assert (before[is_target & ~is_asked] != after[is_target & ~is_asked]).any()
                if head.source == source or not head.is_of_request:
                    assert (answer[is_blind] != another[is_blind]).any()

    law()


@torch.no_grad()
def _said(scorer: Any, histories: Histories) -> tuple[list[Tensor], list[Tensor], Unread]:
    """Return what each head says in training of every token, what is right, and what is unread."""
    tokens = build_token_features(histories, scorer.spec, scorer.items, as_of=AS_OF)
    packed = pack(newest_windows(tokens.offsets, max_len=16))
    num_tokens = histories.num_tokens
    problem = Problem(
        items=scorer.items,
        tokens=tokens,
        windows=newest_windows(tokens.offsets, max_len=16),
        target_TK=tokens.item_T[:-1, None],
        weight_TK=torch.ones(num_tokens, 1),
    )
    network = scorer.network
    batch, unread_P = read_in_training(problem, packed, network.config, generator(1))
    encoding_MD, _ = network.items(scorer.items)
    # positions in the order of the tokens: every one of them has one
    place_T = torch.from_numpy(np.argsort(packed.current_P))
    said = network.heads(network.hidden(encoding_MD, batch)[place_T])
    every = torch.arange(num_tokens)
    unread = {source: mask_P[place_T] for source, mask_P in unread_P.items()}
    right = network.heads.answers(tokens, scorer.items, every, tokens.item_T[:-1], unread)
    return said, right, unread


def _moved(histories: Histories, target: np.ndarray, later_us: int) -> Histories:
    """Change the devices of the targets too, and move them and all that follows."""
    position = np.arange(histories.num_tokens)
    values, device = histories.request_categories["device"]
    moved_us = np.where(position >= target, later_us, 0)
    device = np.where(position == target, (device + 1) % len(values), device)
    return replace(
        histories,
        first_at=histories.first_at + moved_us,
        last_at=histories.last_at + moved_us,
        request_categories={"device": (values, device)},
    )


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
