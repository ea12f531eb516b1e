import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch

from training.config import OptimConfig, RunConfig
from training.contracts import Histories
from training.errors import DivergedError, NoDataError
from training.features.catalogue import Catalogue
from training.features.items import build_item_features
from training.features.spec import build_spec
from training.features.tokens import build_token_features
from training.loop import deterministic, make_optimizer, step_size, train
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.packing import newest_windows, pack, pad, query_windows
from training.problem import Problem, age_weights, ask
from training.recipes import tiny
from training.schema import EventSchema
from training.tokens.targets import is_target

AS_OF = datetime(2026, 3, 4, tzinfo=UTC)


def make_problem(
    histories: Histories,
    catalogue: Catalogue,
    schema: EventSchema,
    vocabulary: Sequence[str],
    config: RunConfig,
) -> tuple[Recommender, Problem]:
    spec = build_spec(schema, histories, catalogue)
    items = build_item_features(vocabulary, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=AS_OF)
    weights = age_weights(histories, config.targets, as_of=AS_OF)
    weights *= is_target(histories, schema)
    target_TK, weight_TK = ask(histories, tokens.item_T.numpy()[:-1], weights, config.targets)
    rows = pack(newest_windows(tokens.offsets, max_len=32), row_len=32)
    torch.manual_seed(0)
    network = Recommender(config.model, spec, vocabulary_size=items.num_vocabulary)
    return network, Problem(
        items=items, tokens=tokens, rows=rows, target_TK=target_TK, weight_TK=weight_TK
    )


@torch.inference_mode()
def query(network: Recommender, learned: Problem) -> np.ndarray:
    """Return the scores of every item for every user at the end of the history."""
    users = np.arange(len(learned.tokens.offsets) - 1)
    rows = pad(query_windows(learned.tokens.offsets, max_len=32, users=users), row_len=32)
    encoding_MD, bias_M = network.items(learned.items)
    hidden_BLD = network.hidden(encoding_MD, gather_batch(learned.tokens, rows, users))
    is_query = torch.from_numpy(rows.current_RL >= learned.tokens.num_tokens)
    scores = (
        network.user_vectors(hidden_BLD[is_query]) @ network.item_vectors(encoding_MD, bias_M).T
    )
    return scores.numpy()


@pytest.fixture
def problem(small_lake: Any) -> tuple[Recommender, Problem, RunConfig]:
    data = small_lake.data(small_lake.days[1])
    vocabulary = data.vocabulary().item_ids
    return (
        *make_problem(data.histories(), data.catalogue(), data.schema(), vocabulary, tiny()),
        tiny(),
    )


def run(problem: tuple[Recommender, Problem, RunConfig], tracker: Any, **changes: Any) -> Any:
    network, learned, config = problem
    config = replace(config, **changes)
    with deterministic(1):
        return train(network, learned, config, optim=config.optim, num_epochs=2, tracker=tracker)


def test_the_loss_falls(problem: Any, tracker: Any) -> None:
    trained = run(problem, tracker)

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
        train(network, learned, config, optim=config.optim, num_epochs=20, tracker=tracker)
        vectors = query(network, learned)

    own = np.arange(10)[None, :] // 5 == (np.arange(60) % 2)[:, None]
    first = np.argsort(-vectors, axis=1)[:, :5]
    assert np.take_along_axis(own, first, axis=1).mean() > 0.95


def test_progress_reaches_the_tracker(problem: Any, tracker: Any) -> None:
    trained = run(problem, tracker)

    steps = [step for step, _ in tracker.metrics]
    assert steps[0] == 0
    assert steps[-1] == trained.num_steps - 1
    assert set(tracker.metrics[0][1]) == {
        "loss",
        "gradient_norm",
        "learning_rate",
        "targets_per_s",
    }
    assert tracker.lines[-1].startswith(f"step {trained.num_steps}/{trained.num_steps}")


def test_a_loss_that_is_not_finite_stops_the_run(problem: Any, tracker: Any) -> None:
    with torch.no_grad():
        problem[0].items.id_rows[0] = math.nan

    with pytest.raises(DivergedError, match="the loss is nan at step 0"):
        run(problem, tracker)


def test_a_run_without_targets_is_refused(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    nothing = replace(learned, weight_TK=torch.zeros_like(learned.weight_TK))

    with pytest.raises(NoDataError, match="no token of the data is a target"):
        run((network, nothing, config), tracker)


def test_what_is_not_asked_for_is_not_learned(problem: Any, tracker: Any) -> None:
    network, learned, config = problem
    only_first = torch.zeros_like(learned.weight_TK)
    only_first[0, 0] = 1.0
    trained = run((network, replace(learned, weight_TK=only_first), config), tracker)

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
    matrices, others = make_optimizer(network, OptimConfig(weight_decay=0.5)).param_groups

    assert matrices["weight_decay"] == 0.5
    assert others["weight_decay"] == 0.0
    assert any(p is network.items.id_rows for p in matrices["params"])
    assert any(p is network.items.id_bias for p in others["params"])
    assert len(matrices["params"]) + len(others["params"]) == len(list(network.parameters()))
