"""What can go wrong between the parts, by what the operator can do about it."""


class PlatformError(Exception):
    """Base of every error that this package raises."""


class WorkspaceError(PlatformError):
    """The workspace is missing, unreadable, or holds another world."""


class GapError(PlatformError):
    """Days are missing between the first one and the one asked for."""


class IncompleteDayError(PlatformError):
    """Events of a day can still arrive, so it cannot be taken in yet."""


class NotAcceptedError(PlatformError):
    """A model was not accepted, so nothing may be made with it."""


class NotPublishedError(PlatformError):
    """A day has no published version, so nothing can be served for it."""


class DisappointingVersionError(PlatformError):
    """A version was tried out or served, and was not what it should be: the one before serves."""


class TrackingError(PlatformError):
    """The experiment tracker does not hold what was asked of it."""


class JobError(PlatformError, ValueError):
    """A description of a training job is incomplete or contradicts itself."""
