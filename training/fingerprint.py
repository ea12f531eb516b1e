"""Digests of what a run has read and of the code that reads it: equal means equal."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.digests import digest_file, digest_json
from training.contracts import Histories
from training.features.items import ItemFeatures


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
    for name, (sets, codes) in sorted(histories.request_sets.items()):
        digest.update("\n".join("\x1f".join(members) for members in sets).encode())
        add(name, codes)
    for name, at in sorted(histories.request_instants.items()):
        add(name, at)
    return digest.hexdigest()


def fingerprint_of_items(items: ItemFeatures) -> str:
    """Return the sha256 of everything that an item encoder reads, in hex."""
    digest = hashlib.sha256("\n".join((*items.ids, *map(str, items.texts))).encode())
    for tensor in (items.codes_MK, items.genres_MG, items.numbers_MN):
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@functools.cache
def fingerprint_of_code() -> str:
    """Return the digest of this package's sources: another release goes another way."""
    root = Path(__file__).parent
    return digest_json(
        {str(p.relative_to(root)): digest_file(p) for p in sorted(root.rglob("*.py"))}
    )
