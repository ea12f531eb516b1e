import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lake.errors import CorruptArtifactError, MissingArtifactError
from lake.lake import Lake, Step, Written

CODE = "c0de"


def step(**changes: object) -> Step:
    fields = {
        "asset": "tokens",
        "partition": "2026-02-01",
        "schema_id": "tokens/1",
        "as_of": "2026-02-02T00:00:00+00:00",
        "code": CODE,
        **changes,
    }
    return Step(**fields)  # type: ignore[arg-type]


def write_one(folder: Path) -> Written:
    (folder / "data.txt").write_text("one")
    return Written(rows=1, figures={"rows": 1})


def test_equal_work_is_skipped(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    calls = []

    def write(folder: Path) -> Written:
        calls.append(folder)
        return write_one(folder)

    first, second = lake.build(step(), write), lake.build(step(), write)
    assert (first.is_skipped, second.is_skipped, len(calls)) == (False, True, 1)
    assert first.ref == second.ref == lake.require("tokens", "2026-02-01")


@pytest.mark.parametrize(
    "change", [{"code": "other"}, {"parameters": {"gap": 2}}, {"as_of": "2026-02-03"}]
)
def test_other_code_or_parameters_are_other_work(tmp_path: Path, change: dict[str, object]) -> None:
    lake = Lake(tmp_path)
    first = lake.build(step(), write_one).ref
    second = lake.build(step(**change), write_one)
    assert not second.is_skipped
    assert second.ref.logical_id != first.logical_id
    assert second.ref.digest == first.digest  # the same bytes, whatever made them


def test_another_input_is_other_work(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    upstream = lake.build(step(asset="events"), write_one).ref
    assert step(inputs=(upstream,)).logical_id != step().logical_id


def test_history_stays_when_its_inputs_change(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.build(step(), write_one).ref
    again = lake.build(step(code="other"), write_one, is_history=True)
    assert (again.ref, again.is_skipped, again.is_superseded) == (first, True, True)


def test_a_failed_step_leaves_what_was_there(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    before = lake.build(step(), write_one).ref

    def fail(folder: Path) -> Written:
        (folder / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        lake.build(step(code="other"), fail)
    assert lake.require("tokens", "2026-02-01") == before
    assert not list(tmp_path.rglob("half.txt"))


def test_a_killed_step_shows_nothing_and_runs_again(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from lake.lake import Lake, Step\n"
        "def write(folder):\n"
        "    (folder / 'half.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Lake(Path(sys.argv[1])).build(Step(asset='tokens', partition='2026-02-01', "
        f"schema_id='tokens/1', as_of='2026-02-02T00:00:00+00:00', code={CODE!r}), write)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    lake = Lake(tmp_path)
    assert lake.find("tokens", "2026-02-01") is None
    assert lake.build(step(), write_one).ref.rows == 1
    lake.sweep()
    assert not list(tmp_path.rglob("half.txt"))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    (lake.path(ref) / "data.txt").write_text("two")
    with pytest.raises(CorruptArtifactError, match="want digest"):
        lake.verify(ref)


def test_a_missing_partition_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match=r"tokens has no partition 2026-02-01: run"):
        Lake(tmp_path).require("tokens", "2026-02-01")


def test_no_permission_leaves_no_reference(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Lake(tmp_path).build(step(), write_one)
