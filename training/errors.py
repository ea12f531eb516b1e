"""What can go wrong in training, by what the caller can do about it."""


class TrainingError(Exception):
    """Base of every error that this package raises."""


class SourceError(TrainingError):
    """A source's files are missing, unreadable or not in the stated layout."""


class ContractError(TrainingError, ValueError):
    """Data breaks a contract; the message names the rule and the first offending key."""


class ConfigError(TrainingError, ValueError):
    """A configuration contradicts itself."""


class NoDataError(TrainingError):
    """There is nothing to work on: an empty day, no history, no target."""


class DivergedError(TrainingError):
    """The loss is no longer finite, or higher than where it began."""


class ArtifactError(TrainingError):
    """A model folder is incomplete or contradicts itself: train it again."""


class EngineError(TrainingError):
    """What the work was spread over failed: its workers are gone or out of memory."""
