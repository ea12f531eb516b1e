"""A step that fails is undone and passed over; a run of them is given up."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.unit.training.loop.conftest import Learnable, are_equal, run, weights_of
from training import loop
from training.config.optim import GuardConfig
from training.errors import DivergedError
from training.guard import fails
from training.setting import Setting

GUARD = GuardConfig(snapshot_steps=4, max_skipped=2)
CHANGES: dict[str, Any] = {"guard": GUARD, "num_epochs": 8, "batch_tokens": 64}


def spoiled_at(monkeypatch: pytest.MonkeyPatch, *steps: int, by: float) -> list[int]:
    """Multiply the loss of steps by ``by``, and their gradients; return the steps asked for."""
    plain, asked = loop.learn, []

    def learn(step: int, *given: Any) -> float | None:
        asked.append(step)
        loss = plain(step, *given)
        if step not in steps or loss is None:
            return loss
        *_, weights = given
        for parameter in weights.named.values():
            parameter.grad *= by
        return loss * by

    monkeypatch.setattr(loop, "learn", learn)
    return asked


@pytest.mark.parametrize("by", [math.nan, math.inf, 100.0])
def test_a_failed_step_leaves_no_trace(
    make: Callable[[], Learnable], tracker: Any, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    asked = spoiled_at(monkeypatch, 22, by=by)
    problem = make()
    trained = run(problem, Setting(tracker=tracker), **CHANGES)

    # back to the snapshot before it, and past it
    assert asked[:27] == [*range(23), 20, 21, 23, 24]
    assert trained.num_skipped == 1
    assert "step 22 failed" in "\n".join(tracker.lines)

    # as if its windows had never been there
    monkeypatch.undo()
    plain = loop.learn
    monkeypatch.setattr(
        loop, "learn", lambda step, *given: None if step == 22 else plain(step, *given)
    )
    without = make()
    run(without, Setting(tracker=tracker), **CHANGES)
    assert are_equal(weights_of(problem[0]), weights_of(without[0]))


def test_a_run_whose_steps_go_on_failing_is_given_up(
    make: Callable[[], Learnable], tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled_at(monkeypatch, 20, 21, 25, by=math.nan)

    with pytest.raises(DivergedError, match=r"nan at step 25, and steps \[20, 21\] were skipped"):
        run(make(), Setting(tracker=tracker), **CHANGES)


def test_a_run_with_more_failures_than_steps_is_given_up(
    make: Callable[[], Learnable], tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled_at(monkeypatch, 1, 2, by=math.nan)
    few = {"num_epochs": 3, "batch_tokens": 100_000, "guard": GUARD}

    with pytest.raises(DivergedError, match="2 steps failed and 1 did not"):
        run(make(), Setting(tracker=tracker), **few)


def test_a_run_too_short_for_a_median_is_given_up_where_its_loss_has_risen(
    make: Callable[[], Learnable], tracker: Any
) -> None:
    wild = {"learning_rate": 30.0, "warmup_share": 0.0, "clip_norm": 1e9, "schedule": "constant"}

    with pytest.raises(DivergedError, match=r"the loss rose from \S+ to \S+ in 8 steps"):
        run(make(), Setting(tracker=tracker), num_epochs=8, batch_tokens=100_000, optim=wild)


def test_what_a_spike_is() -> None:
    guard = GuardConfig(spike_factor=2.0)
    before = [5.0] * 40

    assert not fails(9.9, 1.0, before, guard)
    assert fails(10.1, 1.0, before, guard)
    assert fails(5.0, math.inf, before, guard)
    assert fails(math.nan, 1.0, before, guard)
    assert not fails(10.1, 1.0, before[:10], guard), "the first losses say little"
    assert not fails(10.1, 1.0, [*before, *[8.0] * 64], guard), "old losses are forgotten"


def test_a_model_that_knows_nearly_everything_may_lose_a_few_nats() -> None:
    guard = GuardConfig(spike_factor=3.0)
    before = [0.01] * 40

    assert not fails(2.9, 1.0, before, guard)
    assert fails(3.1, 1.0, before, guard)


def test_a_state_gives_back_what_was_taken_of_it(make: Callable[[], Learnable]) -> None:
    from training.schedule import make_optimizer
    from training.state import State

    network, _, config = make()
    state = State(
        weights=dict(network.named_parameters()),
        optimizer=make_optimizer(list(network.parameters()), config.optim),
        average_decay=0.5,
    )

    def step(loss: float) -> None:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, loss)
        state.take_step(loss, step_size=0.1)
        state.take_in_score(-loss)
        state.step += 1

    step(1.0)
    snapshot = state.snapshot()
    step(2.0)
    after = state.snapshot()
    state.restore(snapshot)
    assert state.snapshot().facts == snapshot.facts
    step(2.0)

    assert state.snapshot().facts == after.facts
    assert state.snapshot().tensors.keys() == after.tensors.keys()
    assert all(
        torch.equal(tensor, after.tensors[name])
        for name, tensor in state.snapshot().tensors.items()
    )
