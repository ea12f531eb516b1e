"""Keyed hashes of ids: buckets, and names for users in messages and certificates."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Fixed for good: buckets of files that are already written depend on it.
_BUCKET_KEY = b"marquee-bucket-v1"
_NAME_KEY = b"marquee-name-v1"
_HASHED_AT_ONCE = 1 << 16  # their digests as Python objects take 3 MiB
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
    mask = np.uint64(num_buckets - 1)
    key = hashlib.blake2b(salt.encode(), key=_BUCKET_KEY, digest_size=32).digest()
    left = iter(identifiers)
    drawn = [np.empty(0, np.int32)]
    while digests := b"".join(_digests(islice(left, _HASHED_AT_ONCE), key)):
        drawn.append((np.frombuffer(digests, "<u8") & mask).astype(np.int32))
    return np.concatenate(drawn)


def _digests(identifiers: Iterable[str], key: bytes) -> Iterator[bytes]:
    keyed = hashlib.blake2b(key=key, digest_size=8)  # copied: a third faster than keyed anew
    for one in identifiers:
        hashed = keyed.copy()
        hashed.update(one.encode())
        yield hashed.digest()
