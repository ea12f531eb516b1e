"""One version, resolved once: look-ups, search and bulk reads that never mix versions."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from time import monotonic

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.answers import Embeddings, ScoredItem, TopItems
from embedding_store.contracts import EmbeddingShard, Float32, Ids, Side, asked_ids
from embedding_store.errors import (
    ContractError,
    MixedVersionsError,
    UnknownItemError,
    UnreachableStoreError,
)
from embedding_store.item_index import RECALL_AT, ItemIndex, Rows
from embedding_store.item_search import (
    Best,
    best_by_index,
    best_of,
    best_of_all,
    best_of_blocks,
)
from embedding_store.state import PublishedVersion
from embedding_store.versions import Version
from lake.hashing import buckets

logger = logging.getLogger(__name__)

CACHED_BUCKETS = 4
"""User parts that a pinned version keeps in memory; the least recently used one goes first."""


PATIENCE_S = 3600.0
"""How long what is pinned goes on answering while nobody can tell what its alias means."""

_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)


def _no_index() -> None:
    return None


def _stay(pinned: "PinnedVersion") -> "PinnedVersion":
    return pinned


@dataclass(slots=True)
class _Contact:
    """When the store last said what an alias means, by this process's monotonic clock."""

    at: float


@dataclass(frozen=True, repr=False)
class PinnedVersion:
    """One version, resolved once: every look-up answers from it, whatever is promoted meanwhile.

    A file is proven by its checksum when it is first read; raises CorruptVersionError then. May be
    shared between threads.
    """

    published: PublishedVersion
    version: Version
    follow: Callable[["PinnedVersion"], "PinnedVersion"] = _stay
    """What ``refresh`` answers."""
    find_index: Callable[[], ItemIndex | None] = _no_index
    """Returns the index over the items, where one is published that can be used here."""
    _contact: "_Contact" = field(default_factory=lambda: _Contact(monotonic()), compare=False)
    _buckets: OrderedDict[int, EmbeddingShard] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock, compare=False)

    def __repr__(self) -> str:
        """Return what it is, in one line."""
        manifest = self.version.manifest
        return (
            f"{self.name} of frame {self.frame}: {manifest.rows('user'):,} users, "
            f"{manifest.rows('item'):,} items, {self.dim} dimensions, {self.metric}, "
            f"seen data before {self.as_of:%Y-%m-%d %H:%M} UTC"
        )

    @property
    def number(self) -> int:
        """The version's number."""
        return self.published.number

    @property
    def name(self) -> str:
        """The version's name, such as ``v3``."""
        return self.published.name

    @property
    def digest(self) -> str:
        """The content digest."""
        return self.version.digest

    @property
    def frame(self) -> int:
        """The frame of the vectors."""
        return self.published.frame

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self.version.manifest.dim

    @property
    def metric(self) -> str:
        """How a user's vector and an item's make the model's score."""
        return self.version.manifest.metric

    @property
    def dtype(self) -> str:
        """How the vectors are stored; whatever it is, look-ups and tables answer float32."""
        return self.version.manifest.dtype

    @property
    def as_of(self) -> datetime:
        """Instant up to which the vectors have seen data, exclusive."""
        return datetime.fromisoformat(self.published.as_of)

    @property
    def num_buckets(self) -> int:
        """How many parts the users lie in, by a hash of their ids."""
        return len(self.version.manifest.parts("user"))

    @cached_property
    def default_user(self) -> Float32:
        """The vector that unknown users get, float32[dim]."""
        vector = np.array(self.version.manifest.default_user, dtype=np.float32)
        vector.flags.writeable = False
        return vector

    def refresh(self, *, patience_s: float = PATIENCE_S) -> "PinnedVersion":
        """Return what the alias means now, in the same frame: this very object if nothing moved.

        What was pinned by a number or an instant stays.

        Args:
            patience_s: while the store cannot be reached, this object is returned, with a warning
                in the log, until its last answer is so old; then UnreachableStoreError is raised.
        """
        try:
            now = self.follow(self)
        except UnreachableStoreError as error:
            silent_s = monotonic() - self._contact.at
            if silent_s > patience_s:
                raise
            logger.warning("%s goes on, silent for %.0f s: %s", self.name, silent_s, error)
            return self
        self._contact.at = monotonic()
        return now

    def users(self, user_ids: Sequence[str]) -> Embeddings:
        """Return the users' embeddings; unknown users get the declared default."""
        ids = asked_ids(user_ids)
        names = _names(ids)
        is_found = np.zeros(len(ids), dtype=bool)
        vectors = np.tile(self.default_user, (len(ids), 1))
        asked = buckets(names, self.num_buckets)
        for bucket in np.unique(asked):
            rows = np.flatnonzero(asked == bucket)
            shard = self._user_bucket(int(bucket))
            is_there, places = _places(shard.ids, ids.take(rows))
            is_found[rows] = is_there
            vectors[rows[is_there]] = shard.vectors[places]
        return Embeddings(tuple(names), is_found, vectors, self.name)

    def items(self, item_ids: Sequence[str]) -> Embeddings:
        """Return the items' embeddings; unknown items get zeros, which no published item has."""
        shard, ids = self.version.items, asked_ids(item_ids)
        is_found, places = _places(shard.ids, ids)
        vectors = np.zeros((len(is_found), self.dim), dtype=np.float32)
        vectors[is_found] = shard.vectors[places]
        return Embeddings(tuple(_names(ids)), is_found, vectors, self.name)

    def all_items(self) -> tuple[Ids, Float32]:
        """Return (ids, float32[items, dim]) of every item, by id; the matrix is read-only."""
        return self.version.items.ids, self.version.items.vectors

    @cached_property
    def index(self) -> ItemIndex | None:
        """The index over the items; None where searches are exact, for a reason in the log."""
        return self.find_index()

    def search_items(
        self, users: Embeddings | Float32, k: int, *, exact: bool | None = None
    ) -> TopItems:
        """Return the ``k`` items with the highest scores for each user.

        Args:
            users: looked-up users of this version, or vectors, float32[N, dim].
            k: how many; all items where there are fewer.
            exact: as for ``top_items``.

        Raises MixedVersionsError for users of another version.
        """
        _require_one(k)  # also of no users
        ids, vectors = self.all_items()
        queries = self._queries(users)
        found = self._found_by_index(queries, k, exact=exact)
        rows, scores = best_of_blocks(vectors, queries, k) if found is None else found
        names = ids.take(rows.reshape(-1)).to_numpy(zero_copy_only=False)
        return TopItems(names.reshape(rows.shape), scores, self.name)

    def top_items(
        self, user_id: str, k: int, *, exclude: Collection[str] = (), exact: bool | None = None
    ) -> list[ScoredItem]:
        """Return the ``k`` items with the highest scores (inner products, the model's logits).

        Args:
            user_id: for whom; an unknown user gets the declared default's.
            k: how many; fewer where fewer remain.
            exclude: items to leave out, such as those already seen; unknown ones are ignored.
            exact: True looks at every item. By default a published index names the candidates, up
                to the ``k`` that its recall was measured for; False goes by it for any ``k``.
                Scores and ties are the same either way.
        """
        _require_one(k)
        query = self.users([user_id]).vectors[0]
        _, excluded = _places(self.version.items.ids, asked_ids(list(exclude)))
        vectors = self.version.items.vectors
        index = self._index_for(k, exact=exact)
        best = best_by_index(index, vectors, query, k, excluded) if index else None
        return self._named(best or best_of_all(vectors, query, k, excluded))

    def similar_items(self, item_id: str, k: int) -> list[ScoredItem]:
        """Return the ``k`` items with the highest cosine to an item; raises UnknownItemError."""
        _require_one(k)
        asked = self.items([item_id])
        if not asked.is_found[0]:
            raise UnknownItemError(f"version {self.name} holds no item {item_id!r}")
        vectors, one = self.version.items.vectors, asked.vectors[0]
        lengths = np.linalg.norm(vectors, axis=1)
        cosines = vectors @ one / (lengths * np.linalg.norm(one))
        _, itself = _places(self.version.items.ids, asked_ids([item_id]))
        return self._named(best_of(cosines, k, itself))

    def tables(self, side: Side) -> Iterator[pa.Table]:
        """Yield every embedding, a proven table per part: ``<side>_id``, ``embedding`` in float32.

        Users come by bucket, 0 to ``num_buckets`` - 1; items by id.
        """
        for record in self.version.manifest.parts(side):
            yield self.version.shard(record, side).decoded

    def bucket_table(self, bucket: int) -> pa.Table:
        """Return the users of one bucket, proven, as ``tables`` has them; nothing else is read."""
        if not 0 <= bucket < self.num_buckets:
            raise ContractError(f"bucket: want 0 to {self.num_buckets - 1}, got {bucket}")
        return self.version.shard(self.version.manifest.parts("user")[bucket], "user").decoded

    def files(self, side: Side) -> tuple[Path, ...]:
        """Return the Parquet files on this machine, for other readers, in the order of ``tables``.

        ``verify`` proves them. Vectors lie there as ``dtype``, an int8 with the ``scale`` of its
        row beside it: see docs/stored-vectors.md.
        """
        version = self.version.standing()
        return tuple(version.folder / one.path for one in version.manifest.parts(side))

    def verify(self) -> None:
        """Prove every file by its checksum; raises CorruptVersionError."""
        self.version.verify()

    def buckets_of(self, user_ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return int32[N]: the bucket that each user is in, if the version has them."""
        return buckets(_names(asked_ids(user_ids)), self.num_buckets)

    def _queries(self, users: Embeddings | Float32) -> Float32:
        if isinstance(users, Embeddings):
            if users.version != self.name:
                raise MixedVersionsError(
                    f"users of {users.version} cannot be searched for in {self.name}: look them "
                    "up in the version that is searched"
                )
            return users.vectors
        if users.ndim != 2 or users.shape[1] != self.dim or not np.isfinite(users).all():
            raise ContractError(
                f"search: want finite vectors, float32[users, {self.dim}], got {users.shape}"
            )
        return users.astype(np.float32, copy=False)

    def _index_for(self, k: int, *, exact: bool | None) -> ItemIndex | None:
        if exact or (exact is None and k > RECALL_AT):
            return None
        return self.index

    def _found_by_index(
        self, queries: Float32, k: int, *, exact: bool | None
    ) -> tuple[Rows, Float32] | None:
        """Return (rows, scores) of all queries; None when exact search has to answer."""
        index = self._index_for(k, exact=exact)
        if index is None or not len(queries):
            return None
        vectors = self.version.items.vectors
        found = [best_by_index(index, vectors, query, k, _NO_ROWS) for query in queries]
        best = [one for one in found if one is not None]
        if len(best) < len(found):
            return None
        return np.stack([one.rows for one in best]), np.stack([one.scores for one in best])

    def _named(self, best: Best) -> list[ScoredItem]:
        ids = self.version.items.ids
        pairs = zip(best.rows.tolist(), best.scores.tolist(), strict=True)
        return [ScoredItem(str(ids[row].as_py()), score) for row, score in pairs]

    def _user_bucket(self, bucket: int) -> EmbeddingShard:
        with self._lock:
            if bucket in self._buckets:
                self._buckets.move_to_end(bucket)
            else:
                record = self.version.manifest.parts("user")[bucket]
                self._buckets[bucket] = self.version.shard(record, "user")
                if len(self._buckets) > CACHED_BUCKETS:
                    self._buckets.popitem(last=False)
            return self._buckets[bucket]


def _require_one(k: int) -> None:
    if k < 1:
        raise ContractError(f"k: want at least 1, got {k}")


def _names(ids: Ids) -> list[str]:
    """Return ids that have no nulls as Python has them, of whatever kind they were given."""
    return [str(one) for one in ids.to_pylist()]


def _places(held: Ids, asked: Ids) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which of the ids asked for are held, and the row of each that is."""
    places = pc.index_in(asked, value_set=held)
    is_there = pc.is_valid(places).to_numpy(zero_copy_only=False)
    return is_there, pc.drop_null(places).to_numpy(zero_copy_only=False)
