"""What can go wrong in the embedding store, by what the caller can do about it."""

import errno
from pathlib import Path


class StoreError(Exception):
    """Base of every error that this package raises."""


class ContractError(StoreError, ValueError):
    """Data breaks a contract; the message names the rule and the first offending key."""


class UnknownEntryError(StoreError):
    """The log or a file was written by a newer release: upgrade."""


class NoBaseModelError(StoreError):
    """No model is accepted for that day: run the partition that the message names."""


class NoVersionError(StoreError):
    """Nothing is published under that name: publish first, or ask for another name."""


class RetiredVersionError(NoVersionError):
    """The version was taken out of use: pin an alias, or an instant at which it served."""


class UnreachableStoreError(StoreError):
    """The store cannot be read from here: check its address, the credentials, the permissions."""

    @classmethod
    def of(cls, error: OSError, place: Path) -> "UnreachableStoreError":
        """Return what the system said of a file, and what helps."""
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = "free some space" if is_full else "give this user access to it"
        return cls(f"{error.filename or place}: {error.strerror or error}: {advice}")


class MixedVersionsError(StoreError):
    """Embeddings of different versions meet in one computation: look them up again, together."""


class CorruptVersionError(StoreError):
    """A version's files are missing or changed: restore the folder, or roll back."""


class UnusableIndexError(StoreError):
    """An index is missing, damaged or of another library: build it; until then search is exact."""


class StabilisationError(StoreError):
    """Vectors cannot be brought onto the frame: publish a frame beside it, or fix the input."""


class PublicationRefusedError(StoreError):
    """The log, a gate or the request itself forbids it; the message says which and what helps."""


class AlreadyPublishedError(PublicationRefusedError):
    """The day has a version from other inputs: republish it explicitly."""


class StableMovedError(PublicationRefusedError):
    """``stable`` is no longer what the version was judged against: stabilise and gate again."""


class ErasedUsersError(PublicationRefusedError):
    """The vectors are of users who were erased since: run the day again."""


class UnknownItemError(StoreError, KeyError):
    """The version holds no such item."""

    def __str__(self) -> str:
        """Return the message itself; KeyError would quote it."""
        return str(self.args[0])
