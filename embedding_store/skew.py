"""What a consumer sees who mixes two versions: one's users with the other's items.

::

    old users x old items = old list        new users x new items = new list     pure
    old users x new items                   new users x old items                mixed

Users and items switch together, but a reader's cache or a batch may hold one side longer. In one
coordinate system a mixed list resembles a pure one, and no reader notices; between two systems it
resembles neither: it shares with them what chance gives, ``cut / items``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedding_store.contracts import Float32
from embedding_store.similarity import common_rows, user_probe
from embedding_store.versions import Version

CUTS = (10, 100)
_BLOCK = 16
"""Users whose scores for all items are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """How much of the mixed lists is on a pure list, each the smaller of both directions.

    A direction's share is the larger of its mean shares with the old and with the new lists.
    """

    overlap_at_10: float
    overlap_at_100: float
    chance_at_10: float
    """What lists drawn by chance would share."""
    probe_users: int
    common_items: int


def skew(version: Version, reference: Version) -> Skew | None:
    """Return the skew on the fixed probe of common users; None without one, or without an item."""
    rows_old, rows_new = common_rows(reference.items.ids, version.items.ids)
    users = list(_probe(version, reference))
    if not len(rows_old) or not users:
        return None
    old_items, new_items = reference.items.vectors[rows_old], version.items.vectors[rows_new]
    old_users, new_users = (np.concatenate(side) for side in zip(*users, strict=True))
    shares = _shares((old_users, new_users), (old_items, new_items))
    return Skew(
        overlap_at_10=shares[0],
        overlap_at_100=shares[1],
        chance_at_10=min(CUTS[0], len(rows_old)) / len(rows_old),
        probe_users=len(old_users),
        common_items=len(rows_old),
    )


def _probe(version: Version, reference: Version) -> Iterable[tuple[Float32, Float32]]:
    """Return old and new vectors of the probe users of the first part that has any."""
    parts = version.manifest.parts("user")
    for number, record in enumerate(parts):
        found = list(user_probe(version.shard(record, "user"), number, len(parts), reference))
        if found:
            return found
    return ()


def _shares(users: tuple[Float32, Float32], items: tuple[Float32, Float32]) -> list[float]:
    """Return the share at each cut: of the worse direction, with the list that it is nearer to."""
    found = [_block(users, items, rows) for rows in _blocks(len(users[0]))]
    shares = np.concatenate(found, axis=-1).mean(axis=-1)  # [cut, direction, pure list]
    return [float(one) for one in shares.max(axis=2).min(axis=1)]


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, size, _BLOCK)]


def _block(
    users: tuple[Float32, Float32], items: tuple[Float32, Float32], rows: slice
) -> npt.NDArray[np.float64]:
    """Return float[cut, direction, pure list, user]: shares of the mixed list on the pure one."""
    ranked = {(u, i): _best(users[u][rows] @ items[i].T) for u in (0, 1) for i in (0, 1)}
    return np.array(
        [
            [
                [_overlap(ranked[mixed], ranked[pure], cut) for pure in ((0, 0), (1, 1))]
                for mixed in ((0, 1), (1, 0))
            ]
            for cut in CUTS
        ]
    )


def _best(scores: Float32) -> npt.NDArray[np.int64]:
    """Return the items of the longest list of each user, best first."""
    count = min(CUTS[-1], scores.shape[1])
    best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def _overlap(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], cut: int) -> list[float]:
    cut = min(cut, one.shape[1])
    return [len(np.intersect1d(a[:cut], b[:cut])) / cut for a, b in zip(one, other, strict=True)]
