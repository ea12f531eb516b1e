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
from training.errors import ContractError
from training.features.catalogue import Catalogue
from training.features.spec import FeatureSpec, recode

Float32 = npt.NDArray[np.float32]

NUM_ITEM_NUMBERS = 6
"""Runtime: is it known, logarithm. Release: is it known, logarithm of the age, two decays of it."""

_AGE_DECAYS_DAYS = (7.0, 60.0)
"""A launch's pull fades within weeks. Smooth, so that a title launched on the day itself, younger
than any in training, is read between what was learned and not beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFeatures:
    """M items; legend: K categorical columns, G genres."""

    ids: tuple[str, ...]
    row_of: Mapping[str, int]
    num_vocabulary: int
    """The first so many items have a weight row of their own."""
    codes_MK: Tensor
    """int64, 0 = unknown: the columns of ``FeatureSpec.item_categories``."""
    genres_MG: Tensor
    """float32: each row sums to 1, or to 0 where no genre is known."""
    numbers_MN: Tensor
    """float32[M, NUM_ITEM_NUMBERS]."""
    runtime_s: Float64
    """float64[M], NaN = unknown."""
    texts: tuple[str | None, ...]
    """Title and synopsis."""

    @property
    def is_described(self) -> Tensor:
        """bool[M]: something of the item is known beside its id."""
        is_known = self.numbers_MN[:, [0, 2]] > 0  # runtime, release
        is_described: Tensor = (
            (self.codes_MK > 0).any(dim=1) | (self.genres_MG > 0).any(dim=1) | is_known.any(dim=1)
        )
        return is_described | torch.tensor([bool(text) for text in self.texts], dtype=torch.bool)

    def rows(self, item_ids: Sequence[str]) -> Tensor:
        """Return the row of each item, int64; raises KeyError for an item of neither source."""
        if item_ids is self.ids:
            return torch.arange(len(self.ids))
        return torch.tensor([self.row_of[item] for item in item_ids], dtype=torch.int64)


def build_item_features(
    vocabulary: Sequence[str], catalogue: Catalogue, spec: FeatureSpec
) -> ItemFeatures:
    """Return the features of every item of ``vocabulary`` and ``catalogue``.

    Raises ContractError where a number of the catalogue is infinite.
    """
    for name, column in (("runtime_s", catalogue.runtime_s), ("age_days", catalogue.age_days)):
        if np.isinf(column).any():
            item = catalogue.item_ids[int(np.isinf(column).argmax())]
            raise ContractError(f"catalogue: {name} of {item!r}: want a number or NaN, got inf")
    known = set(vocabulary)
    ids = (*vocabulary, *(item for item in catalogue.item_ids if item not in known))
    position = {item: at for at, item in enumerate(catalogue.item_ids)}
    # an item that the catalogue does not hold reads the all-unknown entry after the last one
    source = np.array([position.get(item, len(position)) for item in ids], dtype=np.int64)

    columns = [
        _codes(catalogue.categories[name], values) for name, values in spec.item_categories.items()
    ]
    codes = np.stack([np.append(column, 0)[source] for column in columns], axis=1)
    runtime_s = np.append(catalogue.runtime_s, np.nan)[source]
    age_days = np.append(catalogue.age_days, np.nan)[source]
    texts = [*(catalogue.texts or [None] * len(position)), None]
    return ItemFeatures(
        ids=ids,
        row_of={item: row for row, item in enumerate(ids)},
        num_vocabulary=len(vocabulary),
        codes_MK=torch.from_numpy(codes.astype(np.int64)),
        genres_MG=torch.from_numpy(_genre_means(catalogue, spec.genres)[source]),
        numbers_MN=torch.from_numpy(_numbers(runtime_s, age_days)),
        runtime_s=runtime_s,
        texts=tuple(texts[row] for row in source.tolist()),
    )


def _codes(column: Sequence[str | None], values: Sequence[str]) -> Int32:
    distinct = sorted({value for value in column if value is not None})
    position = {value: at for at, value in enumerate(distinct)}
    raw = [-1 if value is None else position[value] for value in column]
    return recode(distinct, np.array(raw, dtype=np.int32), values)


def _numbers(runtime_s: Float64, age_days: Float64) -> Float32:
    """Return float32[M, NUM_ITEM_NUMBERS], all of them about 0 to 1."""
    has_runtime, has_age = ~np.isnan(runtime_s), ~np.isnan(age_days)
    log_hours = np.log(np.fmax(runtime_s, 1.0) / 3600.0)
    age_days = np.fmax(age_days, 0.0)
    columns = [
        has_runtime,
        np.where(has_runtime, log_hours, 0.0),
        has_age,
        *(
            np.where(has_age, column, 0.0)
            for column in (
                np.log1p(age_days) / 8.0,  # eight years are about 1
                *(np.exp(-age_days / decay) for decay in _AGE_DECAYS_DAYS),
            )
        ),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _genre_means(catalogue: Catalogue, genres: Sequence[str]) -> Float32:
    column = {genre: at for at, genre in enumerate(genres)}
    means = np.zeros((len(catalogue.item_ids) + 1, len(genres)), dtype=np.float32)
    for row, names in enumerate(catalogue.genres):
        for name in set(names) & column.keys():
            means[row, column[name]] = 1.0
    means /= np.maximum(means.sum(axis=1, keepdims=True), 1.0)
    return means
