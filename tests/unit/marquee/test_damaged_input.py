"""A damaged manifest, log entry, table or model is a typed error, or means what it meant before.

Files are damaged at random in many ways (``mutations``), each in a copy of its folder, and read as
the public API reads them: client, publisher, checks, model loader. Nothing else may come of it: no
other answer, no entry in the log, no code, no crash, no hang.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.training.conftest import small_lake, trained

__all__ = ["small_lake", "trained"]  # fixtures: a trained model

ROOT = Path(__file__).resolve().parents[3]


def outcomes(folder: Path, model: Path, *, count: int, seed: int) -> list[dict]:
    """Damage ``count`` files, one at a time, and return what came of each."""
    report = folder / "report.json"
    module = "tests.unit.marquee.damaging"
    numbers = [str(count), str(seed)]
    subprocess.run(
        [sys.executable, "-m", module, str(folder / "world"), str(model), *numbers, str(report)],
        cwd=ROOT,
        check=True,
        timeout=1800,
    )
    return json.loads(report.read_text())


def check_outcomes(found: list[dict], *, count: int) -> None:
    assert len(found) == count
    assert [one for one in found if one["outcome"].startswith("FAULT")] == []
    of_input = Counter((one["input"], one["outcome"] == "equal") for one in found)
    for name in ("store", "stabilised", "model"):
        assert sum(of_input[name, is_equal] for is_equal in (True, False)) >= count // 6
        assert of_input[name, False] > count / 12, of_input  # most damage is seen


def test_damaged_files_are_typed_errors(tmp_path: Path, trained: Path) -> None:
    check_outcomes(outcomes(tmp_path, trained, count=60, seed=0), count=60)


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_thousand_damaged_files_are_typed_errors(tmp_path: Path, trained: Path) -> None:
    """And a thousand of the first formats, in which some files are named by no digest."""
    check_outcomes(outcomes(tmp_path, trained, count=2_000, seed=1), count=2_000)
