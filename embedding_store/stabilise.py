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

from embedding_store.alignment import (
    Misfit,
    Sums,
    counter,
    factorise,
    gram_of,
    nothing_common,
    other_dim,
    rotation,
    sums_of,
    turned,
    unlike,
)
from embedding_store.contracts import EmbeddingShard, Float64, Side, embedding_table
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
from embedding_store.similarity import PROBE_USERS, similarity, user_probe
from embedding_store.transform import STABILISATION_FILE, TRANSFORM_FILES, Opening, Stabilisation
from embedding_store.versions import DEFAULT_USER_FILE, Version, open_version
from lake.digests import digest_file
from lake.lake import Written

INPUT_DEFAULT_FILE = "default.parquet"
PROBE_SCORED_ITEMS = 2048
SCORE_TOLERANCE = 1e-5
"""Largest change of a score by float32 storage, relative to the largest score of the probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBeside:
    """Leave to open another frame for vectors that cannot be brought into theirs."""

    number: int
    """Of the frame to open."""
    min_item_cosine: float
    """Mean cosine of probe items to the reference, once they are turned to it, that is alike."""


def stabilise(
    user_folder: Path,
    item_folder: Path,
    folder: Path,
    *,
    frame: int,
    reference: Path | None,
    beside: FrameBeside | None = None,
) -> Written:
    """Write ``user/``, ``item/``, ``user_default.parquet`` and the record to ``folder``.

    Args:
        user_folder: ``part-<bucket>.parquet`` and ``default.parquet``.
        item_folder: ``part-<n>.parquet``.
        folder: where to write; empty.
        frame: the frame, which must be the reference's.
        reference: folder of the published version to turn to; None opens ``frame``, in a canonical
            order and sign of the axes.
        beside: leave to open another frame in place of failing; then the record says why.

    Raises:
        StabilisationError: the reference is of another frame, scores are not kept, or the vectors
            cannot be brought into the frame (another dim, nothing in common).
    """
    target = None if reference is None else _target(reference, frame)
    dim = dim_of(parts_of(item_folder, "item")[0].path)
    default = read_default_user(user_folder / INPUT_DEFAULT_FILE, dim)
    fit = _fit(user_folder, item_folder, default, target, beside)
    maps: dict[Side, Float64] = {"item": fit.item_map, "user": counter(fit.item_map)}

    rows = _write(item_folder, "item", maps["item"], folder)
    rows += _write(user_folder, "user", maps["user"], folder)
    after = EmbeddingShard(
        embedding_table("user", default.ids, turned(default.vectors, maps["user"])), "user", dim
    )
    write_part(folder / DEFAULT_USER_FILE, after.table)
    raw = _probe(user_folder, item_folder, default)
    published = _probe(folder / "user", folder / "item", after)
    figures = {
        "score_error": _score_error(raw, published),
        "before": _similarity(raw, fit.target),
        "after": _similarity(published, fit.target),
    }
    opens = None if fit.misfit is None or target is None else _opening(fit.misfit, target)
    record = Stabilisation(
        frame=beside.number if opens and beside else frame,
        dim=dim,
        reference=None if fit.target is None else fit.target.digest,
        common_items=fit.common["item"],
        common_users=fit.common["user"],
        singular_values=tuple(fit.singular_values.tolist()),
        transform_sha256={side: _save(folder, side, matrix) for side, matrix in maps.items()},
        figures=figures,
        opens=opens,
    ).of_files(folder)
    record.write(folder / STABILISATION_FILE)
    return Written(rows=rows, figures=_headline(record))


def _target(reference: Path, frame: int) -> Version:
    target = open_version(reference)
    if target.manifest.frame != frame:
        raise StabilisationError(
            f"the reference is of frame {target.manifest.frame}, the vectors are for frame {frame}"
        )
    return target


@dataclass(frozen=True, slots=True)
class _Fit:
    """The items' map, and the version that it turns to; without one, why not."""

    item_map: Float64
    singular_values: Float64
    target: Version | None
    misfit: Misfit | None
    common: dict[Side, int]


def _fit(
    user_folder: Path,
    item_folder: Path,
    default: EmbeddingShard,
    target: Version | None,
    beside: FrameBeside | None,
) -> _Fit:
    dim = default.dim
    misfit = None if target is None else other_dim(dim, target)
    onto = target if misfit is None else None
    items = _sums(item_folder, "item", dim, onto)
    users = _sums(user_folder, "user", dim, onto)
    users.gram += gram_of(default.vectors)
    item_map, values = factorise(items, users)
    if onto is not None and (misfit := nothing_common(items, users, onto)) is None:
        on_target = item_map @ rotation(items, users, item_map)
        if beside is not None:
            every = _every_item(item_folder, dim)
            misfit = unlike(every, on_target, onto, min_item_cosine=beside.min_item_cosine)
        if misfit is None:
            common: dict[Side, int] = {"item": items.common, "user": users.common}
            return _Fit(on_target, values, onto, None, common)
    if misfit is not None and beside is None:
        raise StabilisationError(
            f"{misfit.because}: publish a frame of its own beside it (reference None)"
        )
    return _Fit(item_map, values, None, misfit, {"item": 0, "user": 0})


def _opening(misfit: Misfit, target: Version) -> Opening:
    return Opening(
        beside=target.manifest.frame,
        judged_against=target.digest,
        because=misfit.because,
        figures=misfit.figures,
    )


def _sums(folder: Path, side: Side, dim: int, target: Version | None) -> Sums:
    num_parts = len(parts_of(folder, side))
    sums = sums_of(shards(folder, side, dim), num_parts=num_parts, dim=dim, target=target)
    if not sums.gram.any():
        raise StabilisationError(f"{folder}: there is no {side} vector to stabilise")
    return sums


def _every_item(folder: Path, dim: int) -> EmbeddingShard:
    tables = [one.table for one in shards(folder, "item", dim)]
    return EmbeddingShard(pa.concat_tables(tables), "item", dim)


def _write(source: Path, side: Side, matrix: Float64, folder: Path) -> int:
    dim, rows = matrix.shape[0], 0
    for number, shard in enumerate(shards(source, side, dim, has_proven_buckets=True)):
        table = embedding_table(side, shard.ids, turned(shard.vectors, matrix))
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
    items = _every_item(item_folder, dim)
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
        "opens": None if record.opens is None else asdict(record.opens),
        **record.figures,
    }
