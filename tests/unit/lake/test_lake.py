import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from lake.errors import CorruptArtifactError, MissingArtifactError, UnknownFormatError
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


@pytest.mark.parametrize("key", ["refs/tokens/2026-02-01.json", "tombstones/a.json"])
def test_an_object_that_a_kill_left_half_written_is_swept(tmp_path: Path, key: str) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from lake.lake import Lake\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Lake(Path(sys.argv[1])).storage.objects.put({key!r}, b'half')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*.tmp"))) == 1

    Lake(tmp_path).sweep()

    assert not list(tmp_path.rglob("*.tmp"))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    (lake.path(ref) / "data.txt").write_text("two")
    with pytest.raises(CorruptArtifactError, match="want digest"):
        lake.verify(ref)


def test_a_rebuild_replaces_a_damaged_folder(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    (lake.path(ref) / "data.txt").write_text("onf")
    again = lake.build(step(code="other"), write_one).ref
    assert again.uri == ref.uri
    lake.verify(again)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_rebuild_keeps_a_folder_that_holds_the_same(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    before = (lake.path(ref) / "data.txt").stat()
    lake.build(step(code="other"), write_one)
    assert (lake.path(ref) / "data.txt").stat().st_ino == before.st_ino


def test_what_is_damaged_says_how_it_is_made_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    (lake.path(ref) / "data.txt").write_text("two")
    with pytest.raises(CorruptArtifactError, match=r"remove it and run the partition again"):
        lake.verify(ref)
    shutil.rmtree(lake.path(ref))
    with pytest.raises(MissingArtifactError, match=r"is gone: restore it"):
        lake.path(ref)
    lake.verify(lake.build(step(), write_one).ref)


@pytest.mark.parametrize("damaged", [b"", b'{"asset": "tok', b"[]", b"{}", b"\xff"])
def test_a_damaged_reference_is_named_with_what_helps(tmp_path: Path, damaged: bytes) -> None:
    lake = Lake(tmp_path)
    lake.build(step(), write_one)
    path = tmp_path / "refs" / "tokens" / "2026-02-01.json"
    path.write_bytes(damaged)
    for read in (lambda: lake.refs("tokens"), lambda: lake.build(step(), write_one)):
        with pytest.raises(CorruptArtifactError, match="want an artifact reference") as caught:
            read()
        assert str(path) in str(caught.value)
        assert "run the partition again" in str(caught.value)
    path.unlink()
    assert lake.build(step(), write_one).ref == lake.require("tokens", "2026-02-01")


def test_a_newer_reference_asks_for_an_upgrade(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.build(step(), write_one)
    path = tmp_path / "refs" / "tokens" / "2026-02-01.json"
    path.write_text('{"format_version": 2}')
    with pytest.raises(UnknownFormatError, match="want format 1, got 2"):
        lake.require("tokens", "2026-02-01")


def test_references_come_in_order_with_those_of_assets_without_days(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for partition in ("history", "2026-02-02", "2026-02-01"):
        lake.build(step(partition=partition), write_one)
    assert [ref.partition for ref in lake.refs("tokens")] == ["2026-02-01", "2026-02-02", "history"]
    assert [ref.partition for ref in lake.refs("tokens", through="2026-02-01")] == ["2026-02-01"]


def test_a_missing_partition_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match=r"tokens has no partition 2026-02-01: run"):
        Lake(tmp_path).require("tokens", "2026-02-01")


def test_no_permission_leaves_no_reference(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Lake(tmp_path).build(step(), write_one)


def _build_slowly(root: str, asset: str, waits_for: str) -> None:
    """Build one artifact that notes each writing, and ends once ``waits_for`` is being written."""

    def write(folder: Path) -> Written:
        with (Path(root) / f"{asset}.writings").open("a") as file:
            file.write("written\n")
        deadline = time.monotonic() + 30
        while not (Path(root) / f"{waits_for}.writings").exists():
            assert time.monotonic() < deadline, f"{waits_for} is not built meanwhile"
            time.sleep(0.01)
        time.sleep(0.3)
        return write_one(folder)

    built = Lake(Path(root)).build(step(asset=asset), write)
    (Path(root) / f"{asset}.{os.getpid()}.{built.is_skipped}").touch()


def _in_processes(*arguments: tuple[str, str, str]) -> None:
    context = get_context("spawn")
    builders = [context.Process(target=_build_slowly, args=one) for one in arguments]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
        assert builder.exitcode == 0


def test_two_processes_build_one_partition_once(tmp_path: Path) -> None:
    _in_processes(*[(str(tmp_path), "tokens", "tokens")] * 2)
    assert (tmp_path / "tokens.writings").read_text() == "written\n"
    assert sorted(path.suffix for path in tmp_path.glob("tokens.*.*e")) == [".False", ".True"]


def test_two_processes_build_two_partitions_side_by_side(tmp_path: Path) -> None:
    # each ends only while the other one is at work
    _in_processes((str(tmp_path), "tokens", "events"), (str(tmp_path), "events", "tokens"))
    assert {path.suffix for path in tmp_path.glob("*.*.*e")} == {".False"}


def test_lost_history_is_made_again_only_as_it_was(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ref = lake.build(step(), write_one).ref
    shutil.rmtree(lake.path(ref))

    def write_other(folder: Path) -> Written:
        (folder / "data.txt").write_text("other")
        return Written(rows=1)

    with pytest.raises(CorruptArtifactError, match=r"is history .* restore the folder"):
        lake.build(step(code="other"), write_other, is_history=True)
    assert lake.require("tokens", "2026-02-01") == ref
    again = lake.build(step(code="other"), write_one, is_history=True)
    assert again.ref.digest == ref.digest
    lake.verify(again.ref)


def test_a_partition_can_mean_again_what_it_meant_before(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = lake.build(step(), write_one).ref
    second = lake.build(step(code="other code"), write_one).ref
    assert first != second

    assert lake.restore("tokens", first.partition, is_wanted=lambda one: one == first) == first
    assert lake.require("tokens", first.partition) == first
    assert lake.restore("tokens", first.partition, is_wanted=lambda one: one == second) == second
    assert lake.restore("tokens", first.partition, is_wanted=lambda _: False) is None
    assert lake.require("tokens", first.partition) == second
    assert lake.restore("tokens", "2026-03-01", is_wanted=lambda _: True) is None
