"""A run that is killed and goes on ends where an undisturbed one does, to the last bit."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lake.atomic import replace_json
from lake.sealed import json_object, sealed, unsealed
from tests.unit.training.conftest import SilentTracker
from tests.unit.training.loop.conftest import Learnable, are_equal, run, weights_of
from training import checkpoint
from training.checkpoint import Checkpoints
from training.config.optim import GuardConfig
from training.setting import Setting
from training.state import Snapshot
from training.stopping import keep_back, newest_targets

CHANGES: dict[str, Any] = {
    "guard": GuardConfig(snapshot_steps=3),
    "optim": {"average_decay": 0.9},
    "num_epochs": 4,
    "batch_tokens": 64,
}


def checkpoints(folder: Path, **run: Any) -> Checkpoints:
    return Checkpoints(folder, {"what": "test", **run}, every_s=0.0)


def with_kept_back(problem: Learnable, lake: Any) -> Learnable:
    network, learned, config = problem
    histories = lake.data(lake.days[1]).histories()
    kept = newest_targets(histories, learned.weight_TK[:, 0].numpy() > 0, one_in=2)
    asked = keep_back(learned.items, learned.tokens, kept, max_len=32)
    return network, replace(learned, kept_back=asked), config


def train_until(problem: Learnable, folder: Path, step: int) -> None:
    """Train in a process that kills itself before a step is taken."""
    network, learned, config = problem
    steps = 0
    taken = torch.optim.AdamW.step

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal steps
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return taken(*arguments, **named)

    torch.optim.AdamW.step = counted  # type: ignore[method-assign]
    setting = Setting(tracker=SilentTracker(), checkpoints=checkpoints(folder))
    run((network, learned, config), setting, **CHANGES)


@pytest.mark.parametrize("step", [1, 4, 9, 17])
def test_killed_and_resumed_is_uninterrupted(
    small_lake: Any, make: Callable[[], Learnable], tracker: Any, tmp_path: Path, step: int
) -> None:
    undisturbed = with_kept_back(make(), small_lake)
    want = run(undisturbed, Setting(tracker=tracker), **CHANGES)
    assert want.num_steps > step
    killed = with_kept_back(make(), small_lake)

    # forked from this process, which has everything imported
    child = multiprocessing.get_context("fork").Process(
        target=train_until, args=(killed, tmp_path, step)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    resumed = with_kept_back(make(), small_lake)
    got = run(resumed, Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)

    assert any(line.startswith(f"going on at step {step // 3 * 3} ") for line in tracker.lines)
    assert got == want
    assert are_equal(weights_of(resumed[0]), weights_of(undisturbed[0]))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    make: Callable[[], Learnable],
    tracker: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = make()
    want = run(whole, Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)
    *_, older, newest = sorted(checkpoints(tmp_path).folder.glob("*.safetensors"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))

    again = make()
    got = run(again, Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)

    assert f"{newest.with_suffix('.json')}" in caplog.text
    assert f"going on at step {int(older.stem)} " in tracker.lines[-2]
    assert got == want
    assert are_equal(weights_of(again[0]), weights_of(whole[0]))


def snapshot(step: int) -> Snapshot:
    return Snapshot(tensors={"weight": torch.full((2,), float(step))}, facts={"step": step})


def test_damaged_checkpoints_of_later_steps_make_room_for_new_ones(tmp_path: Path) -> None:
    for step in (24, 27):
        checkpoints(tmp_path).write(snapshot(step))
    for path in checkpoints(tmp_path).folder.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert checkpoints(tmp_path).newest() is None

    for step in (3, 6, 9):
        checkpoints(tmp_path).write(snapshot(step))

    found = checkpoints(tmp_path).newest()
    assert found is not None
    assert found.step == 9
    assert {path.stem for path in tmp_path.glob("*/*")} == {"00000006", "00000009"}


@pytest.mark.parametrize("name", ["format_version", "state", "tensors"])
def test_a_checkpoint_without_a_field_is_passed_over(tmp_path: Path, name: str) -> None:
    checkpoints(tmp_path).write(snapshot(3))
    (path,) = tmp_path.glob("*/*.json")
    facts = unsealed(json_object(path.read_bytes()))
    del facts[name]
    replace_json(path, sealed(facts))

    assert checkpoints(tmp_path).newest() is None


def test_tensors_without_their_other_half_are_no_checkpoint(
    make: Callable[[], Learnable], tracker: Any, tmp_path: Path
) -> None:
    run(make(), Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)
    for path in checkpoints(tmp_path).folder.glob("*.json"):
        path.unlink()

    assert checkpoints(tmp_path).newest() is None


def test_only_the_newest_two_are_kept_and_none_of_a_run_that_is_over(
    make: Callable[[], Learnable], tracker: Any, tmp_path: Path
) -> None:
    setting = Setting(tracker=tracker, checkpoints=checkpoints(tmp_path))
    run(make(), setting, **CHANGES)

    assert len(list(tmp_path.glob("*/*.json"))) == 2
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 2
    setting.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_go_on_from_another_one(
    make: Callable[[], Learnable], tracker: Any, tmp_path: Path
) -> None:
    run(make(), Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)

    assert checkpoints(tmp_path, seed=2).newest() is None
    assert checkpoints(tmp_path).newest() is not None


def test_what_nobody_took_up_again_is_removed_after_a_week(
    make: Callable[[], Learnable], tracker: Any, tmp_path: Path
) -> None:
    run(make(), Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)
    forgotten = checkpoints(tmp_path).folder
    checkpoints(tmp_path, seed=2)
    assert forgotten.exists()

    for path in forgotten.iterdir():
        os.utime(path, (path.stat().st_mtime - 8 * 24 * 3600,) * 2)
    checkpoints(tmp_path)
    assert forgotten.exists(), "its own run takes it up"
    checkpoints(tmp_path, seed=2)
    assert not forgotten.exists()


def test_a_full_disk_ends_no_run(
    make: Callable[[], Learnable],
    tracker: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(checkpoint, "replace_file", full)
    problem, undisturbed = make(), make()
    run(problem, Setting(tracker=tracker, checkpoints=checkpoints(tmp_path)), **CHANGES)
    run(undisturbed, Setting(tracker=tracker), **CHANGES)

    assert "no checkpoint of step 3: [Errno 28] No space left on device" in caplog.text
    assert are_equal(weights_of(problem[0]), weights_of(undisturbed[0]))


@pytest.mark.parametrize("name", ["data", "0123456789abcdef"])
def test_what_is_no_checkpoint_stays_however_old(tmp_path: Path, name: str) -> None:
    """A folder that a person names may hold anything."""
    other = tmp_path / name / "thesis.json"
    other.parent.mkdir()
    other.write_text("{}")
    os.utime(other, (0, 0))
    (tmp_path / "empty").mkdir()
    checkpoints(tmp_path)

    assert other.exists()
    assert (tmp_path / "empty").exists()
