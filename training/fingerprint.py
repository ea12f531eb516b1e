"""One digest of the histories that a run has read: equal means equal data."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from training.contracts import Histories


def fingerprint(histories: Histories) -> str:
    """Return the sha256 of every column, in hex."""
    digest = hashlib.sha256()

    def add(name: str, column: npt.NDArray[Any]) -> None:
        digest.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
        digest.update(np.ascontiguousarray(column).tobytes())

    digest.update("\n".join((*histories.user_ids, "", *histories.items)).encode())
    for name in (
        "offsets",
        "item_code",
        "first_at",
        "last_at",
        "duration_ms",
        "num_events",
        "action_counts",
    ):
        add(name, getattr(histories, name))
    for name, (values, codes) in sorted(histories.request_categories.items()):
        digest.update("\n".join(values).encode())
        add(name, codes)
    for name, numbers in sorted(histories.request_numbers.items()):
        add(name, numbers)
    return digest.hexdigest()
