import json
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.projection import reconcile
from tests.unit.feature_repo.small_world import SmallWorld

ROOT = Path(__file__).resolve().parents[3]


def watch(world: SmallWorld, *, last: int, kills: int, seed: int) -> dict:
    """Let a reader look on while versions 2 to ``last`` are switched to, the writer killed."""
    report = world.root / "report.json"
    module = "tests.unit.feature_repo.switching"
    numbers = [str(one) for one in (2, last, kills, seed)]
    subprocess.run(
        [sys.executable, "-m", module, str(world.root), *numbers, str(report)],
        cwd=ROOT,
        check=True,
        timeout=1800,
    )
    return json.loads(report.read_text())


def test_a_reader_meets_whole_versions_only_while_the_writer_is_killed(
    served: SmallWorld,
) -> None:
    outcome = watch(served, last=3, kills=4, seed=0)

    assert outcome["faults"] == []
    assert outcome["polls"] > 5
    assert outcome["killed"] > 3
    assert "v3" in outcome["seen"]
    assert reconcile(served.root).is_noop


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_reader_meets_whole_versions_only_through_a_hundred_kills(served: SmallWorld) -> None:
    outcome = watch(served, last=18, kills=6, seed=1)

    assert outcome["faults"] == []
    assert outcome["polls"] > 100
    assert outcome["killed"] > 100
    assert len(outcome["seen"]) > 8
