"""Two processes that share the weights out learn what one process learns, with half of it each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from tests.unit.training.conftest import SilentTracker
from tests.unit.training.loop.conftest import Learnable, run
from tests.unit.training.loop.sharing import RUNS, Job, take_part, write_jobs
from training.errors import ConfigError
from training.processes import Processes
from training.setting import Setting


def torchrun(lake: Any, folder: Path, *jobs: Job) -> subprocess.CompletedProcess[str]:
    write_jobs(folder / "jobs.json", lake, *jobs)
    arguments = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments += ["--nproc-per-node", "2", "-m", "tests.unit.training.loop.sharing"]
    return subprocess.run(
        [*arguments, str(folder / "jobs.json")],
        check=False,
        capture_output=True,
        text=True,
        # gloo looks for an interface by the host's name, which need not resolve
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
    )


def said_of(folder: Path, rank: int = 0) -> Any:
    return json.loads((folder / f"{rank}.json").read_text())


def weights_of(folder: Path, rank: int = 0) -> bytes:
    return (folder / f"{rank}.safetensors").read_bytes()


@pytest.fixture(scope="module")
def shared(small_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes say of every run."""
    folder = tmp_path_factory.mktemp("shared")
    done = torchrun(small_lake, folder, *(Job(name, str(folder / name)) for name in RUNS))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(small_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process of two threads says of every run."""
    folder = tmp_path_factory.mktemp("alone")
    for name in RUNS:
        take_part(small_lake, Job(name, str(folder / name)), num_threads=2)
    return folder


def assert_alike(one: Any, other: Any) -> None:
    assert other["losses"] == pytest.approx(one["losses"], rel=0, abs=1e-5)
    assert other["scores"] == pytest.approx(one["scores"], rel=0, abs=1e-5)
    assert other["trained"] == pytest.approx(one["trained"], rel=0, abs=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_every_loss_is_that_of_one_process(shared: Path, alone: Path, name: str) -> None:
    one, two = said_of(alone / name), said_of(shared / name)

    assert len(one["losses"]) >= 20
    assert_alike(one, two)
    for key, want in load(weights_of(alone / name)).items():
        got = load(weights_of(shared / name))[key]
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_what_is_tried_here_happens(shared: Path) -> None:
    assert said_of(shared / "spike")["trained"]["num_skipped"] == 1
    averaged = said_of(shared / "averaged")
    assert averaged["trained"]["num_steps"] < 5 * RUNS["averaged"]["num_epochs"], "it stops early"
    norms = said_of(shared / "clipped")["norms"].values()
    assert min(norms) > RUNS["clipped"]["optim"]["clip_norm"]


@pytest.mark.parametrize("name", RUNS)
def test_each_process_keeps_half(shared: Path, alone: Path, name: str) -> None:
    whole = said_of(alone / name)["kept"]
    halves = [said_of(shared / name, rank)["kept"] for rank in (0, 1)]

    for what in ("weights", "gradients", "moments"):
        for half in halves:
            assert half[what] == pytest.approx(whole[what] / 2, rel=0.03)
        # cut, not copied, but for the bias of unknown items
        assert sum(half[what] for half in halves) == whole[what] + 1


def test_both_processes_end_with_the_whole_model(shared: Path) -> None:
    for name in RUNS:
        assert weights_of(shared / name, 0) == weights_of(shared / name, 1)


@pytest.fixture(scope="module")
def resumed(small_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that go on: from what two killed processes left, and from what one process left."""
    folder = tmp_path_factory.mktemp("resumed")
    left, by_one = folder / "left", folder / "left by one"
    done = torchrun(
        small_lake, folder, Job("killed", str(folder / "never"), str(left), killed_at=7)
    )
    assert done.returncode != 0
    assert not list(folder.glob("never/*"))
    take_part(small_lake, Job("killed", str(folder / "one"), str(by_one)), num_threads=2)
    jobs = [
        Job("killed", str(folder / "shared"), str(shutil.copytree(left, folder / "a"))),
        Job("killed", str(folder / "whole"), str(left), is_sharded=False),
        Job("killed", str(folder / "from one"), str(by_one)),
    ]
    alone = Job("killed", str(folder / "alone"), str(shutil.copytree(left, folder / "b")))
    done = torchrun(small_lake, folder, *jobs)
    assert done.returncode == 0, done.stderr
    take_part(small_lake, alone, num_threads=2)
    return folder


def test_killed_and_resumed_is_uninterrupted(shared: Path, resumed: Path) -> None:
    want, got = said_of(shared / "killed"), said_of(resumed / "shared")

    assert any(line.startswith("going on at step 6 of ") for line in got["lines"])
    assert got["trained"] == want["trained"]
    assert weights_of(resumed / "shared") == weights_of(shared / "killed")


@pytest.mark.parametrize("how", ["alone", "whole", "from one"])
def test_a_run_goes_on_however_its_weights_were_kept(shared: Path, resumed: Path, how: str) -> None:
    want, got = said_of(shared / "killed"), said_of(resumed / how)

    assert any(line.startswith("going on at step ") for line in got["lines"])
    is_other_number = any("the model of neither number" in line for line in got["lines"])
    assert is_other_number == (how != "whole")
    assert 0 < got["kept"]["steps"] < want["kept"]["steps"], "it does not begin anew"
    assert got["trained"] == pytest.approx(want["trained"], rel=0, abs=1e-5)


def test_several_threads_of_a_process_are_refused(make: Callable[[], Learnable]) -> None:
    both = Processes(rank=0, count=2, is_sharded=True)

    with pytest.raises(ConfigError, match="sharded weights want num_threads=2 to be 1"):
        run(make(), Setting(tracker=SilentTracker(), processes=both), num_threads=2)


def test_one_process_has_nobody_to_share_with() -> None:
    with pytest.raises(ConfigError, match="want several processes, got one"):
        Processes(rank=0, count=1, is_sharded=True)
