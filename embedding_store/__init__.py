"""The embedding store: published versions of user and item embeddings, and who reads which.

A consumer needs five lines (``docs/embeddings.md`` says more)::

    from embedding_store import EmbeddingClient
    version = EmbeddingClient.at("s3://bucket/store").pin("stable")  # or the folder of a store
    users = version.users(["u1", "u2"])     # is_found [True, False], vectors float32[2, dim]
    items = version.items(["t7", "t9"])     # the same of items
    best = version.search_items(users, 10)  # ids and scores, [2, 10]
"""

from embedding_store.answers import Embeddings, ScoredItem, TopItems, require_one_version
from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.contracts import EmbeddingShard
from embedding_store.entries import ConsumerRegistered, ModelAccepted
from embedding_store.errors import (
    AlreadyPublishedError,
    ContractError,
    CorruptVersionError,
    ErasedUsersError,
    MixedVersionsError,
    NoBaseModelError,
    NoVersionError,
    PublicationRefusedError,
    RetiredVersionError,
    StabilisationError,
    StableMovedError,
    StoreError,
    UnknownEntryError,
    UnknownItemError,
    UnreachableStoreError,
)
from embedding_store.folding import fold
from embedding_store.gates import Gate, GatePolicy, GateRecord, QualityComparison
from embedding_store.history import rebuild
from embedding_store.last_week import ConsumerTask, version_of_last_week
from embedding_store.manifest import Manifest, Origin
from embedding_store.pinned import PinnedVersion
from embedding_store.publisher import Evidence, Promotion, Publication, Publisher
from embedding_store.stabilise import stabilise
from embedding_store.staging import ActiveUsers
from embedding_store.state import Frame, ModelAcceptance, PublishedVersion, StoreState, Switch
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version, open_version

__all__ = [
    "ActiveUsers",
    "AlreadyPublishedError",
    "ConsumerRegistered",
    "ConsumerTask",
    "ContractError",
    "CorruptVersionError",
    "EmbeddingClient",
    "EmbeddingShard",
    "EmbeddingStore",
    "Embeddings",
    "ErasedUsersError",
    "Evidence",
    "Frame",
    "Gate",
    "GatePolicy",
    "GateRecord",
    "Manifest",
    "MixedVersionsError",
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
    "RetiredVersionError",
    "ScoredItem",
    "StabilisationError",
    "StableMovedError",
    "StoreError",
    "StoreState",
    "Switch",
    "TopItems",
    "UnknownEntryError",
    "UnknownItemError",
    "UnreachableStoreError",
    "Version",
    "check",
    "fold",
    "open_version",
    "rebuild",
    "require_one_version",
    "stabilise",
    "version_of_last_week",
]
