"""What the item encoder reads of every item, as tensors.

Rows: first the vocabulary in its order, then the catalogue's other items by id. The latter have no
weight row of their own: their id is unknown, their metadata is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.contracts import Float64, Int32
from training.features.catalogue import Catalogue
from training.features.spec import FeatureSpec, recode

Float32 = npt.NDArray[np.float32]

# days since release at the instant of the features; finer where titles are young
AGE_EDGES_DAYS = np.array(
    [0, 1, 2, 4, 7, 14, 21, 28, 42, 60, 90, 180, 365, 730, 1095, 1825, 3650, 7300], dtype=np.float64
)
NUM_AGE_CODES = len(AGE_EDGES_DAYS) + 2
"""One for unknown, one for not yet released, one per edge."""

NUM_ITEM_NUMBERS = 2
"""Runtime: is it known, and its logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFeatures:
    """M items; legend: K categorical columns, G genres."""

    ids: tuple[str, ...]
    row_of: Mapping[str, int]
    num_vocabulary: int
    """The first so many items have a weight row of their own."""
    codes_MK: Tensor
    """int64, 0 = unknown: the columns of ``FeatureSpec.item_categories``, then the age."""
    genres_MG: Tensor
    """float32: each row sums to 1, or to 0 where no genre is known."""
    numbers_MN: Tensor
    """float32[M, NUM_ITEM_NUMBERS]."""
    runtime_s: Float64
    """float64[M], NaN = unknown."""

    def rows(self, item_ids: Sequence[str]) -> Tensor:
        """Return the row of each item, int64; raises KeyError for an item of neither source."""
        return torch.tensor([self.row_of[item] for item in item_ids], dtype=torch.int64)


def build_item_features(
    vocabulary: Sequence[str], catalogue: Catalogue, spec: FeatureSpec
) -> ItemFeatures:
    """Return the features of every item of ``vocabulary`` and ``catalogue``."""
    known = set(vocabulary)
    ids = (*vocabulary, *(item for item in catalogue.item_ids if item not in known))
    position = {item: at for at, item in enumerate(catalogue.item_ids)}
    # an item that the catalogue does not hold reads the all-unknown entry after the last one
    source = np.array([position.get(item, len(position)) for item in ids], dtype=np.int64)

    columns = [
        _codes(catalogue.categories[name], values) for name, values in spec.item_categories.items()
    ]
    columns.append(_age_codes(catalogue.age_days))
    codes = np.stack([np.append(column, 0)[source] for column in columns], axis=1)
    runtime = np.append(catalogue.runtime_s, np.nan)[source]
    has_runtime = ~np.isnan(runtime)
    # an hour is 0, and a factor of e is 1
    log_runtime = np.where(has_runtime, np.log(np.fmax(runtime, 1.0) / 3600.0), 0.0)
    return ItemFeatures(
        ids=ids,
        row_of={item: row for row, item in enumerate(ids)},
        num_vocabulary=len(vocabulary),
        codes_MK=torch.from_numpy(codes.astype(np.int64)),
        genres_MG=torch.from_numpy(_genre_means(catalogue, spec.genres)[source]),
        numbers_MN=torch.from_numpy(np.stack([has_runtime, log_runtime], axis=1)).float(),
        runtime_s=runtime,
    )


def _codes(column: Sequence[str | None], values: Sequence[str]) -> Int32:
    distinct = sorted({value for value in column if value is not None})
    position = {value: at for at, value in enumerate(distinct)}
    raw = [-1 if value is None else position[value] for value in column]
    return recode(distinct, np.array(raw, dtype=np.int32), values)


def _age_codes(age_days: Float64) -> Int32:
    # searchsorted puts NaN behind every edge, which is why it is asked first
    after = np.searchsorted(AGE_EDGES_DAYS, age_days, side="right")
    return np.where(np.isnan(age_days), 0, after + 1).astype(np.int32)


def _genre_means(catalogue: Catalogue, genres: Sequence[str]) -> Float32:
    column = {genre: at for at, genre in enumerate(genres)}
    means = np.zeros((len(catalogue.item_ids) + 1, len(genres)), dtype=np.float32)
    for row, names in enumerate(catalogue.genres):
        for name in set(names) & column.keys():
            means[row, column[name]] = 1.0
    means /= np.maximum(means.sum(axis=1, keepdims=True), 1.0)
    return means
