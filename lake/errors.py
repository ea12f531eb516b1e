"""What can go wrong in the lake, by what the caller can do about it."""


class LakeError(Exception):
    """Base of every error that this package raises."""


class MissingArtifact(LakeError):
    """An artifact that a step needs was never made: make it first."""


class CorruptArtifact(LakeError):
    """Stored bytes do not match their recorded digest: restore or rebuild them."""


class LogMoved(LakeError):
    """Another writer appended since the caller folded the log: fold again and decide again."""


class UnknownFormat(LakeError):
    """A file carries a ``format_version`` that this release does not read: upgrade."""


class WorkspaceBusy(LakeError):
    """Another process writes to the same place: wait for it, or stop it."""
