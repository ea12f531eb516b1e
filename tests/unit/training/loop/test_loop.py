import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.loop.conftest import make_problem, run
from training.config.loss import LossConfig
from training.config.model import ModelConfig
from training.config.optim import OptimConfig
from training.contracts import Histories
from training.errors import DivergedError, NoDataError
from training.features.catalogue import Catalogue
from training.loop import deterministic, steps_of, train
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.objective import loss_of
from training.packing import newest_windows, pack, query_windows
from training.problem import Problem
from training.recipes import tiny
from training.schedule import make_optimizer, step_size
from training.schema import EventSchema
from training.setting import Setting
from training.shards import generator


@torch.inference_mode()
def query(network: Recommender, learned: Problem) -> np.ndarray:
    """Return the scores of every item for every user at the end of the history."""
    users = np.arange(len(learned.tokens.offsets) - 1)
    packed = pack(query_windows(learned.tokens.offsets, max_len=32, users=users))
    encoding_MD, bias_M = network.items(learned.items)
    hidden_PD = network.hidden(encoding_MD, gather_batch(learned.tokens, packed))
    user_WS = network.user_vectors(hidden_PD[packed.lasts])
    scores_WM = user_WS @ network.item_vectors(encoding_MD, bias_M).T
    scores = np.empty(scores_WM.shape, dtype=np.float32)
    scores[packed.window_W] = scores_WM.numpy()
    return scores


def test_the_loss_falls(problem: Any, tracker: Any) -> None:
    trained = run(problem, Setting(tracker=tracker))

    assert trained.last_loss < trained.first_loss
    assert trained.num_targets == problem[1].num_targets


def test_a_model_learns_what_popularity_cannot_know(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
    tracker: Any,
) -> None:
    draw = np.random.default_rng(0)
    # two kinds of users, each with five titles of its own, all equally popular
    histories = make_histories(
        {
            f"user {n:02d}": [(f"i{5 * (n % 2) + draw.integers(5)}", hour) for hour in range(12)]
            for n in range(60)
        }
    )
    catalogue = make_catalogue([{"item_id": item} for item in histories.items])
    config = replace(tiny(), optim=OptimConfig(learning_rate=1e-2))
    network, learned = make_problem(histories, catalogue, watching, histories.items, config)

    with deterministic(1):
        train(
            network,
            learned,
            config,
            optim=config.optim,
            num_epochs=50,
            setting=Setting(tracker=tracker),
        )
        vectors = query(network, learned)

    own = np.arange(10)[None, :] // 5 == (np.arange(60) % 2)[:, None]
    first = np.argsort(-vectors, axis=1)[:, :5]
    assert np.take_along_axis(own, first, axis=1).mean() > 0.95


def test_progress_reaches_the_tracker(problem: Any, tracker: Any) -> None:
    trained = run(problem, Setting(tracker=tracker))

    steps = [step for step, _ in tracker.metrics]
    assert steps[0] == 0
    assert steps[-1] == trained.num_steps - 1
    assert set(tracker.metrics[0][1]) == {
        "loss",
        "gradient_norm",
        "learning_rate",
        "targets_per_s",
        "positions_per_s",
        "flops_utilisation",
        "peak_memory_mib",
    }
    assert tracker.lines[-1].startswith(f"step {trained.num_steps}/{trained.num_steps}")


@pytest.mark.parametrize("kind", ["sampled", "gbce"])
def test_a_sample_of_the_catalogue_teaches_too(problem: Any, tracker: Any, kind: str) -> None:
    network, learned, config = problem
    config = replace(config, loss=LossConfig(kind=kind, num_negatives=64))

    def on_the_same_sample() -> float:
        hidden_M = torch.zeros(len(learned.items.ids), dtype=torch.bool)
        with torch.no_grad():
            packed = pack(learned.windows)
            loss = loss_of(network, learned, packed, config, hidden_M, generator(1))
        return float(loss / learned.weight_TK[packed.current_P].sum())

    before = on_the_same_sample()
    with deterministic(1):
        train(
            network,
            learned,
            config,
            optim=config.optim,
            num_epochs=10,
            setting=Setting(tracker=tracker),
        )

    assert on_the_same_sample() < before - 0.1


def test_a_loss_of_each_layer_is_added_to_that_of_the_last(small_lake: Any) -> None:
    data = small_lake.data(small_lake.days[1])
    given = data.histories(), data.catalogue(), data.schema(), data.vocabulary().item_ids

    def total(layer_loss: float) -> float:
        model = replace(tiny().model, num_layers=2, layer_loss=layer_loss)
        config = replace(tiny(), model=model)
        network, learned = make_problem(*given, config)
        hidden_M = torch.zeros(len(learned.items.ids), dtype=torch.bool)
        loss = loss_of(network, learned, pack(learned.windows), config, hidden_M, generator(1))
        return float(loss.detach())

    one, other, third = total(0.0), total(0.5), total(1.0)
    assert other > one
    assert third - one == pytest.approx(2 * (other - one), rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run(problem: Any, tracker: Any) -> None:
    with torch.no_grad():
        problem[0].items.id_rows[0] = math.nan

    with pytest.raises(DivergedError, match=r"none of \d+ steps had a finite loss"):
        run(problem, Setting(tracker=tracker))


def test_a_run_without_targets_is_refused(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    nothing = replace(learned, weight_TK=torch.zeros_like(learned.weight_TK))

    with pytest.raises(NoDataError, match="no token of the data is a target"):
        run((network, nothing, config), Setting(tracker=tracker))


def test_a_target_that_only_windows_that_slide_reach_is_learned(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    offsets = learned.tokens.offsets
    longest = int(np.diff(offsets).argmax())
    oldest = torch.zeros_like(learned.weight_TK)
    oldest[offsets[longest], 0] = 1.0
    short = newest_windows(offsets, max_len=4)
    learned = replace(learned, weight_TK=oldest, windows=short)
    setting = Setting(tracker=tracker)

    with pytest.raises(NoDataError, match="no token of the data is a target"):
        run((copy.deepcopy(network), learned, config), setting)
    slid = replace(learned, window_choice="slide")
    assert run((copy.deepcopy(network), slid, config), setting, num_epochs=20).num_steps >= 1

    def begins_later(seed: int) -> bool:
        begin = slid.of_epoch(0, seed=seed).windows.current_start[longest]
        return bool(begin > offsets[longest])

    one = {"num_epochs": 1, "batch_tokens": 100_000, "seed": next(filter(begins_later, range(99)))}
    with pytest.raises(NoDataError, match="none of 1 steps reads a position that is asked"):
        run((network, slid, config), setting, **one)


def test_what_is_not_asked_for_is_not_learned(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    only_first = torch.zeros_like(learned.weight_TK)
    only_first[0, 0] = 1.0
    trained = run(
        (network, replace(learned, weight_TK=only_first), config), Setting(tracker=tracker)
    )

    assert trained.num_targets <= 1


def test_determinism_is_restored() -> None:
    threads = torch.get_num_threads()
    with deterministic(1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1

    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


def test_the_step_size_rises_then_falls() -> None:
    optim = OptimConfig(learning_rate=1.0, warmup_share=0.1, final_share=0.01)
    sizes = [step_size(step, 100, optim) for step in range(100)]

    assert sizes[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert sizes[10:] == sorted(sizes[10:], reverse=True)
    assert sizes[-1] == pytest.approx(0.01, abs=0.001)


def test_only_matrices_decay(problem: Any) -> None:
    network = problem[0]
    optim = OptimConfig(weight_decay=0.5)
    matrices, others = make_optimizer(list(network.parameters()), optim).param_groups

    assert matrices["weight_decay"] == 0.5
    assert others["weight_decay"] == 0.0
    assert any(p is network.items.id_rows for p in matrices["params"])
    assert any(p is network.items.id_bias for p in others["params"])
    assert len(matrices["params"]) + len(others["params"]) == len(list(network.parameters()))


def weights_after(problem: Any, tracker: Any, **changes: Any) -> list[torch.Tensor]:
    network, learned, config = problem
    copied = copy.deepcopy(network)
    run((copied, learned, config), Setting(tracker=tracker), **changes)
    return [weight.detach() for weight in copied.parameters()]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_run_is_a_function_of_its_config(problem: Any, tracker: Any, num_threads: int) -> None:
    one, other = (weights_after(problem, tracker, num_threads=num_threads) for _ in range(2))

    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    another = weights_after(problem, tracker, num_threads=num_threads, seed=2)
    assert not all(torch.equal(a, b) for a, b in zip(one, another, strict=True))


def test_a_step_shared_out_to_threads_is_the_step_of_one(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    still = replace(config.model, dropout=0.0, request_dropout=0.0)
    one, two = (
        weights_after(
            (network_with(network, still), learned, config), tracker, model=still, num_threads=n
        )
        for n in (1, 2)
    )

    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def network_with(network: Recommender, model: ModelConfig) -> Recommender:
    """Return a copy that drops as ``model`` says."""
    copied = copy.deepcopy(network)
    for block in copied.backbone.blocks:
        block.dropout = model.dropout
    return copied


@pytest.mark.parametrize("batch_tokens", [32, 100, 4096])
def test_every_epoch_has_every_window_once_and_as_many_steps(
    problem: Any, batch_tokens: int
) -> None:
    windows = problem[1].windows
    epochs = [steps_of(windows, batch_tokens=batch_tokens, epoch=n, seed=1) for n in range(3)]

    for steps in epochs:
        assert len(steps) == math.ceil(windows.lengths.sum() / batch_tokens)
        assert sorted(np.concatenate(steps).tolist()) == list(range(len(windows)))
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))


@pytest.mark.parametrize("choice", ["slide", "mixed"])
def test_windows_that_slide_teach_in_as_many_steps(problem: Any, tracker: Any, choice: str) -> None:
    network, learned, config = problem
    short = replace(learned, windows=newest_windows(learned.tokens.offsets, max_len=4))
    config = replace(config, batch_tokens=40)
    slid = replace(short, window_choice=choice)

    newest = run((copy.deepcopy(network), short, config), Setting(tracker=tracker))
    moved = run((copy.deepcopy(network), slid, config), Setting(tracker=tracker))

    assert moved.num_steps == newest.num_steps
    assert moved.last_loss != newest.last_loss
    first = slid.of_epoch(0, seed=1).windows
    assert first.current_start.tolist() != short.windows.current_start.tolist()
    assert short.of_epoch(3, seed=1) is short


def test_in_some_epochs_a_slid_run_reads_every_position(problem: Any) -> None:
    learned = problem[1]
    short = newest_windows(learned.tokens.offsets, max_len=4)
    slid = replace(learned, windows=short, window_choice="slide")
    num_epochs = -(-int(np.diff(learned.tokens.offsets).max()) // 4)

    read = [pack(slid.of_epoch(epoch, seed=1).windows).current_P for epoch in range(num_epochs)]

    assert np.unique(np.concatenate(read)).tolist() == list(range(learned.tokens.num_tokens))
