"""Everything that is measured of a version against its reference, as figures and words for gates.

Each figure is the higher the more alike the two are; 1 is equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from embedding_store.drift import drift
from embedding_store.similarity import compare
from embedding_store.skew import skew
from embedding_store.versions import Version


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and what explains it; None where nothing common could be measured."""

    value: float | None
    note: str


def measure(version: Version, reference: Version) -> Mapping[str, Figure]:
    """Return every figure by the name of its gate."""
    against = f"against {reference.digest[:12]}"
    return {
        **_similarity(version, reference, against),
        **_drift(version, reference, against),
        "version_skew": _skew(version, reference, against),
    }


def _similarity(version: Version, reference: Version, against: str) -> dict[str, Figure]:
    found = compare(version, reference)
    note = f"{found.probe_items if found else 0} probe items, {against}; below, another frame"
    return {
        "item_similarity": Figure(found.item_mean_cosine if found else None, note),
        "neighbour_overlap": Figure(found.item_overlap_at_10 if found else None, note),
    }


def _drift(version: Version, reference: Version, against: str) -> dict[str, Figure]:
    sides = drift(version, reference)
    ratios = ", ".join(f"{one.norm_ratio:.4g} of {side}s" for side, one in sides.items())
    distances = ", ".join(
        f"{one.covariance_distance:.4g} of {side}s" for side, one in sides.items()
    )
    return {
        "norm_drift": Figure(
            min(one.norm_agreement for one in sides.values()),
            f"ratio of mean norms {ratios}, {against}; the figure is that or the inverse, "
            "whichever is smaller",
        ),
        "covariance_drift": Figure(
            1 - max(one.covariance_distance for one in sides.values()),
            f"relative distance of second moments {distances}, {against}; the figure is 1 minus "
            "the larger",
        ),
    }


def _skew(version: Version, reference: Version, against: str) -> Figure:
    found = skew(version, reference)
    if found is None:
        return Figure(None, f"no user or no item in common, {against}")
    return Figure(
        found.overlap_at_10,
        "of ten items by one version's users and the other's items, the share that is in a list of "
        f"one version (of 100 {found.overlap_at_100:.4g}, by chance {found.chance_at_10:.2g});"
        f" {found.probe_users} users, {found.common_items} items, {against}",
    )
