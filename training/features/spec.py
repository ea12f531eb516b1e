"""What a log adds to the model: its actions, categories and scales, fixed when a base is trained.

A spec travels with the artifact. A category that it does not hold is read as unknown (code 0), so
a later day's data always fits the weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.contracts import Float64, Histories, Int32
from training.errors import ConfigError
from training.features.catalogue import Catalogue
from training.schema import EventSchema

UNKNOWN = 0
"""The code of a missing, hidden or never seen category."""

MAX_CATEGORIES = 512
"""Most frequent values of a facet that get a weight row of their own; the rest are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """Categories in code order (code = position + 1) and scales of numbers."""

    actions: tuple[str, ...]
    """Actions that tokens count, in schema order."""

    request_categories: Mapping[str, tuple[str, ...]]
    """Categorical request facets in schema order."""

    request_numbers: Mapping[str, tuple[float, float]]
    """Numeric request facets in schema order: mean and standard deviation."""

    item_categories: Mapping[str, tuple[str, ...]]
    """Categorical columns of the catalogue."""

    genres: tuple[str, ...]
    """Genres of the catalogue."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; facets keep their order."""
        return {
            **asdict(self),
            "request_categories": [[n, list(v)] for n, v in self.request_categories.items()],
            "request_numbers": [[n, *scale] for n, scale in self.request_numbers.items()],
            "item_categories": [[n, list(v)] for n, v in self.item_categories.items()],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "FeatureSpec":
        """Read what ``to_json`` returned; raises ConfigError."""
        try:
            return cls(
                actions=tuple(value["actions"]),
                request_categories={n: tuple(v) for n, v in value["request_categories"]},
                request_numbers={n: (mean, std) for n, mean, std in value["request_numbers"]},
                item_categories={n: tuple(v) for n, v in value["item_categories"]},
                genres=tuple(value["genres"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"feature spec: cannot read it: {error!r}") from error


def build_spec(schema: EventSchema, histories: Histories, catalogue: Catalogue) -> FeatureSpec:
    """Return the spec of everything seen in ``histories`` and ``catalogue``."""
    return FeatureSpec(
        actions=schema.token_actions,
        request_categories={
            name: _frequent(values, np.bincount(codes[codes >= 0], minlength=len(values)))
            for name, (values, codes) in histories.request_categories.items()
        },
        request_numbers={
            name: _scale(numbers) for name, numbers in histories.request_numbers.items()
        },
        item_categories={
            name: _frequent(*np.unique([v for v in column if v is not None], return_counts=True))
            for name, column in catalogue.categories.items()
        },
        genres=_frequent(
            *np.unique([g for genres in catalogue.genres for g in genres], return_counts=True)
        ),
    )


def _frequent(values: Iterable[Any], counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the values that occur, most frequent first, equal counts by name."""
    seen = [(-int(n), str(value)) for value, n in zip(values, counts, strict=True) if n]
    return tuple(value for _, value in sorted(seen)[:MAX_CATEGORIES])


def _scale(numbers: Float64) -> tuple[float, float]:
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        return 0.0, 1.0
    return float(known.mean()), float(known.std()) or 1.0


def recode(values: Sequence[str], codes: Int32, known: Sequence[str]) -> Int32:
    """Return ``codes`` (into ``values``, -1 = missing) as codes of the spec's ``known`` values."""
    code_of = {value: code for code, value in enumerate(known, start=1)}
    # the last entry is what -1 points at
    table = np.array([*(code_of.get(value, UNKNOWN) for value in values), UNKNOWN], dtype=np.int32)
    return table[codes]
