"""What an encoding does to scores, measured on a probe of what was just written."""

from pathlib import Path

import numpy as np

from embedding_store.contracts import EmbeddingShard, Float32, Float64, Side
from embedding_store.dtypes import DEFAULT_DTYPE, encoding_of
from embedding_store.errors import ContractError
from embedding_store.parts import parts_of, read_default_user, read_shard
from embedding_store.versions import DEFAULT_USER_FILE

PROBE_USERS = 256
PROBE_ITEMS = 2048


def require_scores_kept(exact: Path, stored: Path, dim: int, dtype: str) -> float | None:
    """Return the score error of a staged folder against the one that it was made of.

    Raises ContractError where it is more than the dtype's tolerance. None of float32, whose files
    are those that it was made of. Two digits, rounded up: machines differ in the last ones of a
    product, and the figure is part of the version's digest.
    """
    if dtype == DEFAULT_DTYPE:
        return None
    tolerance = encoding_of(dtype).score_tolerance
    error = largest_change(_scores(exact, dim, DEFAULT_DTYPE), _scores(stored, dim, dtype))
    if not error <= tolerance:
        raise ContractError(
            f"embeddings, rule score_error: {dtype} changes scores by {error:.1e} of the largest "
            f"one, more than {tolerance:.0e}: store these vectors as another dtype"
        )
    return _rounded_up(error)


def largest_change(want: Float64, got: Float64) -> float:
    """Return the largest change of a score, relative to the largest score."""
    largest = np.abs(want).max()
    return float(np.abs(got - want).max() / largest) if largest else 0.0


def _scores(folder: Path, dim: int, dtype: str) -> Float64:
    """Return the scores of the default user and of some users and items, float64."""
    default = read_default_user(folder / DEFAULT_USER_FILE, dim, dtype).vectors
    users = _some(_first(folder, "user", dim, dtype), PROBE_USERS)
    items = _some(_first(folder, "item", dim, dtype), PROBE_ITEMS)
    wide = np.concatenate([default, users]).astype(np.float64)
    scores: Float64 = wide @ items.astype(np.float64).T
    return scores


def _first(folder: Path, side: Side, dim: int, dtype: str) -> EmbeddingShard:
    """Return the first part that has any rows; staging has made sure that there is one."""
    parts = (read_shard(one.path, side, dim, dtype) for one in parts_of(folder / side, side))
    return next(part for part in parts if part.table.num_rows)


def _some(shard: EmbeddingShard, count: int) -> Float32:
    rows = np.linspace(0, len(shard.vectors) - 1, min(count, len(shard.vectors)), dtype=np.int64)
    return shard.vectors[rows]


def _rounded_up(error: float) -> float:
    if not error:
        return 0.0
    digits = 10.0 ** (np.floor(np.log10(error)) - 1)
    return float(f"{np.ceil(error / digits) * digits:.1e}")
