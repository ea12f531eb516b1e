"""Averages, schedules, early stopping and pieces of a step."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.loop.conftest import Learnable, are_equal, run, weights_of
from training import pretrain
from training.config.optim import OptimConfig, StoppingConfig
from training.errors import ConfigError
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.packing import newest_windows, pack
from training.recipes import tiny
from training.schedule import step_size
from training.setting import Setting
from training.stopping import keep_back, newest_targets


def test_the_average_of_the_weights_is_what_a_run_is_for(
    make: Callable[[], Learnable], tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[torch.Tensor]] = []
    taken = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *given: Any) -> Any:
        out = taken(self, *given)
        seen.append(weights_of(problem[0]))
        return out

    problem = make()
    expected = weights_of(problem[0])
    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(problem, Setting(tracker=tracker), optim={"average_decay": 0.8}, batch_tokens=128)

    for age, weights in enumerate(seen, start=1):
        share = 1.0 - min(0.8, (1 + age) / (10 + age))
        expected = [a + share * (w - a) for a, w in zip(expected, weights, strict=True)]
    for got, want in zip(weights_of(problem[0]), expected, strict=True):
        torch.testing.assert_close(got, want)
    assert not are_equal(weights_of(problem[0]), seen[-1])


def test_schedules_begin_alike_and_end_apart() -> None:
    def sizes(**changes: Any) -> list[float]:
        optim = OptimConfig(learning_rate=1.0, warmup_share=0.1, final_share=0.1, **changes)
        return [step_size(step, 100, optim) for step in range(100)]

    cosine, constant, root = sizes(), sizes(schedule="constant"), sizes(schedule="inverse_sqrt")
    assert cosine[:10] == constant[:10] == root[:10]
    assert cosine[-1] == pytest.approx(0.1, abs=1e-3)
    assert constant[10:] == [1.0] * 90
    assert root[39] == pytest.approx(0.5)
    assert root == [*root[:10], *sorted(root[10:], reverse=True)]


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="schedule: want one of"):
        OptimConfig(schedule="linear")  # type: ignore[arg-type]


@pytest.mark.parametrize("accumulate", [2, 5])
def test_a_step_in_pieces_is_the_step_whole(
    make: Callable[[], Learnable], tracker: Any, accumulate: int
) -> None:
    whole, pieces = make(), make()
    for network, _, _ in (whole, pieces):
        for block in network.backbone.blocks:
            block.dropout = 0.0
    model = replace(whole[2].model, dropout=0.0, request_dropout=0.0)
    run(whole, Setting(tracker=tracker), model=model)
    run(pieces, Setting(tracker=tracker), model=model, accumulate=accumulate)

    for a, b in zip(weights_of(whole[0]), weights_of(pieces[0]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


class Scripted:
    """Answers in turn, and remembers the weights that it was asked about."""

    def __init__(self, *answers: float) -> None:
        self.answers = list(answers)
        self.asked: list[list[torch.Tensor]] = []

    def ask(self, network: Recommender) -> float:
        assert not network.training
        self.asked.append(weights_of(network))
        return self.answers.pop(0)


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_a_run_ends_when_it_gets_no_better_and_keeps_its_best(
    make: Callable[[], Learnable], tracker: Any, average_decay: float
) -> None:
    network, learned, config = make()
    scripted = Scripted(0.1, 0.5, 0.4, 0.3, 0.6)
    asked: Any = scripted
    trained = run(
        (network, replace(learned, kept_back=asked), config),
        Setting(tracker=tracker),
        num_epochs=8,
        optim={"average_decay": average_decay},
        stopping=StoppingConfig(one_in=2, patience=2),
    )

    assert scripted.answers == [0.6], "two answers in a row were no better than the second"
    assert trained.best_score == 0.5
    assert are_equal(weights_of(network), scripted.asked[1])
    assert [m["validation"] for _, m in tracker.metrics if "validation" in m] == [
        0.1,
        0.5,
        0.4,
        0.3,
    ]


def test_who_is_asked_is_asked_for_the_newest_target(small_lake: Any) -> None:
    histories = small_lake.data(small_lake.days[1]).histories()
    is_target = np.random.default_rng(0).random(histories.num_tokens) < 0.5
    kept = newest_targets(histories, is_target, one_in=2)
    user_of = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))

    assert 0 < len(kept) < histories.num_users
    assert len(np.unique(user_of[kept])) == len(kept)
    for token in kept.tolist():
        own = np.flatnonzero(is_target & (user_of == user_of[token]))
        assert token == own[-1]
    assert len(newest_targets(histories, np.zeros_like(is_target), one_in=2)) == 0


def test_the_answer_is_ndcg_of_what_is_served(
    small_lake: Any, make: Callable[[], Learnable]
) -> None:
    network, learned, _ = make()
    histories = small_lake.data(small_lake.days[1]).histories()
    is_target = learned.weight_TK[:, 0].numpy() > 0
    kept = newest_targets(histories, is_target, one_in=2)
    network.eval()
    got = keep_back(learned.items, learned.tokens, kept, max_len=32).ask(network)

    gains = []
    with torch.inference_mode():
        encoding_MD, bias_M = network.items(learned.items)
        items = network.item_vectors(encoding_MD, bias_M)
        for token in kept.tolist():
            user = np.searchsorted(learned.tokens.offsets, token, side="right") - 1
            window = newest_windows(
                learned.tokens.offsets,
                max_len=32,
                users=np.array([user]),
                ends=np.array([token + 1]),
            )
            batch = gather_batch(learned.tokens, pack(window))
            batch = batch.hide_requests(torch.ones(len(batch.item_P), dtype=torch.bool))
            user_S = network.user_vectors(network.hidden(encoding_MD, batch))[-1]
            scores = items @ user_S
            rank = int((scores >= scores[learned.tokens.item_T[token]]).sum())
            gains.append(1.0 / np.log2(rank + 1.0) if rank <= 10 else 0.0)
    assert got == pytest.approx(np.mean(gains), abs=1e-6)


def test_what_is_kept_back_is_learned_by_nobody(
    small_lake: Any, tracker: Any, tmp_path: Any
) -> None:
    for name in ("stopping", "plain"):
        (tmp_path / name).mkdir()
    seen: list[Any] = []
    plain = pretrain.train

    def watched(network: Any, problem: Any, *given: Any, **named: Any) -> Any:
        seen.append(copy.copy(problem))
        return plain(network, problem, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "train", watched)
        data = small_lake.data(small_lake.days[1])
        config = replace(tiny(), stopping=StoppingConfig(one_in=2), num_epochs=2)
        written = pretrain.pretrain(data, config, tmp_path / "stopping", tracker)
        pretrain.pretrain(data, replace(tiny(), num_epochs=2), tmp_path / "plain", tracker)
    problem, seen_without = seen
    kept = problem.kept_back.windows.current_start + problem.kept_back.windows.lengths - 1
    assert len(kept) > 0
    assert (problem.weight_TK[kept] == 0).all(), "nor is their own position asked anything"
    asked_for = Counter(problem.target_TK[problem.weight_TK > 0].tolist())
    plain_asked = Counter(seen_without.target_TK[seen_without.weight_TK > 0].tolist())
    for item, count in Counter(problem.tokens.item_T[kept].tolist()).items():
        assert asked_for[item] <= plain_asked[item] - count
    assert 0.0 <= written.figures["best_score"] <= 1.0
