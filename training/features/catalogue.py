"""The catalogue as of an instant: one row per item, columns as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training.contracts import Float64, Int64
from training.events.artifacts import read_catalogue as read_rows
from training.tokens.targets import microseconds

ITEM_CATEGORIES = ("kind", "original_language", "release_country", "maturity")
"""Columns of one string each that the item encoder reads."""

_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Items sorted by id; every column has one entry per item."""

    item_ids: tuple[str, ...]
    categories: Mapping[str, Sequence[str | None]]
    genres: Sequence[Sequence[str]]
    age_days: Float64
    """Days from release to the instant; negative before it, NaN where unknown."""
    runtime_s: Float64
    """NaN where unknown."""
    texts: Sequence[str | None] = ()
    """Title and synopsis; none of them where a source has no text at all."""
    valid_from: Int64
    """First instant of validity, µs UTC."""
    valid_to: Int64
    """End of the last validity, µs UTC, exclusive; the largest int64 where it is open."""

    def ended_by(self, instant: datetime) -> npt.NDArray[np.bool_]:
        """Return for each item whether no description of it holds at ``instant`` or later."""
        return self.valid_to <= microseconds(instant)

    def valid_between(self, start: datetime, end: datetime) -> npt.NDArray[np.bool_]:
        """Return for each item whether it is valid at some instant in ``[start, end)``."""
        return (self.valid_from < microseconds(end)) & (self.valid_to > microseconds(start))


def read_catalogue(folder: Path, *, as_of: datetime) -> Catalogue:
    """Return every item of ``folder`` with the description that holds at ``as_of``.

    An item that is announced but not yet valid has its first description; one that is no longer
    valid has its last one.
    """
    rows = (
        pl.DataFrame(read_rows(folder))
        .with_columns(pl.col("valid_from", "valid_to").cast(pl.Int64))
        .sort("item_id", "valid_from")
    )
    # of one item's descriptions: the newest one that has begun, else the first one to come
    begun = pl.col("valid_from") <= microseconds(as_of)
    chosen = (
        rows.with_columns(
            begun=begun, order=pl.col("valid_from") * pl.when(begun).then(1).otherwise(-1)
        )
        .sort("item_id", "begun", "order")
        .group_by("item_id", maintain_order=True)
        .last()
    )
    spans = rows.group_by("item_id", maintain_order=True).agg(
        pl.col("valid_from").min(),
        pl.when(pl.col("valid_to").is_null().any())
        .then(pl.lit(_FOREVER))
        .otherwise(pl.col("valid_to").max())
        .alias("valid_to"),
    )
    released = chosen["release_date"].cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64)
    age_us = microseconds(as_of) - released.to_numpy()
    genres: list[Any] = chosen["genres"].to_list()
    return Catalogue(
        item_ids=tuple(chosen["item_id"].to_list()),
        categories={name: chosen[name].to_list() for name in ITEM_CATEGORIES},
        genres=[one or () for one in genres],
        texts=chosen.select(pl.concat_str("title", "synopsis", separator=". ", ignore_nulls=True))
        .to_series()
        .to_list(),
        age_days=age_us / 86_400e6,
        runtime_s=chosen["runtime_s"].cast(pl.Float64).to_numpy(),
        valid_from=spans["valid_from"].to_numpy(),
        valid_to=spans["valid_to"].to_numpy(),
    )
