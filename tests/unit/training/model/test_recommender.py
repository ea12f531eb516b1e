import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.contracts import Histories
from training.features.tokens import build_token_features
from training.model.batch import gather_batch
from training.packing import newest_windows, pack

AS_OF = datetime(2026, 3, 4, tzinfo=UTC)
USER = 9  # the user with ten tokens
TOKEN = 4  # the target whose score must not move, counted within the user


def at(histories: Histories) -> int:
    return int(histories.offsets[USER]) + TOKEN


def rolled(codes: np.ndarray, rows: slice, count: int) -> np.ndarray:
    changed = codes.copy()
    changed[rows] = (codes[rows] + 1) % count
    return changed


def with_outcomes_changed(histories: Histories, rows: slice) -> Histories:
    """Change everything of some tokens that is known only after the user acted."""
    duration_ms, num_events = histories.duration_ms.copy(), histories.num_events.copy()
    counts, last_at = histories.action_counts.copy(), histories.last_at.copy()
    duration_ms[rows] += 5_000_000
    num_events[rows] += 3
    counts[rows] = (0, 1, 1)
    last_at[rows] += 1_800_000_000
    return replace(
        histories,
        item_code=rolled(histories.item_code, rows, len(histories.items)),
        duration_ms=duration_ms,
        num_events=num_events,
        action_counts=counts,
        last_at=last_at,
    )


def with_requests_changed(histories: Histories, rows: slice) -> Histories:
    """Change everything of some tokens that is known before the user acts."""
    values, codes = histories.request_categories["device"]
    positions = histories.request_numbers["position"].copy()
    positions[rows] = 0.77
    sets, set_codes = histories.request_sets["tags"]
    opened = histories.request_instants["opened"].copy()
    opened[rows] += 86_400_000_000
    return replace(
        histories,
        request_sets={"tags": (sets, rolled(set_codes, rows, 4))},
        request_instants={"opened": opened},
        request_categories={"device": (values, rolled(codes, rows, 2))},
        request_numbers={"position": positions},
    )


def test_neither_the_outcome_of_a_token_nor_its_future_changes_its_scores(
    scorer: Any, histories: Histories
) -> None:
    target, end = at(histories), int(histories.offsets[USER + 1])
    changed = with_outcomes_changed(histories, slice(target, end))
    changed = with_requests_changed(changed, slice(target + 1, end))

    before, after = scorer.scores_of_tokens(histories), scorer.scores_of_tokens(changed)

    torch.testing.assert_close(before[: target + 1], after[: target + 1], rtol=0, atol=0)
    assert not torch.equal(before[target + 1 : end], after[target + 1 : end])


def test_each_kind_of_outcome_of_the_token_before_changes_the_scores(
    scorer: Any, histories: Histories
) -> None:
    target = at(histories)
    before = scorer.scores_of_tokens(histories)[target]
    for name in ("item_code", "duration_ms", "num_events", "action_counts", "last_at"):
        whole = with_outcomes_changed(histories, slice(target - 1, target))
        changed = replace(histories, **{name: getattr(whole, name)})
        assert not torch.equal(before, scorer.scores_of_tokens(changed)[target]), name


def test_the_request_of_a_token_may_change_its_scores(scorer: Any, histories: Histories) -> None:
    target = at(histories)
    changed = with_requests_changed(histories, slice(target, target + 1))

    before, after = scorer.scores_of_tokens(histories), scorer.scores_of_tokens(changed)

    torch.testing.assert_close(before[:target], after[:target], rtol=0, atol=0)
    assert not torch.equal(before[target], after[target])


def test_the_hour_of_a_token_may_change_its_scores(scorer: Any, histories: Histories) -> None:
    target = at(histories)
    first_at = histories.first_at.copy()
    first_at[target] += 1_800_000_000  # later, but before the next token
    changed = replace(histories, first_at=first_at)

    before, after = scorer.scores_of_tokens(histories), scorer.scores_of_tokens(changed)

    assert not torch.equal(before[target], after[target])


def test_another_user_changes_nothing(scorer: Any, histories: Histories) -> None:
    others = slice(int(histories.offsets[USER + 1]), histories.num_tokens)
    changed = with_requests_changed(with_outcomes_changed(histories, others), others)

    before, after = scorer.scores_of_tokens(histories), scorer.scores_of_tokens(changed)

    own = slice(0, int(histories.offsets[USER + 1]))
    torch.testing.assert_close(before[own], after[own], rtol=0, atol=0)


def test_packed_windows_give_what_padded_rows_give(scorer: Any, histories: Histories) -> None:
    packed = scorer.hidden_of_tokens(histories)
    padded = scorer.hidden_of_tokens(histories, together=math.inf)

    torch.testing.assert_close(packed, padded, rtol=0, atol=1e-5)


def test_a_users_place_among_others_changes_nothing(scorer: Any, histories: Histories) -> None:
    alone = slice(int(histories.offsets[USER]), int(histories.offsets[USER + 1]))
    only = replace(
        histories,
        user_ids=histories.user_ids[USER : USER + 1],
        offsets=np.array([0, alone.stop - alone.start]),
        **{
            name: getattr(histories, name)[alone]
            for name in ("item_code", "first_at", "last_at", "duration_ms", "num_events")
        },
        action_counts=histories.action_counts[alone],
        **histories.requests_at(alone),
    )

    together, by_itself = scorer.hidden_of_tokens(histories)[alone], scorer.hidden_of_tokens(only)

    torch.testing.assert_close(together, by_itself, rtol=0, atol=1e-5)


def test_the_inner_product_of_published_vectors_is_the_logit(
    scorer: Any, histories: Histories
) -> None:
    network = scorer.network
    hidden_TD = scorer.hidden_of_tokens(histories)
    with torch.no_grad():
        encoding_MD, bias_M = network.items(scorer.items)
        if network.heads is not None:
            hidden_TD = network.heads.informed(hidden_TD)
        logit_TM: Tensor = network.user_out(hidden_TD) @ network.item_out(encoding_MD).T + bias_M

    torch.testing.assert_close(scorer.scores_of_tokens(histories), logit_TM)


def test_hiding_a_request_leaves_only_the_time_since_the_last_token(
    scorer: Any, histories: Histories
) -> None:
    target = at(histories)
    changed = with_requests_changed(histories, slice(target, target + 1))
    batches = []
    for one in (histories, changed):
        tokens = build_token_features(one, scorer.spec, scorer.items, as_of=AS_OF)
        batch = gather_batch(tokens, pack(newest_windows(tokens.offsets, max_len=16)))
        batches.append(batch.hide_requests(torch.ones_like(batch.item_P, dtype=torch.bool)))

    assert torch.equal(batches[0].request_PC, batches[1].request_PC)
    assert not batches[0].request_PC.any()
    assert not batches[0].request_PN.any()
    assert batches[0].gap_P.any()


def test_items_without_a_weight_row_read_the_unknown_one(scorer: Any) -> None:
    with torch.no_grad():
        before, _ = scorer.network.items(scorer.items)
        scorer.network.items.unknown_row += 1.0
        after, _ = scorer.network.items(scorer.items)

    assert torch.equal(before[:9], after[:9])
    assert not torch.isclose(before[9:], after[9:]).all()


def test_a_hidden_item_is_described_by_its_metadata_alone(scorer: Any) -> None:
    hidden_M = torch.zeros(11, dtype=torch.bool)
    hidden_M[3] = True
    with torch.no_grad():
        before = scorer.network.items(scorer.items, hidden_M)
        scorer.network.items.id_rows[3] += 1.0
        scorer.network.items.id_bias[3] += 1.0
        after = scorer.network.items(scorer.items, hidden_M)

    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
