"""Tombstones: who was erased, by a keyed hash. What is taken in asks them, so nobody comes back.

One object per request, named by its content, so that the users of a request are all erased or none
of them, and the same request twice is one object::

    tombstones/<digest>.json    {"format_version": 1, "key": <fingerprint>, "users": [<hash>, ...]}

The key is made of a secret, which entry points take from ``MARQUEE_ERASURE_KEY``. Without one the
key is public, and whoever can read the tombstones can test whether an id that they already know is
among them. One lake has one key: under another one no user would match and all of them would come
back, so that is refused.
"""

import json
from collections.abc import Collection, Iterable
from threading import Lock

from lake.digests import digest_bytes, digest_json
from lake.errors import CorruptArtifactError, ErasureError, UnknownFormatError
from lake.hashing import tombstone_hash, tombstone_key
from lake.objects import Objects, get_all
from lake.sealed import json_object

KEY_VARIABLE = "MARQUEE_ERASURE_KEY"
"""What entry points read the secret from, and messages name."""

FORMAT_VERSION = 1

_FOLDER = "tombstones"


class Tombstones:
    """The tombstones of one lake: ``user in tombstones`` is whether the user was erased.

    They are what they were when ``read`` was called last; objects never change, so each is read
    once.
    """

    def __init__(self, objects: Objects, secret: str = "") -> None:
        """Open those of ``objects``; without a secret their key is public."""
        self._objects = objects
        self._key = tombstone_key(secret)
        self._known: dict[str, frozenset[str]] = {}
        self._hashes: frozenset[str] = frozenset()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        """What tells the key from others without giving it away."""
        return digest_bytes(self._key)[:16]

    @property
    def hashes(self) -> frozenset[str]:
        """The hash of every erased user."""
        return self._hashes

    def __contains__(self, user_id: object) -> bool:
        """Return whether the user was erased."""
        return bool(self._hashes) and self.hash_of(str(user_id)) in self._hashes

    def __len__(self) -> int:
        """Return how many users were erased."""
        return len(self._hashes)

    def hash_of(self, user_id: str) -> str:
        """Return the hash by which a user is known here."""
        return tombstone_hash(user_id, self._key)

    def among(self, user_ids: Iterable[str | None]) -> Collection[str]:
        """Return the erased ones of some users."""
        return [one for one in user_ids if one is not None and one in self] if self else []

    def read(self) -> "Tombstones":
        """Take in what was written since, and return these tombstones.

        Raises ErasureError when they were written under another key.
        """
        with self._lock:
            keys = [key for key in self._objects.list(_FOLDER) if key not in self._known]
            for key, data in zip(keys, get_all(self._objects, keys), strict=True):
                self._known[key] = self._users_of(key, data)
            if keys:
                self._hashes = frozenset().union(*self._known.values())
        return self

    def add(self, user_ids: Iterable[str]) -> tuple[str, ...]:
        """Make the users erased for good, all at once; return their hashes, sorted.

        Raises ErasureError when there are tombstones under another key.
        """
        self.read()
        hashes = sorted({self.hash_of(one) for one in user_ids})
        fields = {"format_version": FORMAT_VERSION, "key": self.fingerprint, "users": hashes}
        if not self._hashes.issuperset(hashes):
            data = (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode()
            self._objects.put_if_absent(f"{_FOLDER}/{digest_json(fields)[:32]}.json", data)
            self.read()
        return tuple(hashes)

    def _users_of(self, key: str, data: bytes) -> frozenset[str]:
        where = f"{self._objects}/{key}"
        try:
            fields = json_object(data)
            version, fingerprint = fields["format_version"], fields["key"]
            users = frozenset(map(str, fields["users"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(
                f"{where}: want tombstones in JSON, got {len(data)} bytes ({error}): restore it "
                "from a copy, or erased users come back"
            ) from error
        if version != FORMAT_VERSION:
            raise UnknownFormatError(
                f"{where}: want format {FORMAT_VERSION}, got {version!r}: use the release that "
                "wrote it, or a newer one"
            )
        if fingerprint != self.fingerprint:
            raise ErasureError(
                f"{where}: the tombstones are of the key {fingerprint}, {KEY_VARIABLE} gives the "
                f"key {self.fingerprint}: set it to what it was when users were erased, or to "
                "nothing if it was not set; under another key erased users would come back"
            )
        return users
