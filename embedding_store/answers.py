"""What a look-up answers, and the one rule of using two answers together.

The same types answer from the store and through Feast, so a consumer can change between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedding_store.contracts import Float32
from embedding_store.errors import MixedVersionsError

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings of users or items, all of one version, in the order they were asked for."""

    ids: Sequence[str]
    is_found: Bool
    """bool[N]: False where the version has no such id."""
    vectors: Float32
    """float32[N, dim]; where not found the version's default vector of users, zeros of items."""
    version: str


@dataclass(frozen=True, slots=True)
class TopItems:
    """The items with the highest scores for each of N vectors, best first."""

    ids: npt.NDArray[np.object_]
    """str[N, k]."""
    scores: Float32
    """float32[N, k]: inner products, which are the model's logits."""
    version: str


class ScoredItem(NamedTuple):
    """An item and its score."""

    item_id: str
    score: float


def require_one_version(*answers: Embeddings | TopItems) -> str:
    """Return the version that all of them are of; raises MixedVersionsError."""
    versions = sorted({one.version for one in answers})
    if len(versions) != 1:
        raise MixedVersionsError(
            f"embeddings of {' and '.join(versions)} cannot be compared: look them up again from "
            "one pinned version"
        )
    return versions[0]
