"""The embedding store: published versions of user and item embeddings, and who reads which.

A consumer needs three lines::

    from embedding_store import EmbeddingClient
    version = EmbeddingClient.at("<workspace>/store").pin("stable")
    found, vectors = version.users(["u1", "u2"])
"""

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient, PinnedVersion, ScoredItem
from embedding_store.contracts import EmbeddingShard
from embedding_store.entries import ConsumerRegistered, ModelAccepted
from embedding_store.errors import (
    AlreadyPublishedError,
    ContractError,
    CorruptVersionError,
    NoBaseModelError,
    NoVersionError,
    PublicationRefusedError,
    StabilisationError,
    StableMovedError,
    StoreError,
    UnknownEntryError,
    UnknownItemError,
)
from embedding_store.gates import Gate, GatePolicy, GateRecord, QualityComparison
from embedding_store.history import rebuild
from embedding_store.manifest import Manifest, Origin
from embedding_store.publisher import Evidence, Promotion, Publication, Publisher
from embedding_store.stabilise import stabilise
from embedding_store.staging import ActiveUsers
from embedding_store.state import ModelAcceptance, PublishedVersion, StoreState, Switch, fold
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version, open_version

__all__ = [
    "ActiveUsers",
    "AlreadyPublishedError",
    "ConsumerRegistered",
    "ContractError",
    "CorruptVersionError",
    "EmbeddingClient",
    "EmbeddingShard",
    "EmbeddingStore",
    "Evidence",
    "Gate",
    "GatePolicy",
    "GateRecord",
    "Manifest",
    "ModelAcceptance",
    "ModelAccepted",
    "NoBaseModelError",
    "NoVersionError",
    "Origin",
    "PinnedVersion",
    "Promotion",
    "Publication",
    "PublicationRefusedError",
    "PublishedVersion",
    "Publisher",
    "QualityComparison",
    "ScoredItem",
    "StabilisationError",
    "StableMovedError",
    "StoreError",
    "StoreState",
    "Switch",
    "UnknownEntryError",
    "UnknownItemError",
    "Version",
    "check",
    "fold",
    "open_version",
    "rebuild",
    "stabilise",
]
