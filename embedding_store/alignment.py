"""The algebra of stabilisation, and whether vectors fit into a frame at all.

What a pass over users and items leaves is no larger than dim x dim; everything here follows from
it, and from a fixed probe of items. The formulas are in ``stabilise``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedding_store.contracts import EmbeddingShard, Float32, Float64
from embedding_store.similarity import (
    PROBE_ITEMS,
    common_rows,
    common_vectors,
    mean_cosine,
    probe_rows,
)
from embedding_store.versions import Version

GRAM_FLOOR = 1e-12
"""Smallest eigenvalue of a Gram matrix that counts, relative to the largest: below, float64 sums
hold only rounding."""
ROUNDING = 0.01
"""How far a cosine may lie above a threshold that it was found to be below when the same vectors
were rounded to float32 in another basis: 1e-7 where both sides span all axes, 0.006 at most of 80
worlds whose users or items span fewer, down to one of eight."""


@dataclass(slots=True)
class Sums:
    """What one pass over a side leaves: nothing larger than dim x dim."""

    gram: Float64
    total: Float64
    """The sum of the vectors."""
    cross: Float64
    """Common rows, new against reference."""
    common: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why vectors cannot be brought into a frame, in words and figures."""

    because: str
    figures: Mapping[str, Any]


def sums_of(
    parts: Iterable[EmbeddingShard], *, num_parts: int, dim: int, target: Version | None
) -> Sums:
    """Return the sums over the parts of a side; ``target`` has the same dim, or is None."""
    sums = Sums(np.zeros((dim, dim)), np.zeros(dim), np.zeros((dim, dim)), 0)
    for number, shard in enumerate(parts):
        sums.gram += gram_of(shard.vectors)
        sums.total += shard.vectors.sum(axis=0, dtype=np.float64)
        for old, new in common_vectors(shard, number, num_parts, target):
            sums.cross += new.astype(np.float64).T @ old.astype(np.float64)
            sums.common += len(new)
    return sums


def gram_of(vectors: Float32) -> Float64:
    """Return the Gram matrix of the rows, float64[dim, dim]."""
    wide = vectors.astype(np.float64)
    product: Float64 = wide.T @ wide
    return product


def factorise(items: Sums, users: Sums) -> tuple[Float64, Float64]:
    """Return M_T, its axes by falling singular value and so that items sum to a positive, and S.

    Both depend on the scores alone: a model with other axes opens the same frame.
    """
    item_root, user_root = _root(items.gram), _root(users.gram)
    _, values, right = np.linalg.svd(item_root @ user_root.T)
    item_map = user_root.T @ right.T / np.sqrt(values)
    signs = np.where(items.total @ item_map < 0, -1.0, 1.0)
    return item_map * signs, values


def counter(item_map: Float64) -> Float64:
    """Return the user map that undoes the item map in every score."""
    return np.asarray(np.linalg.inv(item_map).T, dtype=np.float64)


def rotation(items: Sums, users: Sums, item_map: Float64) -> Float64:
    """Return O, which turns both canonical sides to the reference's."""
    cross = item_map.T @ items.cross + counter(item_map).T @ users.cross
    left, _, right = np.linalg.svd(cross)
    found: Float64 = left @ right
    return found


def turned(vectors: Float32, matrix: Float64) -> Float32:
    """Return the vectors after a map, as they are stored."""
    return (vectors.astype(np.float64) @ matrix).astype(np.float32)


def other_dim(dim: int, target: Version) -> Misfit | None:
    """Return that the vectors are wider or narrower than the target's frame, if they are."""
    manifest = target.manifest
    if dim == manifest.dim:
        return None
    return Misfit(f"the vectors have dim {dim}, frame {manifest.frame} has dim {manifest.dim}", {})


def nothing_common(items: Sums, users: Sums, target: Version) -> Misfit | None:
    """Return that no row tells how to turn the vectors to the target, if none does."""
    if items.common or users.common:
        return None
    return Misfit(
        f"no user and no item in common with version {target.digest[:12]}",
        {"common_items": 0, "common_users": 0},
    )


def unlike(
    items: EmbeddingShard,
    item_map: Float64,
    target: Version,
    *,
    min_item_cosine: float,
    slack: float = 0.0,
) -> Misfit | None:
    """Return that turned items do not resemble the target's, if the probe says so."""
    rows_old, rows_new = common_rows(target.items.ids, items.ids)
    version = f"version {target.digest[:12]} of frame {target.manifest.frame}"
    if not len(rows_old):
        return Misfit(f"no item in common with {version}", {"common_items": 0})
    rows = probe_rows(items.ids.take(rows_new), PROBE_ITEMS)
    old, new = target.items.vectors[rows_old][rows], items.vectors[rows_new][rows]
    cosine = mean_cosine(old, turned(new, item_map))
    if cosine >= min_item_cosine + slack:
        return None
    return Misfit(
        f"the mean cosine of {len(rows)} items to those of {version} is {cosine:.4f}, below "
        f"{min_item_cosine:.4f}",
        {"common_items": len(rows_old), "item_mean_cosine": cosine},
    )


def misfit_of(version: Version, target: Version, *, min_item_cosine: float) -> Misfit | None:
    """Return why the vectors of a version cannot be brought into the target's frame, if so.

    The version may be of any frame: the canonical basis depends on the scores alone, which are the
    same in each.
    """
    dim = version.manifest.dim
    if (found := other_dim(dim, target)) is not None:
        return found
    records = version.manifest.parts("user")
    shards = (version.shard(one, "user") for one in records)
    users = sums_of(shards, num_parts=len(records), dim=dim, target=target)
    users.gram += gram_of(np.array([version.manifest.default_user], dtype=np.float32))
    items = sums_of([version.items], num_parts=1, dim=dim, target=target)
    if (found := nothing_common(items, users, target)) is not None:
        return found
    item_map, _ = factorise(items, users)
    item_map = item_map @ rotation(items, users, item_map)
    return unlike(version.items, item_map, target, min_item_cosine=min_item_cosine, slack=ROUNDING)


def _root(gram: Float64) -> Float64:
    """Return R with R'R = gram, its null directions floored."""
    values, vectors = np.linalg.eigh(gram)
    floored = np.sqrt(np.maximum(values, values[-1] * GRAM_FLOOR))
    root: Float64 = floored[:, None] * vectors.T
    return root
