"""What a log adds to the model: its actions, categories and scales, fixed when a base is trained.

A spec travels with the artifact. A category that it does not hold is read as unknown (code 0), so
a later day's data always fits the weights.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from training.config.model import ModelConfig
from training.contracts import UNKNOWN_INSTANT, Float64, Histories, Int32
from training.errors import ConfigError
from training.features.catalogue import Catalogue
from training.features.instants import (
    HOUR_US,
    NUM_HOUR_CODES,
    NUM_MONTH_CODES,
    NUM_WEEK_HOUR_CODES,
    NUM_WEEKDAY_CODES,
    num_magnitude_codes,
)
from training.schema import EventSchema

UNKNOWN = 0
"""The code of a missing, hidden or never seen category."""

MAX_CATEGORIES = 512
"""Most frequent values of a facet that get a weight row of their own; the rest are unknown."""

MAX_SET_VALUES = 16
"""Members of one set that are read, the most frequent ones."""

NUMBER_UNIT = 2.0**-8
"""The least magnitude of a number that is told apart from none, in standard deviations."""
LARGEST_NUMBER = 15
"""Logarithm of the largest one: 128 standard deviations."""
LARGEST_ELAPSED = 31
"""Logarithm of the longest time between an instant and its request: 68 years, in seconds."""

DAY_US = 24 * HOUR_US

Scale: TypeAlias = tuple[float, float]
"""Mean and standard deviation."""

_PLAIN = ModelConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """Categories in code order (code = position + 1) and scales of numbers."""

    actions: tuple[str, ...]
    """Actions that tokens count, in schema order."""

    request_categories: Mapping[str, tuple[str, ...]]
    """Categorical request facets in schema order."""

    request_numbers: Mapping[str, Scale]
    """Numeric request facets in schema order."""

    item_categories: Mapping[str, tuple[str, ...]]
    """Categorical columns of the catalogue."""

    genres: tuple[str, ...]
    """Genres of the catalogue."""

    request_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Multi-categorical request facets that are read, in schema order: members in code order."""

    request_instants: tuple[str, ...] = ()
    """Instants of requests that are read, in schema order."""

    is_coding_numbers: bool = False
    """Whether numbers are read as codes of their magnitude."""

    trend: Scale | None = None
    """Of the tokens' instants, in days since 1970, where the calendar is read."""

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """How many codes each column of ``requests.request_codes`` has, but those of sets."""
        calendar = (NUM_WEEK_HOUR_CODES, NUM_MONTH_CODES)
        coded = len(self.request_numbers) if self.is_coding_numbers else 0
        instant = (*calendar, num_magnitude_codes(LARGEST_ELAPSED))
        return (
            *(len(values) + 1 for values in self.request_categories.values()),
            NUM_HOUR_CODES,
            NUM_WEEKDAY_CODES,
            *(calendar if self.trend else ()),
            *(coded * (num_magnitude_codes(LARGEST_NUMBER),)),
            *(len(self.request_instants) * instant),
        )

    @property
    def num_number_columns(self) -> int:
        """Columns of ``requests.request_numbers``."""
        num_scaled = 0 if self.is_coding_numbers else len(self.request_numbers)
        return 2 * (num_scaled + (self.trend is not None))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; facets keep their order."""
        return {
            **asdict(self),
            "request_categories": [[n, list(v)] for n, v in self.request_categories.items()],
            "request_numbers": [[n, *scale] for n, scale in self.request_numbers.items()],
            "item_categories": [[n, list(v)] for n, v in self.item_categories.items()],
            "request_sets": [[n, list(v)] for n, v in self.request_sets.items()],
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
                # what follows was not read before there was a name for it
                request_sets={n: tuple(v) for n, v in value.get("request_sets", ())},
                request_instants=tuple(value.get("request_instants", ())),
                is_coding_numbers=value.get("is_coding_numbers", False),
                trend=_pair(value.get("trend")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"feature spec: cannot read it: {error!r}") from error


def build_spec(
    schema: EventSchema, histories: Histories, catalogue: Catalogue, config: ModelConfig = _PLAIN
) -> FeatureSpec:
    """Return the spec of what ``config`` reads of ``histories`` and ``catalogue``."""
    reads_all = config.request_facets == "all"
    is_timed = histories.first_at != UNKNOWN_INSTANT
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
        request_sets={
            name: _frequent_members(sets, np.bincount(codes[codes >= 0], minlength=len(sets)))
            for name, (sets, codes) in histories.request_sets.items()
            if reads_all
        },
        request_instants=tuple(histories.request_instants) if reads_all else (),
        is_coding_numbers=config.request_numbers == "coded",
        trend=_scale(histories.first_at[is_timed] / DAY_US) if config.request_calendar else None,
    )


def _frequent(values: Iterable[Any], counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the values that occur, most frequent first, equal counts by name."""
    seen = [(-int(n), str(value)) for value, n in zip(values, counts, strict=True) if n]
    return tuple(value for _, value in sorted(seen)[:MAX_CATEGORIES])


def _frequent_members(
    sets: Sequence[Sequence[str]], counts: npt.NDArray[np.int64]
) -> tuple[str, ...]:
    total = Counter[str]()
    for members, count in zip(sets, counts.tolist(), strict=True):
        total.update(dict.fromkeys(members, count))
    return _frequent(total.keys(), np.array(list(total.values()), dtype=np.int64))


def _pair(scale: Sequence[float] | None) -> Scale | None:
    if scale is None:
        return None
    mean, std = scale
    return mean, std


def _scale(numbers: Float64) -> Scale:
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
