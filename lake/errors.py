"""What can go wrong in the lake, by what the caller can do about it."""


class LakeError(Exception):
    """Base of every error that this package raises."""


class MissingArtifactError(LakeError):
    """An artifact that a step needs was never made: make it first."""


class CorruptArtifactError(LakeError):
    """Stored bytes do not match their recorded digest: restore or rebuild them."""


class LogMovedError(LakeError):
    """Another writer appended since the caller folded the log: fold again and decide again."""


class UnknownFormatError(LakeError):
    """A file carries a ``format_version`` that this release does not read: upgrade."""


class WorkspaceBusyError(LakeError):
    """Another process writes to the same place: wait for it, or stop it."""


class StorageError(LakeError):
    """The storage service refused or did not answer: check address, credentials, permissions."""


class ErasureError(LakeError):
    """Users cannot be kept out or taken out as asked: the message says what to set or remove."""
