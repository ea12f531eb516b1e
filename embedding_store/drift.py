"""How far a version's vectors moved as a whole, from what one pass over the parts leaves behind.

With ``n`` vectors ``x`` of a side: the mean norm, and the second moments ``C = sum(x x') / n``
(dim x dim). Neither knows ids, so users who came or went cost nothing to match.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embedding_store.contracts import SIDES, Float64, Side
from embedding_store.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class SideDrift:
    """How one side of a version differs from the same side of the reference."""

    norm_ratio: float
    """Mean norm over the reference's."""
    covariance_distance: float
    """Frobenius distance of the second moments, relative to the reference's own norm: 0 when equal,
    unbounded above."""

    @property
    def norm_agreement(self) -> float:
        """The ratio or its inverse, whichever is smaller: longer is as bad as shorter."""
        return min(self.norm_ratio, 1 / self.norm_ratio)


@dataclass(frozen=True, slots=True)
class _Moments:
    mean_norm: float
    second: Float64


def drift(version: Version, reference: Version) -> Mapping[Side, SideDrift]:
    """Return the drift of both sides; memory is that of one part and of dim x dim."""
    return {side: _drift(_moments(version, side), _moments(reference, side)) for side in SIDES}


def _moments(version: Version, side: Side) -> _Moments:
    dim, rows = version.manifest.dim, 0
    norms, second = 0.0, np.zeros((dim, dim))
    for record in version.manifest.parts(side):
        vectors = version.shard(record, side).vectors.astype(np.float64)
        norms += float(np.linalg.norm(vectors, axis=1).sum())
        second += vectors.T @ vectors
        rows += len(vectors)
    return _Moments(norms / rows, second / rows)


def _drift(new: _Moments, old: _Moments) -> SideDrift:
    distance = np.linalg.norm(new.second - old.second) / np.linalg.norm(old.second)
    return SideDrift(norm_ratio=new.mean_norm / old.mean_norm, covariance_distance=float(distance))
