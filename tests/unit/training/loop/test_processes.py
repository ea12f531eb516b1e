"""Processes that train together compute what one process with as many threads does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.artifact import load_model
from training.config.run import RunConfig
from training.pretrain import pretrain
from training.recipes import tiny


def four_threads() -> RunConfig:
    return replace(tiny(), num_threads=4)


def two_threads() -> RunConfig:
    return replace(tiny(), num_threads=2)


def one_thread() -> RunConfig:
    return tiny()


def torchrun(recipe: str, lake: Any, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments += ["--nproc-per-node", "2", "-m", "training", recipe]
    arguments += ["--data", str(lake.root), "--out", str(out), *more]
    arguments += ["--through", str(lake.days[1])]
    return subprocess.run(
        arguments,
        check=False,
        capture_output=True,
        text=True,
        # gloo looks for an interface by the host's name, which need not resolve
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def alone(small_lake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.unit.training.conftest import SilentTracker

    folder = tmp_path_factory.mktemp("alone")
    pretrain(small_lake.data(small_lake.days[1]), four_threads(), folder, SilentTracker())
    return folder


def test_two_processes_train_the_model_of_one(small_lake: Any, alone: Path, tmp_path: Path) -> None:
    done = torchrun(f"{__name__}:two_threads", small_lake, tmp_path / "model")
    assert done.returncode == 0, done.stderr

    one, two = load_model(alone), load_model(tmp_path / "model")
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    said = done.stderr
    assert said.count("pretraining on") == 1, "one process speaks for both"
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []


def test_a_model_of_shared_weights_is_a_model_like_any_other(
    small_lake: Any, tmp_path: Path
) -> None:
    from tests.unit.training.conftest import SilentTracker

    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    pretrain(small_lake.data(small_lake.days[1]), two_threads(), alone, SilentTracker())
    done = torchrun(f"{__name__}:one_thread", small_lake, shared, "--sharded")
    assert done.returncode == 0, done.stderr

    one, two = load_model(alone), load_model(shared)
    for name, want in one.network.state_dict().items():
        got = two.network.state_dict()[name]
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    said = [json.loads((folder / "metrics.json").read_text()) for folder in (alone, shared)]
    assert said[1] == pytest.approx(said[0], rel=0, abs=1e-5)
    assert [path.name for path in sorted(shared.iterdir())] == [
        path.name for path in sorted(alone.iterdir())
    ]
