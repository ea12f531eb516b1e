"""Keyed hashes of ids: buckets, and names for users in messages and certificates."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Fixed for good: buckets of files that are already written depend on it.
_BUCKET_KEY = b"marquee-bucket-v1"
_NAME_KEY = b"marquee-name-v1"
_TOMBSTONE_BYTES = 16  # 10^9 users and as many tombstones collide with a chance of 10^-21


def keyed_hash(identifier: str) -> str:
    """Return a short name for an id that must not appear in messages or certificates."""
    return hashlib.blake2b(identifier.encode(), key=_NAME_KEY, digest_size=8).hexdigest()


def tombstone_key(secret: str) -> bytes:
    """Return the key of tombstones: a secret's, or the public one where the secret is empty."""
    given = f"secret:{secret}".encode() if secret else b"public"
    return hashlib.blake2b(given, key=_NAME_KEY, digest_size=32, person=b"tombstone").digest()


def tombstone_hash(identifier: str, key: bytes) -> str:
    """Return the hash by which an erased user is known under a ``tombstone_key``."""
    data = identifier.encode()
    return hashlib.blake2b(data, key=key, digest_size=_TOMBSTONE_BYTES).hexdigest()


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
