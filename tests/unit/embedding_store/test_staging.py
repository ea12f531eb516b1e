import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_store.errors import ContractError, StabilisationError
from embedding_store.staging import ActiveUsers, stage
from embedding_store.versions import Version
from tests.unit.embedding_store.small_world import DIM, SmallWorld, record_again, write_side


def staged(world: SmallWorld, folder: Path, active: ActiveUsers | None = None) -> Version:
    users = active or ActiveUsers("any token", world.raw.user_ids)
    return stage(world.store, folder, origin=world.origin(0), active_users=users)


def test_a_staged_version_is_committed_but_nobody_is_told(world: SmallWorld) -> None:
    version = staged(world, world.stabilised(0))
    version.verify()
    assert version.folder == world.store.version_folder(version.digest)
    assert world.store.state().seq == 0
    assert not world.unfinished()


def test_staging_again_gives_the_same_version(world: SmallWorld) -> None:
    one, other = staged(world, world.stabilised(0)), staged(world, world.stabilised(0))
    assert one.digest == other.digest
    assert one.manifest == other.manifest


def test_the_digest_covers_where_a_version_comes_from(world: SmallWorld) -> None:
    one = staged(world, world.stabilised(0))
    users = ActiveUsers("any token", world.raw.user_ids)
    other = stage(world.store, world.stabilised(0), origin=world.origin(1), active_users=users)
    assert one.digest != other.digest


def test_a_later_change_of_the_input_leaves_the_version_alone(world: SmallWorld) -> None:
    version = staged(world, world.stabilised(0))
    (world.stabilised(0) / "item/part-0.parquet").write_bytes(b"")
    version.verify()


def test_coverage_counts_the_required_users_that_are_there(
    world: SmallWorld, tmp_path: Path
) -> None:
    required = [*world.raw.user_ids[:9], "stranger", "stranger"]
    coverage = staged(world, world.stabilised(0), ActiveUsers("x", required)).manifest.coverage
    assert (coverage.required, coverage.covered, coverage.share) == (10, 9, 0.9)
    pq.write_table(pa.table({"user_id": required, "day": range(11)}), tmp_path / "active.parquet")
    from_file = staged(world, world.stabilised(0), ActiveUsers("x", tmp_path / "active.parquet"))
    assert from_file.manifest.coverage == coverage


def test_requiring_nobody_is_full_coverage(world: SmallWorld) -> None:
    assert staged(world, world.stabilised(0), ActiveUsers("x", [])).manifest.coverage.share == 1.0


@pytest.mark.parametrize("odd", [np.nan, 0.0], ids=["not finite", "zero"])
def test_a_broken_contract_commits_nothing(world: SmallWorld, tmp_path: Path, odd: float) -> None:
    broken = Path(shutil.copytree(world.stabilised(0), tmp_path / "broken"))
    write_side(broken / "item/part-0.parquet", "item", ["a"], np.full((1, DIM), odd))
    record_again(broken)
    with pytest.raises(ContractError, match="item 'a'"):
        staged(world, broken)
    assert not list(world.store.objects.list("versions"))
    assert not world.unfinished()


def test_a_side_without_a_row_is_refused(world: SmallWorld, tmp_path: Path) -> None:
    empty = Path(shutil.copytree(world.stabilised(0), tmp_path / "empty"))
    write_side(empty / "item/part-0.parquet", "item", [], np.empty((0, DIM)))
    record_again(empty)
    with pytest.raises(ContractError, match="at least one item"):
        staged(world, empty)


def test_vectors_that_are_not_those_that_were_stabilised_are_refused(
    world: SmallWorld, tmp_path: Path
) -> None:
    for number, name in enumerate(["item/part-0.parquet", "user/part-1.parquet"]):
        changed = Path(shutil.copytree(world.stabilised(0), tmp_path / str(number)))
        data = (changed / name).read_bytes()
        (changed / name).write_bytes(data.replace(data[400:401], bytes([data[400] ^ 1]), 1))
        with pytest.raises(StabilisationError, match=f"{name} is missing or not as it was"):
            staged(world, changed)
    assert not list(world.store.objects.list("versions"))
