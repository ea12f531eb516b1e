import subprocess
import sys
from pathlib import Path

import pytest

from lake.atomic import (
    commit_folder,
    create_file,
    move_folder,
    staged_folder,
    sweep_scratch,
    sweep_temporaries,
)


def gone_process() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_sweep_takes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    left = tmp_path / f"{gone_process()}-1"
    left.mkdir()
    (tmp_path / f".file.{gone_process()}-1.tmp").touch()
    with staged_folder(tmp_path) as staged:
        sweep_scratch(tmp_path)
        sweep_temporaries(tmp_path)
        assert list(tmp_path.iterdir()) == [staged]


def test_a_name_that_is_taken_is_not_written(tmp_path: Path) -> None:
    assert create_file(tmp_path / "one", b"first")
    assert not create_file(tmp_path / "one", b"second")
    assert (tmp_path / "one").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_folder_is_moved_onto_nothing_that_stands(tmp_path: Path) -> None:
    final = tmp_path / "final"
    final.mkdir()
    (final / "of somebody").write_text("else")
    with staged_folder(tmp_path / "tmp") as staged:
        (staged / "ours").touch()
        with pytest.raises(OSError, match="not empty"):
            move_folder(staged, final)
    assert [path.name for path in final.iterdir()] == ["of somebody"]


def test_what_stands_under_a_digest_and_is_damaged_is_replaced(tmp_path: Path) -> None:
    final = tmp_path / "digest"
    for _ in range(2):
        with staged_folder(tmp_path / "tmp") as staged:
            (staged / "data").write_text("whole")
            commit_folder(staged, final)
        assert [path.name for path in final.iterdir()] == ["data"]
        assert (final / "data").read_text() == "whole"
        (final / "data").write_text("damaged")
        (final / "more").touch()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "final").touch()
    with staged_folder(tmp_path / "tmp") as staged, pytest.raises(NotADirectoryError):
        commit_folder(staged, tmp_path / "final")
