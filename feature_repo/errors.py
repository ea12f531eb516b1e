"""What can go wrong between the log and Feast, by what the caller can do about it."""


class FeatureRepoError(Exception):
    """Base of every error that this package raises."""


class RenderingError(FeatureRepoError):
    """The log cannot vouch for what the registry serves: restore the log, then reconcile."""


class LiveVersionError(FeatureRepoError):
    """An apply would delete what the log holds live: apply what the log renders, nothing less."""


class OnlineRowsError(FeatureRepoError):
    """A version's online rows are not those that it publishes: run ``marquee reconcile``."""


class NoTableError(FeatureRepoError):
    """A view has no online rows at all: it was retired, or they are lost."""


class OnlineStoreError(FeatureRepoError):
    """The online store cannot be used as it is configured: the message says what to set."""


class RegistryLostError(FeatureRepoError):
    """This writer may not write the registry, or no longer: run ``marquee reconcile`` again."""


class ServingError(FeatureRepoError):
    """A feature server cannot verify tokens as it is configured: the message says what to set."""


class NotServedError(FeatureRepoError):
    """Nothing is served under that name: publish and promote a version first."""


class HistoryError(FeatureRepoError):
    """A point-in-time join cannot answer what was served: the message says which rows and why."""
