from pathlib import Path

import numpy as np
import pytest

from embedding_store.dtypes import ENCODINGS
from embedding_store.errors import ContractError
from embedding_store.parts import read_shard, write_part
from embedding_store.score_error import require_scores_kept
from tests.unit.embedding_store.small_world import SmallWorld, write_side


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_the_figure_is_that_of_the_scores_and_within_the_tolerance(
    world: SmallWorld, dtype: str
) -> None:
    world.dtype = "float32"
    exact = world.staged(0)
    world.dtype = dtype
    stored = world.staged(0)
    scores = [
        np.concatenate(
            [
                np.array([one.manifest.default_user]),
                one.shard(one.manifest.parts("user")[0], "user").vectors,
            ]
        )
        @ one.items.vectors.T.astype(np.float64)
        for one in (exact, stored)
    ]
    want = np.abs(scores[1] - scores[0]).max() / np.abs(scores[0]).max()
    assert want <= stored.manifest.score_error <= 1.1 * want
    assert 0 < stored.manifest.score_error < ENCODINGS[dtype].score_tolerance
    assert float(f"{stored.manifest.score_error:.1e}") == stored.manifest.score_error


def test_float32_has_no_error(world: SmallWorld) -> None:
    assert world.staged(0).manifest.score_error is None
    assert require_scores_kept(world.folder, world.folder, 8, "float32") is None


def uneven(folder: Path, ratio: float) -> None:
    """Users and items whose long axes meet the other side's short ones."""
    for side, (long, short) in {"user": (0, 1), "item": (1, 0)}.items():
        vectors = np.zeros((3, 2), np.float32)
        vectors[:, long] = ratio
        vectors[:, short] = np.linspace(0.123, 0.456, 3) / ratio
        write_side(folder / side / "part-0.parquet", side, ["a", "b", "c"], vectors)
    write_side(folder / "user_default.parquet", "user", [""], np.array([[ratio, 0.321 / ratio]]))


@pytest.mark.parametrize(("dtype", "ratio"), [("float16", 6e4), ("int8", 1e2)])
def test_a_dtype_that_loses_the_scores_is_refused(tmp_path: Path, dtype: str, ratio: float) -> None:
    """Every score is a sum of two small numbers, each a product of a large and a tiny one."""
    exact, stored = tmp_path / "exact", tmp_path / "stored"
    uneven(exact, ratio)
    for path in sorted(exact.rglob("*.parquet")):
        side = "item" if path.parent.name == "item" else "user"
        shard = read_shard(path, side, 2).stored_as(dtype)
        write_part(stored / path.relative_to(exact), shard.table)
    with pytest.raises(ContractError, match=f"score_error: {dtype} changes scores by .* more than"):
        require_scores_kept(exact, stored, 2, dtype)
