from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from training import forgetting
from training.artifact import load_model
from training.contracts import Histories
from training.features.tokens import build_token_features
from training.forgetting import OldSlice, old_loss, old_slice
from training.inference import item_features
from training.model.batch import gather_batch
from training.packing import newest_windows, pack
from training.tokens.targets import is_target

OFFSETS = np.array([0, 4, 4, 10, 12])
ENDS = np.array([4, 4, 8, 10])  # the day: two tokens of the third user, all of the last one's


def asked(is_left_out: list[int], **given: Any) -> list[tuple[int, int]] | None:
    """Return start and end of each window."""
    mask = np.isin(np.arange(12), is_left_out)
    old = old_slice(OFFSETS, mask, ENDS, **{"max_len": 3, "seed": (1,), **given})
    if old is None:
        return None
    starts = old.windows.current_start.tolist()
    return sorted(zip(starts, (starts + old.windows.lengths).tolist(), strict=True))


def test_windows_end_where_the_day_begins() -> None:
    assert asked([1, 3, 4, 6]) == [(1, 4), (5, 8)]


def test_users_without_a_target_in_the_window_are_not_asked() -> None:
    assert asked([0, 6]) == [(5, 8)], "the first user's is older than the window"
    assert asked([2]) == [(1, 4)]
    assert asked([0, 4]) is None
    assert asked([]) is None


def test_no_more_users_than_the_sample_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "NUM_USERS", 1)

    assert {tuple(asked([2, 6], seed=(seed,)) or ()) for seed in range(20)} == {
        ((1, 4),),
        ((5, 8),),
    }


def test_a_replay_changes_the_targets_and_not_the_users() -> None:
    counts = np.full(2000, 4)
    offsets = np.append(0, np.cumsum(counts))
    draw = np.random.default_rng(0)
    every = np.ones(8000, dtype=bool)
    replayed = every & (draw.random(8000) < 0.3)

    one, other = (
        old_slice(offsets, mask, offsets[1:], max_len=4, seed=(1,)) for mask in (every, ~replayed)
    )

    assert one is not None
    assert other is not None
    shared = np.intersect1d(one.windows.current_start, other.windows.current_start)
    assert len(shared) > 0.95 * len(one.windows)


@pytest.mark.parametrize("batch_tokens", [32, 4096])
def test_the_loss_is_the_mean_over_targets_with_requests_hidden(
    trained: Any, small_lake: Any, batch_tokens: int
) -> None:
    model, data = load_model(trained), small_lake.data(small_lake.days[3])
    histories: Histories = data.histories()
    items = item_features(model, data.catalogue())
    tokens = build_token_features(histories, model.spec, items, as_of=data.as_of)
    windows = newest_windows(tokens.offsets, max_len=32)
    old = OldSlice(windows=windows, is_asked_T=is_target(histories, model.schema))
    config = replace(model.config, batch_tokens=batch_tokens, chunk_targets=7)

    found = old_loss(model.network, items, tokens, old, config)

    packed = pack(windows)
    batch = gather_batch(tokens, packed)
    shown = replace(
        batch,
        request_PC=torch.zeros_like(batch.request_PC),
        request_PN=torch.zeros_like(batch.request_PN),
    )
    with torch.no_grad():
        encoding_MD, bias_M = model.network.items(items)
        user_PS = model.network.user_vectors(model.network.hidden(encoding_MD, shown))
        logit_PM = user_PS @ model.network.item_vectors(encoding_MD, bias_M).T
    place = np.flatnonzero(old.is_asked_T[packed.current_P])
    target = tokens.item_T[packed.current_P[place]]
    want = -torch.log_softmax(logit_PM[place], dim=1)[torch.arange(len(place)), target].mean()
    assert found == pytest.approx(float(want), rel=1e-4)
