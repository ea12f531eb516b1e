"""Buckets on two real workers of Ray, one of them killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lake.digests import digest_folder
from training.buckets import BucketMap, Result, one_by_one
from training.errors import ContractError, EngineError
from training.events.artifacts import write_catalogue, write_quarantined, write_raw, write_valid
from training.events.parts import part_file
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.ray_buckets import on_ray, start
from training.tokens.config import TokenizerConfig
from training.tokens.storage import write_tokens

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

WORLD = SimulatedWorld(WorldParameters(num_users=1_500, num_titles=200, num_days=3))
DAY = WORLD.first_day
AFTER = WORLD.parameters.last_day

# what ray 2.60 leaves to the collector of the interpreter that it ran in
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[BucketMap]:
    yield on_ray(num_cpus=2)
    ray.shutdown()


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lake.days import end_of

    root = tmp_path_factory.mktemp("arrived")
    for name in ("raw", "catalogue"):
        (root / name).mkdir()
    until = end_of(AFTER.isoformat())
    write_raw(WORLD, DAY, until, root / "raw", num_buckets=8)
    write_catalogue(WORLD, until, root / "catalogue")
    return root


def taken_in(arrived: Path, root: Path, each_bucket: BucketMap) -> dict[str, str]:
    for name in ("valid", "quarantined", "tokens"):
        (root / name).mkdir(parents=True)
    inputs = arrived / "raw", arrived / "catalogue", DAY
    write_valid(*inputs, root / "valid", each_bucket=each_bucket)
    write_quarantined(*inputs, root / "quarantined", each_bucket=each_bucket)
    config = TokenizerConfig(num_buckets=8)
    write_tokens(root / "valid", config, root / "tokens", each_bucket=each_bucket)
    return {name: digest_folder(root / name) for name in ("valid", "quarantined", "tokens")}


def dying_once(marker: Path, file: Path, function: Callable[[int], Result], bucket: int) -> Result:
    """Call the function; the worker that has bucket 3 first dies when its file is half done."""
    if bucket == 3 and not marker.exists():
        marker.touch()
        file.with_name(f".{file.name}.unfinished").write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return function(bucket)


def test_a_killed_worker_changes_no_byte(
    arrived: Path, tmp_path: Path, two_workers: BucketMap
) -> None:
    marker, file = tmp_path / "died", tmp_path / "ray" / "valid" / part_file(3)

    def killing(function: Callable[[int], Any], num_buckets: int, /) -> list[Any]:
        return two_workers(partial(dying_once, marker, file, function), num_buckets)

    here = taken_in(arrived, tmp_path / "here", one_by_one)
    there = taken_in(arrived, tmp_path / "ray", killing)

    assert marker.exists()
    assert there == here


def test_what_a_function_raises_is_raised_here(two_workers: BucketMap) -> None:
    def refuse(bucket: int) -> int:
        raise ContractError(f"bucket {bucket} is refused")

    with pytest.raises(ContractError, match="bucket 0 is refused"):
        two_workers(refuse, 1)


def die(bucket: int) -> int:
    """End the worker, at every attempt."""
    os.kill(os.getpid(), signal.SIGKILL)
    return bucket


def test_a_worker_that_dies_at_every_attempt_is_an_error_of_the_engine(
    two_workers: BucketMap,
) -> None:
    with pytest.raises(EngineError, match=r"ray: .*look at the workers, and run again"):
        two_workers(die, 1)


def slow_after_a_refusal(folder: Path, bucket: int) -> int:
    """Refuse bucket 0 once bucket 1 has begun, and go on writing there for a while."""
    begun = folder / "begun"
    if bucket == 0:
        while not begun.exists():
            time.sleep(0.01)
        raise ContractError("bucket 0 is refused")
    try:
        begun.touch()
        time.sleep(3)
    finally:  # whether or not a cancelled worker is interrupted
        time.sleep(1)
        (folder / "ended").touch()
    return bucket


def test_whoever_is_refused_gets_the_error_when_no_worker_writes_any_more(
    tmp_path: Path, two_workers: BucketMap
) -> None:
    with pytest.raises(ContractError, match="bucket 0 is refused"):
        two_workers(partial(slow_after_a_refusal, tmp_path), 2)

    assert (tmp_path / "ended").exists()


def test_results_come_in_the_order_of_buckets(two_workers: BucketMap) -> None:
    assert two_workers(lambda bucket: bucket * bucket, 5) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("fault", [ConnectionError("timeout"), ValueError("no address")])
def test_a_cluster_that_does_not_answer_is_named(fault: Exception) -> None:
    class Unreachable:
        def init(self, **_: object) -> None:
            raise fault

    with pytest.raises(
        EngineError, match=r"no cluster answers at ray://nowhere:1 \(.*\): start it"
    ):
        start(Unreachable(), "ray://nowhere:1", None)
