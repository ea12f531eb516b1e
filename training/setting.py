"""Where a run takes place; nothing of it changes the result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.checkpoint import Checkpoints
from training.config.run import RunConfig
from training.errors import ArtifactError
from training.features.items import ItemFeatures
from training.fingerprint import fingerprint_of_code, fingerprint_of_items
from training.processes import ALONE, Processes
from training.state import Snapshot, State
from training.tracker import Tracker
from training.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who is told of a run, who takes part in it, and where its state is kept."""

    tracker: Tracker
    processes: Processes = ALONE
    """Those that take every step together, each with its share of the windows."""
    checkpoints: Checkpoints | None = None
    """Where a run that was killed finds its state."""

    def take_up(self, state: State, weights: Weights, num_steps: int) -> None:
        """Go on from the newest checkpoint, where there is one; all processes from the same.

        It may be of another number of processes, which kept their weights in another way. Raises
        ArtifactError where they do not share their folder of checkpoints.
        """
        if self.checkpoints is not None and (found := self.checkpoints.newest()) is not None:
            state.restore(replace(found, tensors=weights.own(found.tensors)))
            self.tracker.log_line(f"going on at step {state.step} of {num_steps}")
            if (before := found.facts["processes"]) != self.processes.count:
                self.tracker.log_line(
                    f"the checkpoint is of {before} processes, now there are "
                    f"{self.processes.count}: what comes out is the model of neither number"
                )
        (steps,) = self.processes.total(state.step)
        if steps != state.step * self.processes.count:
            raise ArtifactError(
                f"process {self.processes.rank} would go on at step {state.step}, others not: "
                "let all of them see the same folder of checkpoints"
            )

    def keep(self, snapshot: Snapshot, weights: Weights) -> None:
        """Write a checkpoint if it is time to; one process does it for all, with whole weights."""
        if self.checkpoints is None:
            return
        # by the clock of the one that writes, since all take part in putting weights together
        is_due = self.processes.is_first and self.checkpoints.is_due()
        if not self.processes.most(is_due):
            return
        whole = weights.whole(snapshot.tensors)
        if self.processes.is_first:
            facts = {**snapshot.facts, "processes": self.processes.count}
            self.checkpoints.offer(Snapshot(tensors=whole, facts=facts))

    def forget(self) -> None:
        """Remove the checkpoints of a run whose model is written."""
        if self.checkpoints is not None and self.processes.is_first:
            self.checkpoints.remove()


def checkpoints_of(
    root: Path | None, run: Mapping[str, Any], config: RunConfig, items: ItemFeatures
) -> Checkpoints | None:
    """Return the checkpoints below ``root`` of a run that is its config, its data and the code."""
    if root is None:
        return None
    whole = {
        **run,
        "config": config.to_json(),
        "items": fingerprint_of_items(items),
        "code": fingerprint_of_code(),
    }
    return Checkpoints(root, whole)
