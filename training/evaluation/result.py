"""What an evaluation found, and how it is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.lake import Written
from training.evaluation.intervals import Estimate

FORMAT_VERSION = 1
EVALUATION_FILE = "evaluation.json"
PER_USER_FILE = "per_user.parquet"

PROTOCOL: Mapping[str, str] = {
    "candidates": "the full catalogue: every item valid at some instant of the day",
    "targets": "unique (user, item) pairs of target tokens that start on the day, without the "
    "item that the user's history ends with",
    "seen_items": "kept: a title may be watched again",
    "ties": "expectation over uniformly random order of equal scores",
    "users": "vectors as served: history up to the start of the day, no request facets",
    "mean": "micro, over targets",
    "interval": "95 %, bootstrap over users, 1000 resamples; differences are paired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation; metric names are those of ``ranking.METRICS``."""

    kind: str
    """"next_day" or "candidate"."""
    day: date
    counts: Mapping[str, int]
    """Of targets, users, candidates, and of what was left out."""
    systems: Mapping[str, Mapping[str, Estimate]]
    """By system, then by metric."""
    coverage_at_10: Mapping[str, float]
    """By system: share of candidates in any asked user's first ten."""
    differences: Mapping[str, Mapping[str, Estimate]]
    """By ``"a - b"``, then by metric: paired."""
    slices: Mapping[str, Mapping[str, Any]]
    """By slice: its number of targets, and by system the metrics' means."""
    per_user: pa.Table
    """``user_id``, ``num_targets``, and ``<system>/<metric>``: sums over the user's targets."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without the table."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "day": self.day.isoformat(),
            "protocol": dict(PROTOCOL),
            "counts": dict(self.counts),
            "systems": _plain(self.systems),
            "coverage_at_10": dict(self.coverage_at_10),
            "differences": _plain(self.differences),
            "slices": {name: dict(one) for name, one in self.slices.items()},
        }


def _plain(nested: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
    return {
        name: {metric: estimate.to_json() for metric, estimate in one.items()}
        for name, one in nested.items()
    }


def write_evaluation(evaluation: Evaluation, folder: Path) -> Written:
    """Write ``evaluation.json`` and ``per_user.parquet``; return the figures a person looks at."""
    value = evaluation.to_json()
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    (folder / EVALUATION_FILE).write_text(text, encoding="utf-8")
    pq.write_table(evaluation.per_user, folder / PER_USER_FILE)
    figures = {name: value[name] for name in ("counts", "systems", "differences", "slices")}
    return Written(evaluation.counts["targets"], figures)
