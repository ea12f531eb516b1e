"""How alike two versions' vectors are, on a probe that stays the same from day to day."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from embedding_store.contracts import EmbeddingShard, Float32, Float64, Ids, Side, strings
from embedding_store.versions import Version
from lake.hashing import keyed_hash

PROBE_ITEMS = 256
PROBE_USERS = 256
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Agreement of a new version with an older one."""

    item_mean_cosine: float
    """Mean over probe items of the cosine between an item's old and its new vector."""
    item_overlap_at_10: float
    """Mean share of a probe item's ten nearest old vectors that are also among the ten nearest new
    vectors *to its old vector*: what somebody who trained on the old space would still find."""
    user_mean_cosine: float | None
    """Mean over probe users; None when no user is common."""
    probe_items: int
    probe_users: int


def common_rows(old: Ids, new: Ids) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the rows of the ids that both hold, in ``old`` and in ``new``, in ``new``'s order."""
    found = pc.index_in(new, value_set=old)
    is_common = pc.is_valid(found)
    rows_new = np.flatnonzero(is_common.to_numpy(zero_copy_only=False))
    rows_old = pc.drop_null(found).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows_old, rows_new


def counterparts(
    side: Side, number: int, num_parts: int, target: Version
) -> Iterator[EmbeddingShard]:
    """Yield the target's parts that can hold ids of part ``number``.

    Doubling the buckets splits each in two, so other numbers of buckets are no obstacle.
    """
    if side == "item":
        yield target.items
        return
    parts = target.manifest.parts("user")
    for bucket in range(number % len(parts), len(parts), num_parts):
        yield target.shard(parts[bucket], "user")


def common_vectors(
    shard: EmbeddingShard, number: int, num_parts: int, target: Version | None
) -> Iterator[tuple[Float32, Float32]]:
    """Yield the vectors of part ``number`` that the target holds too, as (old, new)."""
    if target is None or not shard.table.num_rows:
        return
    for other in counterparts(shard.side, number, num_parts, target):
        rows_old, rows_new = common_rows(other.ids, shard.ids)
        if len(rows_old):
            yield other.vectors[rows_old], shard.vectors[rows_new]


def user_probe(
    users: EmbeddingShard, number: int, num_parts: int, target: Version
) -> Iterator[tuple[Float32, Float32]]:
    """Yield old and new vectors of a fixed draw of the part's users that the target holds too."""
    rows = probe_rows(users.ids, PROBE_USERS)
    yield from common_vectors(users.take(rows), number, num_parts, target)


def compare(version: Version, reference: Version) -> Similarity | None:
    """Return how alike two versions of a frame are; None without a common item."""
    parts = version.manifest.parts("user")
    number, record = next((n, one) for n, one in enumerate(parts) if one.rows)
    users = version.shard(record, "user")
    pairs = user_probe(users, number, len(parts), reference)
    return similarity(reference.items, version.items, pairs)


def probe_rows(ids: Ids, size: int) -> npt.NDArray[np.int64]:
    """Return the rows of a fixed draw of ids: the smallest keyed hashes, so growth keeps most."""
    hashes = np.array([keyed_hash(one) for one in strings(ids)])
    return np.sort(np.argsort(hashes, kind="stable")[:size])


def unit(vectors: npt.NDArray[np.floating]) -> Float64:
    """Return the rows scaled to length 1, float64."""
    wide = vectors.astype(np.float64)
    scaled: Float64 = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return scaled


def mean_cosine(old: npt.NDArray[np.floating], new: npt.NDArray[np.floating]) -> float:
    """Return the mean cosine between the rows."""
    return float(np.einsum("nd,nd->n", unit(old), unit(new)).mean())


def _nearest(query: Float64, vectors: Float64, is_self: Float64) -> npt.NDArray[np.int64]:
    scores = query @ vectors.T
    scores[is_self > 0] = -np.inf
    count = min(NEIGHBOURS, vectors.shape[0] - 1)
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def neighbour_overlap(old: Float32, new: Float32, rows: npt.NDArray[np.int64]) -> float:
    """Return the mean overlap of the ten neighbours of ``old[rows]`` among ``old`` and ``new``."""
    if len(old) < 2:
        return 1.0
    units_old, units_new = unit(old), unit(new)
    shares = []
    for block in np.array_split(rows, max(1, len(rows) // 64)):
        is_self = np.zeros((len(block), len(old)))
        is_self[np.arange(len(block)), block] = 1.0
        want = _nearest(units_old[block], units_old, is_self)
        got = _nearest(units_old[block], units_new, is_self)
        shares += [
            len(np.intersect1d(one, other)) / len(one) for one, other in zip(want, got, strict=True)
        ]
    return float(np.mean(shares))


def similarity(
    old_items: EmbeddingShard,
    new_items: EmbeddingShard,
    users: Iterable[tuple[Float32, Float32]] = (),
) -> Similarity | None:
    """Return how alike common items and users' (old, new) vectors are; None without items."""
    rows_old, rows_new = common_rows(old_items.ids, new_items.ids)
    if not len(rows_old):
        return None
    old, new = old_items.vectors[rows_old], new_items.vectors[rows_new]
    rows = probe_rows(new_items.ids.take(rows_new), PROBE_ITEMS)
    pairs = [pair for pair in users if len(pair[0])]
    return Similarity(
        item_mean_cosine=mean_cosine(old[rows], new[rows]),
        item_overlap_at_10=neighbour_overlap(old, new, rows),
        user_mean_cosine=(
            mean_cosine(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
            if pairs
            else None
        ),
        probe_items=len(rows),
        probe_users=sum(len(pair[0]) for pair in pairs),
    )
