"""Two real workers of Ray Train make the model that two processes of torchrun make."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lake.digests import digest_files
from tests.unit.training.loop.test_processes import one_thread, torchrun
from training.__main__ import main
from training.errors import ConfigError
from training.ray_buckets import start
from training.ray_train import pretrain_on_ray
from training.run import Run

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

pytestmark = [
    # what ray 2.60 leaves to the collector of the interpreter that it ran in
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # ray 2.60 sets old options of its own; drop with the release that does not
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]


def reports_in(path: Path) -> Any:
    """Return a callback that keeps what workers report; Ray calls it in a process of its own."""
    from ray.train import UserCallback

    class Reports(UserCallback):
        def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
            with path.open("a") as file:
                file.write(json.dumps(metrics) + "\n")

    return Reports()


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # gloo looks for an interface by the host's name, which need not resolve
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        start(ray, None, 2)
        yield
        ray.shutdown()


@pytest.fixture
def a_run(small_lake: Any, tmp_path: Path) -> Run:
    data = small_lake.data(small_lake.days[1])
    return Run(data=data, config=one_thread(), out=tmp_path / "model")


@pytest.mark.usefixtures("workers")
def test_two_workers_make_the_model_of_two_processes(
    a_run: Run, small_lake: Any, tmp_path: Path
) -> None:
    said = tmp_path / "reports.jsonl"
    recipe = "tests.unit.training.loop.test_processes:one_thread"
    done = torchrun(recipe, small_lake, tmp_path / "torchrun")
    assert done.returncode == 0, done.stderr

    made = pretrain_on_ray(a_run, num_workers=2, callbacks=[reports_in(said)])

    assert digest_files(made) == digest_files(tmp_path / "torchrun")
    reports = [json.loads(line) for line in said.read_text().splitlines()]
    steps = json.loads((made / "metrics.json").read_text())["num_steps"]
    assert {report["step"] for of_workers in reports for report in of_workers} == {0, steps - 1}
    assert all(report["loss"] > 0 for of_workers in reports for report in of_workers)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model", "torchrun", "reports.jsonl", "tmp"}
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.usefixtures("workers")
def test_what_a_worker_refuses_is_said(a_run: Run) -> None:
    two_threads = replace(a_run.config, num_threads=2)

    with pytest.raises(ConfigError, match="sharded weights want several processes, got one"):
        pretrain_on_ray(replace(a_run, config=two_threads, is_sharded=True), num_workers=1)
    assert not a_run.out.exists()


def test_no_workers_are_refused(a_run: Run) -> None:
    with pytest.raises(ConfigError, match="at least one worker: num_workers=0"):
        pretrain_on_ray(a_run, num_workers=0)


def test_without_ray_the_extra_is_named(
    small_lake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    given = ["tiny", "--data", str(small_lake.root), "--out", str(tmp_path / "model")]

    assert main([*given, "--ray-workers", "2"]) == 1
    assert "install the extra marquee[ray]" in caplog.text
