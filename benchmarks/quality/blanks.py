"""Data of which one facet says nothing: what a facet is worth is what is lost without it."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from training.contracts import Histories
from training.data import TrainingData
from training.evaluation.asked import Asked
from training.features.catalogue import Catalogue
from training.schema import EventSchema
from training.vocabulary import Vocabulary

MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """What ``training.data.TrainingData`` gives, of data without a facet."""

    data: TrainingData
    facet: str

    @property
    def as_of(self) -> datetime:
        """Return the end of what the data holds."""
        return self.data.as_of

    def schema(self) -> EventSchema:
        """Return the schema: the facet is still in it, and always missing."""
        return self.data.schema()

    def histories(self) -> Histories:
        """Return the histories without the facet."""
        return of_histories(self.data.histories(), self.facet)

    def catalogue(self) -> Catalogue:
        """Return the catalogue without the facet."""
        return of_catalogue(self.data.catalogue(), self.facet)

    def vocabulary(self) -> Vocabulary:
        """Return the items of the tokens."""
        return self.data.vocabulary()


def of_questions(asked: Asked, facet: str) -> Asked:
    """Return the same questions, told without a facet."""
    return replace(
        asked,
        histories=of_histories(asked.histories, facet),
        catalogue=of_catalogue(asked.catalogue, facet),
    )


def known_facets(data: TrainingData) -> tuple[str, ...]:
    """Return the facets that say anything: of requests, of outcomes, of items."""
    log, films = data.histories(), data.catalogue()
    says = {
        **{name: (codes != MISSING).any() for name, (_, codes) in log.request_categories.items()},
        **{name: np.isfinite(column).any() for name, column in log.request_numbers.items()},
        "duration": log.duration_ms.any(),
        "genres": any(films.genres),
        "age": np.isfinite(films.age_days).any(),
        "runtime": np.isfinite(films.runtime_s).any(),
        **{name: any(column) for name, column in films.categories.items()},
    }
    return tuple(name for name, is_there in says.items() if is_there)


def of_histories(log: Histories, facet: str) -> Histories:
    """Return the histories without a facet of requests, or without durations."""
    if facet == "duration":
        return replace(log, duration_ms=np.zeros_like(log.duration_ms))
    if facet in log.request_categories:
        values, codes = log.request_categories[facet]
        nothing = (values, np.full_like(codes, MISSING))
        return replace(log, request_categories={**log.request_categories, facet: nothing})
    if facet in log.request_numbers:
        nowhere = np.full_like(log.request_numbers[facet], np.nan)
        return replace(log, request_numbers={**log.request_numbers, facet: nowhere})
    return log


def of_catalogue(films: Catalogue, facet: str) -> Catalogue:
    """Return the catalogue without a facet of items."""
    size = len(films.item_ids)
    if facet == "genres":
        return replace(films, genres=[()] * size)
    if facet == "age":
        return replace(films, age_days=np.full(size, np.nan))
    if facet == "runtime":
        return replace(films, runtime_s=np.full(size, np.nan))
    if facet in films.categories:
        return replace(films, categories={**films.categories, facet: [None] * size})
    return films
