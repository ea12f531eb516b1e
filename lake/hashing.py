"""Keyed hashes of ids: buckets, and names for users in messages and certificates."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Fixed for good: buckets of files that are already written depend on it.
_BUCKET_KEY = b"marquee-bucket-v1"
_NAME_KEY = b"marquee-name-v1"


def keyed_hash(identifier: str) -> str:
    """Return a short name for an id that must not appear in messages or certificates."""
    return hashlib.blake2b(identifier.encode(), key=_NAME_KEY, digest_size=8).hexdigest()


def buckets(identifiers: Iterable[str], num_buckets: int) -> NDArray[np.int32]:
    """Return the bucket of each id, int32 in ``[0, num_buckets)``; ``num_buckets`` is 2^k.

    Doubling ``num_buckets`` splits every bucket in two and moves nothing between others.
    """
    return salted_buckets(identifiers, num_buckets, salt="")


def salted_buckets(identifiers: Iterable[str], num_buckets: int, *, salt: str) -> NDArray[np.int32]:
    """Return buckets that are independent between salts: a fresh fixed draw for each one."""
    if num_buckets < 1 or num_buckets & (num_buckets - 1):
        raise ValueError(f"num_buckets: want a power of two, got {num_buckets}")
    mask = num_buckets - 1
    key = hashlib.blake2b(salt.encode(), key=_BUCKET_KEY, digest_size=32).digest()
    drawn = (
        int.from_bytes(hashlib.blake2b(one.encode(), key=key, digest_size=8).digest(), "little")
        & mask
        for one in identifiers
    )
    return np.fromiter(drawn, dtype=np.int32)
