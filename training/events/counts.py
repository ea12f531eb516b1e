"""What events come to: rows, users, items and actions, of one bucket or of several."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from training.codes import Column, coded
from training.rules import SplitEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of events; those of buckets add up, as no user is in two."""

    rows: int = 0
    users: int = 0
    items: frozenset[str] = frozenset()
    by_action: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    duplicates: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    """In the order in which rules are tried; zeros included."""

    @classmethod
    def of(cls, events: pa.Table, split: SplitEvents | None = None) -> "Counts":
        """Count events, and what telling them apart left out."""
        return cls(
            rows=events.num_rows,
            users=len(_occurring(events["user_id"])),
            items=frozenset(_occurring(events["item_id"])),
            by_action=Counter(_numbers(events["action"])),
            quarantined=int(split.is_rejected.sum()) if split else 0,
            duplicates=split.num_duplicates if split else 0,
            by_rule=Counter(split.counts_by_rule if split else {}),
        )

    @classmethod
    def total(cls, parts: Iterable["Counts"]) -> "Counts":
        """Add up the counts of buckets."""
        each = list(parts)
        by_action, by_rule = Counter[str](), Counter[str]()
        for one in each:
            by_action.update(one.by_action)
            by_rule.update(one.by_rule)
        return cls(
            rows=sum(one.rows for one in each),
            users=sum(one.users for one in each),
            items=frozenset().union(*(one.items for one in each)),
            by_action=by_action,
            quarantined=sum(one.quarantined for one in each),
            duplicates=sum(one.duplicates for one in each),
            by_rule=by_rule,
        )

    def figures(self) -> dict[str, Any]:
        """Return what a person wants to know of events; actions, the commonest first."""
        ordered = sorted(self.by_action.items(), key=lambda one: (-one[1], one[0]))
        return {
            "rows": self.rows,
            "users": self.users,
            "items": len(self.items),
            "by_action": dict(ordered),
        }


def _occurring(column: Column) -> list[str]:
    values, codes = coded(column)
    is_used = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    used: list[Any] = values.filter(pa.array(is_used)).to_pylist()
    return used


def _numbers(column: Column) -> dict[str, int]:
    """Return how often each value occurs; null is ``None``."""
    values, codes = coded(column)
    counts = np.bincount(codes + 1, minlength=len(values) + 1).tolist()
    named = zip(["None", *map(str, values.to_pylist())], counts, strict=True)
    return {name: count for name, count in named if count}
