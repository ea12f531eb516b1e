"""A day's serving killed at every named step: run once more it is done, and no reader noticed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.feature_repo.killing import STEPS

ROOT = Path(__file__).resolve().parents[3]


def killed(folder: Path, *, runs: int) -> dict:
    """Kill the serving of a day ``runs`` times at every step; return what was met."""
    report = folder / "report.json"
    module = "tests.unit.feature_repo.killing"
    subprocess.run(
        [sys.executable, "-m", module, str(folder), str(runs), str(report)],
        cwd=ROOT,
        check=True,
        timeout=3000,
    )
    return json.loads(report.read_text())


def check_every_kill(met: dict, *, runs: int) -> None:
    undisturbed = met["undisturbed"]
    assert undisturbed["kinds"] == ["version_published", "alias_set", "alias_set"] * 2
    assert undisturbed["noop"]
    assert undisturbed["problems"] == []
    assert len(STEPS) == 9
    assert len(met["outcomes"]) == 9 * runs
    for outcome in met["outcomes"]:
        assert outcome["is_killed"], outcome["step"]
        assert outcome["faults"] == [], outcome["step"]
        for who, seen in outcome["seen"].items():
            assert {*seen} <= {"v1", "v2"}, (outcome["step"], who)
            assert seen == sorted(seen), (outcome["step"], who)
            assert seen[-1] == "v2", (outcome["step"], who)
        assert outcome["left"] == undisturbed, outcome["step"]


def test_a_day_killed_at_every_named_step_is_finished_by_the_same_call(tmp_path: Path) -> None:
    check_every_kill(killed(tmp_path, runs=1), runs=1)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_a_day_killed_twenty_times_at_every_named_step(tmp_path: Path) -> None:
    check_every_kill(killed(tmp_path, runs=20), runs=20)
