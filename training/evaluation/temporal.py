"""A split in time: everybody learns from before an instant and is asked for the days after it.

::

    tokens of all users   ........ learned from ........ | targets of the last days
                                                   split_at                     until

A question's history reaches to the question itself, past ``split_at``: models stay as they are,
histories grow, as in a service whose model is a few days old.
"""

from datetime import datetime

import numpy as np

from training.contracts import Histories, Int64
from training.cuts import before_each, user_of_token
from training.errors import NoDataError
from training.evaluation.asked import Asked, candidate_of_token
from training.features.catalogue import Catalogue
from training.schema import EventSchema
from training.tokens.targets import continues_history, is_target, microseconds

_MOST_VALUES = 20
"""Of a facet that makes slices."""


def temporal(
    log: Histories,
    *,
    learned: Histories,
    schema: EventSchema,
    catalogue: Catalogue,
    split_at: datetime,
    until: datetime,
) -> Asked:
    """Return a question for every target that starts between ``split_at`` and ``until``.

    A target that continues the history's last token is not asked for, nor is one of an item that is
    never valid in between; all items that are valid then are candidates. Groups are those of the
    target's categorical request facets that have few values, such as the canvas.

    Args:
        log: all histories, through ``until``.
        learned: histories as of ``split_at``.
        schema: of both.
        catalogue: as described at ``split_at``.
        split_at: first instant of a target.
        until: the instant that ends them.
    """
    valid = catalogue.valid_between(split_at, until)
    candidates = tuple(sorted(i for i, ok in zip(catalogue.item_ids, valid, strict=True) if ok))
    candidate_T = candidate_of_token(log, candidates)
    is_after = (log.first_at >= microseconds(split_at)) & (log.first_at < microseconds(until))
    is_asked = is_after & is_target(log, schema) & ~continues_history(log) & (candidate_T >= 0)
    rows = np.flatnonzero(is_asked)
    if not len(rows):
        raise NoDataError(f"evaluation: no target from {split_at} to {until}")
    return Asked(
        schema=schema,
        catalogue=catalogue,
        learned=learned,
        histories=before_each(log, rows),
        candidates=candidates,
        target_Q=candidate_T[rows],
        user_Q=user_of_token(log)[rows],
        at_Q=log.first_at[rows],
        groups=_groups(log, rows),
    )


def _groups(log: Histories, rows: Int64) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple("unknown" if code < 0 else values[code] for code in codes[rows].tolist())
        for name, (values, codes) in log.request_categories.items()
        if len(values) <= _MOST_VALUES
    }
