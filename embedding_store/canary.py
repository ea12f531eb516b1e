"""What consumers would see of a version on trial, measured on their own look-ups.

A fixed draw of the users whom the version before it holds is looked up as consumers do, under the
name on trial: how many are found, and how much of their ten best items stays.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from embedding_store.answers import Embeddings
from embedding_store.consumers import ConsumerNeeds
from embedding_store.contracts import strings
from embedding_store.pinned import PinnedVersion
from embedding_store.similarity import probe_rows

PROBE_USERS = 256
_CUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a version answered on trial."""

    version: str
    """Its name, such as ``v4``."""
    baseline: str | None
    """What it was compared with; None where nothing served before it."""
    found: float | None
    """Share of the probe users who were found; None where nobody is left."""
    same_top_10: float | None
    """Mean share of the ten best items that both give; None without a baseline, or users."""
    probe_users: int

    def __str__(self) -> str:
        """Return the figures, in words."""
        if self.found is None:
            return "nobody to look up"
        said = f"{self.found:.1%} of {self.probe_users} users found"
        if self.same_top_10 is None:
            return said
        return f"{said}, {self.same_top_10:.1%} of their ten best as in {self.baseline}"


def try_out(
    look_up: Callable[[Sequence[str]], Embeddings],
    version: PinnedVersion,
    baseline: PinnedVersion | None,
) -> Trial:
    """Return how ``version`` answers look-ups, beside what served before it.

    Args:
        look_up: users as consumers ask for them, by the name that is on trial.
        version: what that name should mean; its items are scored.
        baseline: what consumers read until now.
    """
    ids = _probe(version if baseline is None else baseline)
    answer = look_up(ids)
    found, same = float(answer.is_found.mean()) if ids else None, None
    if baseline is not None and found == 0:
        same = 0.0
    elif baseline is not None and found:
        known = [one for one, is_there in zip(ids, answer.is_found, strict=True) if is_there]
        got = version.search_items(answer.vectors[answer.is_found], _CUT, exact=True)
        want = baseline.search_items(baseline.users(known), _CUT, exact=True)
        pairs = zip(got.ids, want.ids, strict=True)
        same = float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))
    return Trial(
        version=version.name,
        baseline=None if baseline is None else baseline.name,
        found=found,
        same_top_10=same,
        probe_users=len(ids),
    )


def disappointed(consumers: Iterable[ConsumerNeeds], trial: Trial, *, frame: int) -> list[str]:
    """Return, in words, which consumers of the frame get less than they ask of a canary."""
    figures = {"found": trial.found, "same_top_10": trial.same_top_10}
    return [
        f"{needs.name} wants {key} of at least {wanted:.1%}, got {figure:.1%}"
        for needs in consumers
        if needs.frame == frame
        for key, figure in figures.items()
        if (wanted := getattr(needs, key)) is not None and figure is not None and figure < wanted
    ]


def _probe(version: PinnedVersion) -> list[str]:
    """Return a fixed draw of the users of the first part that has any, a fair one of all."""
    for record in version.version.manifest.parts("user"):
        if record.rows:
            ids = version.version.shard(record, "user").ids
            return strings(ids.take(probe_rows(ids, PROBE_USERS)))
    return []
