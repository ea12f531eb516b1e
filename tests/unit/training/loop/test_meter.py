"""What a run says of its speed."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.training.loop.conftest import Learnable, run
from training.config.model import ModelConfig
from training.model.backbone import Backbone
from training.model.jagged import Layout
from training.model.sight import Instants
from training.setting import Setting
from training.terminal import terminal_tracker
from training.tracker import Progress
from training.utilisation import matmul_flops_per_s, model_flops, peak_memory_mib


@pytest.mark.parametrize(
    "changes", [{}, {"feed_forward": "plain"}, {"block": "sasrec"}, {"block": "hstu"}]
)
def test_the_operations_are_those_that_torch_counts(changes: dict[str, Any]) -> None:
    model = replace(ModelConfig(), model_dim=64, num_layers=3, hidden_dim=96, **changes)
    lengths = np.full(7, 40)
    backbone = Backbone(model)
    x_PD = torch.randn(int(lengths.sum()), 64, requires_grad=True)
    unknown = torch.full((len(x_PD),), torch.nan, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        backbone(x_PD, Layout.of(lengths), Instants(unknown, unknown)).sum().backward()

    # torch's attention computes what a position must not see, and computes scores twice
    of_pairs = 3 * 2 * 3 * 64 * float((lengths * (lengths + 1)).sum())
    ours = model_flops(model, lengths, num_asked=0, num_items=0)
    assert ours - of_pairs <= counter.get_total_flops() <= ours + 2 * of_pairs


def test_logits_are_most_of_a_small_model() -> None:
    without = model_flops(ModelConfig(), np.array([10]), num_asked=0, num_items=1000)
    whole = model_flops(ModelConfig(), np.array([10]), num_asked=4, num_items=1000)

    assert whole - without == 3 * 2 * 4 * 1000 * 64


def test_what_a_machine_can_do_is_measured_once() -> None:
    assert matmul_flops_per_s(1) > 1e8
    assert matmul_flops_per_s(1) == matmul_flops_per_s(1)
    assert peak_memory_mib() > 10


def test_a_run_says_what_share_of_its_machine_it_uses(
    make: Callable[[], Learnable], tracker: Any
) -> None:
    run(make(), Setting(tracker=tracker), num_epochs=4)

    _, point = tracker.metrics[-1]
    assert 0.0 < point["flops_utilisation"] < 1.0
    assert point["positions_per_s"] > 0.0


def test_a_person_sees_a_bar_and_the_lines_above_it() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with terminal_tracker(console) as tracker:
        tracker.log_line("pretraining on [something]")
        tracker.log_metrics({"validation": 0.25}, step=7)
        tracker.log_progress(Progress(done=7, total=10, loss=1.5, left_s=3.0))

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "pretraining on [something]" in shown
    assert "step 7  validation 0.2500" in shown
    assert "7/10" in shown
    assert "loss 1.500" in shown
