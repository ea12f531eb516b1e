"""What can go wrong around training, by what the caller can do about it."""


class AssetsError(Exception):
    """Base of every error that this package raises."""


class TrackingError(AssetsError):
    """The experiment tracker does not hold what was asked of it."""


class JobError(AssetsError, ValueError):
    """A description of a training job is incomplete or contradicts itself."""
