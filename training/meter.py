"""What a run tells of its progress: the only use of the clock, and it reaches nothing kept."""

import time

import torch

from training.config.run import RunConfig
from training.packing import pack
from training.problem import Problem
from training.state import State
from training.tracker import Progress, Tracker
from training.utilisation import matmul_flops_per_s, model_flops, peak_memory_mib


class Meter:
    """Counts what a run has learned since it began, or since it went on."""

    def __init__(
        self,
        problem: Problem,
        config: RunConfig,
        *,
        num_epochs: int,
        num_steps: int,
        first: int,
    ) -> None:
        """Start the clock at step ``first`` of ``num_steps``."""
        lengths = problem.windows.lengths
        current = torch.from_numpy(pack(problem.windows).current_P)
        num_asked = int((problem.weight_TK[current] > 0).any(dim=1).sum())
        num_items = len(problem.items.ids)
        self._num_epochs, self._num_steps, self._first = num_epochs, num_steps, first
        self._num_threads = config.num_threads
        self._targets, self._positions = problem.num_targets, int(lengths.sum())
        self._flops = model_flops(config.model, lengths, num_asked=num_asked, num_items=num_items)
        self._started = time.monotonic()

    def report(
        self, tracker: Tracker, state: State, *, gradient_norm: float, learning_rate: float
    ) -> None:
        """Send one point of every curve, and now and then a line."""
        done = state.step + 1
        steps_per_s = (done - self._first) / (time.monotonic() - self._started)
        epochs_per_s = steps_per_s * self._num_epochs / self._num_steps
        peak = self._num_threads * matmul_flops_per_s(1)
        tracker.log_metrics(
            {
                "loss": state.losses[-1],
                "gradient_norm": gradient_norm,
                "learning_rate": learning_rate,
                "targets_per_s": epochs_per_s * self._targets,
                "positions_per_s": epochs_per_s * self._positions,
                "flops_utilisation": epochs_per_s * self._flops / peak,
                "peak_memory_mib": peak_memory_mib(),
            },
            step=state.step,
        )
        left_s = (self._num_steps - done) / steps_per_s
        tracker.log_progress(
            Progress(done=done, total=self._num_steps, loss=state.losses[-1], left_s=left_s)
        )
