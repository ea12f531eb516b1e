"""Bring each day's vectors into one coordinate system, without changing a single score.

With items ``T`` and users ``W`` (scores ``T W'``), streamed over parts through Gram matrices only::

    R_T, R_W    roots of the Gram matrices: R'R = G            (dim x dim)
    U S V'      = svd(R_T R_W')
    M_T         = R_W' V S^-1/2        T M_T spans the scores in a canonical basis
    O           = A B', A D B' = svd((T M_T)' T_ref + (W M_W)' W_ref)      Procrustes
    published   T M_T O and W M_W O, with M_W = M_T^-T, so scores are kept whatever the rounding

Both balanced sides have the Gram matrix ``S``, so the plain sum weighs users and items equally.
Source: Zielnicki and Hsiao, "Orthogonal Low Rank Embedding Stabilization", RecSys 2025,
arXiv:2508.07574, with roots by eigenvalues in place of Cholesky: directions that no user or no
item uses are floored instead of failing, and keep their (zero) scores.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedding_store.contracts import (
    EmbeddingShard,
    Float32,
    Float64,
    Side,
    embedding_table,
)
from embedding_store.errors import StabilisationError
from embedding_store.parts import (
    dim_of,
    parts_of,
    read_default_user,
    read_shard,
    shards,
    write_part,
)
from embedding_store.score_error import largest_change
from embedding_store.similarity import PROBE_USERS, common_vectors, similarity, user_probe
from embedding_store.transform import STABILISATION_FILE, TRANSFORM_FILES, Stabilisation
from embedding_store.versions import DEFAULT_USER_FILE, Version, open_version
from lake.digests import digest_file
from lake.lake import Written

INPUT_DEFAULT_FILE = "default.parquet"
GRAM_FLOOR = 1e-12
"""Smallest eigenvalue of a Gram matrix that counts, relative to the largest: below, float64 sums
hold only rounding."""
PROBE_SCORED_ITEMS = 2048
SCORE_TOLERANCE = 1e-5
"""Largest change of a score by float32 storage, relative to the largest score of the probe."""


def stabilise(
    user_folder: Path, item_folder: Path, folder: Path, *, frame: int, reference: Path | None
) -> Written:
    """Write ``user/``, ``item/``, ``user_default.parquet`` and the record to ``folder``.

    Args:
        user_folder: ``part-<bucket>.parquet`` and ``default.parquet``.
        item_folder: ``part-<n>.parquet``.
        folder: where to write; empty.
        frame: the frame, which must be the reference's.
        reference: folder of the published version to turn to; None opens ``frame``, in a canonical
            order and sign of the axes.

    Raises:
        StabilisationError: another dim or frame, nothing in common, or scores that are not kept.
    """
    dim = dim_of(parts_of(item_folder, "item")[0].path)
    target = None if reference is None else open_version(reference)
    if target is not None:
        _check_same_space(target, dim, frame)
    default = read_default_user(user_folder / INPUT_DEFAULT_FILE, dim)
    items = _sums(item_folder, "item", dim, target)
    users = _sums(user_folder, "user", dim, target)
    users.gram += _gram(default.vectors)
    item_map, singular_values = _factorise(items, users)
    if target is not None:
        item_map = item_map @ _rotation(items, users, item_map, target)
    maps: dict[Side, Float64] = {"item": item_map, "user": _counter(item_map)}

    rows = _write(item_folder, "item", maps["item"], folder)
    rows += _write(user_folder, "user", maps["user"], folder)
    turned = EmbeddingShard(
        embedding_table("user", default.ids, _turn(default.vectors, maps["user"])), "user", dim
    )
    write_part(folder / DEFAULT_USER_FILE, turned.table)
    raw = _probe(user_folder, item_folder, default)
    published = _probe(folder / "user", folder / "item", turned)
    figures = {
        "score_error": _score_error(raw, published),
        "before": _similarity(raw, target),
        "after": _similarity(published, target),
    }
    record = Stabilisation(
        frame=frame,
        dim=dim,
        reference=None if target is None else target.digest,
        common_items=items.common,
        common_users=users.common,
        singular_values=tuple(singular_values.tolist()),
        transform_sha256={side: _save(folder, side, matrix) for side, matrix in maps.items()},
        figures=figures,
    )
    record.write(folder / STABILISATION_FILE)
    return Written(rows=rows, figures=_headline(record))


@dataclass(slots=True)
class _Sums:
    """What one pass over a side leaves: nothing larger than dim x dim."""

    gram: Float64
    total: Float64
    """The sum of the vectors."""
    cross: Float64
    """Common rows, new against reference."""
    common: int


def _gram(vectors: Float32) -> Float64:
    wide = vectors.astype(np.float64)
    product: Float64 = wide.T @ wide
    return product


def _sums(folder: Path, side: Side, dim: int, target: Version | None) -> _Sums:
    sums = _Sums(np.zeros((dim, dim)), np.zeros(dim), np.zeros((dim, dim)), 0)
    num_parts = len(parts_of(folder, side))
    for number, shard in enumerate(shards(folder, side, dim)):
        sums.gram += _gram(shard.vectors)
        sums.total += shard.vectors.sum(axis=0, dtype=np.float64)
        for old, new in common_vectors(shard, number, num_parts, target):
            sums.cross += new.astype(np.float64).T @ old.astype(np.float64)
            sums.common += len(new)
    if not sums.gram.any():
        raise StabilisationError(f"{folder}: there is no {side} vector to stabilise")
    return sums


def _root(gram: Float64) -> Float64:
    """Return R with R'R = gram, its null directions floored."""
    values, vectors = np.linalg.eigh(gram)
    floored = np.sqrt(np.maximum(values, values[-1] * GRAM_FLOOR))
    root: Float64 = floored[:, None] * vectors.T
    return root


def _factorise(items: _Sums, users: _Sums) -> tuple[Float64, Float64]:
    """Return M_T, its axes by falling singular value and so that items sum to a positive, and S.

    Both depend on the scores alone: a model with other axes opens the same frame.
    """
    item_root, user_root = _root(items.gram), _root(users.gram)
    _, values, right = np.linalg.svd(item_root @ user_root.T)
    item_map = user_root.T @ right.T / np.sqrt(values)
    signs = np.where(items.total @ item_map < 0, -1.0, 1.0)
    return item_map * signs, values


def _counter(item_map: Float64) -> Float64:
    """Return the user map that undoes the item map in every score."""
    return np.asarray(np.linalg.inv(item_map).T, dtype=np.float64)


def _rotation(items: _Sums, users: _Sums, item_map: Float64, target: Version) -> Float64:
    if not items.common and not users.common:
        raise StabilisationError(
            f"no user and no item in common with version {target.digest[:12]}: publish a frame of "
            "its own (reference None)"
        )
    user_map = _counter(item_map)
    cross = item_map.T @ items.cross + user_map.T @ users.cross
    left, _, right = np.linalg.svd(cross)
    rotation: Float64 = left @ right
    return rotation


def _check_same_space(target: Version, dim: int, frame: int) -> None:
    if target.manifest.dim != dim:
        raise StabilisationError(
            f"the vectors have dim {dim}, frame {target.manifest.frame} has dim "
            f"{target.manifest.dim}: publish a frame of its own beside it (reference None)"
        )
    if target.manifest.frame != frame:
        raise StabilisationError(
            f"the reference is of frame {target.manifest.frame}, the vectors are for frame {frame}"
        )


def _turn(vectors: Float32, matrix: Float64) -> Float32:
    return (vectors.astype(np.float64) @ matrix).astype(np.float32)


def _write(source: Path, side: Side, matrix: Float64, folder: Path) -> int:
    dim, rows = matrix.shape[0], 0
    for number, shard in enumerate(shards(source, side, dim, has_proven_buckets=True)):
        table = embedding_table(side, shard.ids, _turn(shard.vectors, matrix))
        write_part(folder / side / f"part-{number}.parquet", EmbeddingShard(table, side, dim).table)
        rows += table.num_rows
    return rows


def _save(folder: Path, side: Side, matrix: Float64) -> str:
    path = folder / TRANSFORM_FILES[side]
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(matrix), allow_pickle=False)
    return digest_file(path)


@dataclass(frozen=True, slots=True)
class _Probe:
    """All items, one part of the users and the default user, of one coordinate system."""

    items: EmbeddingShard
    users: EmbeddingShard
    bucket: int
    num_buckets: int
    default: EmbeddingShard


def _probe(user_folder: Path, item_folder: Path, default: EmbeddingShard) -> _Probe:
    dim = default.dim
    items = EmbeddingShard(
        pa.concat_tables([one.table for one in shards(item_folder, "item", dim)]), "item", dim
    )
    parts = parts_of(user_folder, "user")
    for part in parts:
        users = read_shard(part.path, "user", dim)
        if users.table.num_rows:
            return _Probe(items, users, part.number, len(parts), default)
    raise StabilisationError(f"{user_folder}: there is no user vector")


def _score_error(raw: _Probe, published: _Probe) -> float:
    """Return the largest change of a score on the probe, relative to the largest score."""

    def scores(probe: _Probe) -> Float64:
        users = np.concatenate([probe.default.vectors, probe.users.vectors[:PROBE_USERS]])
        items = probe.items.vectors[:PROBE_SCORED_ITEMS]
        product: Float64 = users.astype(np.float64) @ items.astype(np.float64).T
        return product

    error = largest_change(scores(raw), scores(published))
    if not error <= SCORE_TOLERANCE:
        raise StabilisationError(
            f"scores change by {error:.1e} of the largest one, more than {SCORE_TOLERANCE:.0e}: "
            "the vectors' axes differ too much in length for float32"
        )
    return error


def _similarity(probe: _Probe, target: Version | None) -> dict[str, Any] | None:
    if target is None:
        return None
    pairs = user_probe(probe.users, probe.bucket, probe.num_buckets, target)
    found = similarity(target.items, probe.items, pairs)
    return None if found is None else asdict(found)


def _headline(record: Stabilisation) -> dict[str, Any]:
    return {
        "frame": record.frame,
        "reference": record.reference,
        "common_items": record.common_items,
        "common_users": record.common_users,
        **record.figures,
    }
