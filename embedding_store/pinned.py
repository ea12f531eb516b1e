"""One version, resolved once: look-ups, search and bulk reads that never mix versions."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.answers import Embeddings, ScoredItem, TopItems
from embedding_store.contracts import EmbeddingShard, Float32, Ids, Side
from embedding_store.errors import ContractError, MixedVersionsError, UnknownItemError
from embedding_store.exact_search import best_columns
from embedding_store.state import PublishedVersion
from embedding_store.versions import Version
from lake.hashing import buckets

CACHED_BUCKETS = 4
"""User parts that a pinned version keeps in memory; the least recently used one goes first."""

_BLOCK_SCORES = 1 << 22
"""Scores that a search holds at a time, 16 MB."""


def _stay(pinned: "PinnedVersion") -> "PinnedVersion":
    return pinned


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

    def refresh(self) -> "PinnedVersion":
        """Return what the alias means now, in the same frame: this very object if nothing moved.

        What was pinned by a number or an instant stays.
        """
        return self.follow(self)

    def users(self, user_ids: Sequence[str]) -> Embeddings:
        """Return the users' embeddings; unknown users get the declared default."""
        ids = _strings(user_ids)
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
        shard, ids = self.version.items, _strings(item_ids)
        is_found, places = _places(shard.ids, ids)
        vectors = np.zeros((len(is_found), self.dim), dtype=np.float32)
        vectors[is_found] = shard.vectors[places]
        return Embeddings(tuple(_names(ids)), is_found, vectors, self.name)

    def all_items(self) -> tuple[Ids, Float32]:
        """Return (ids, float32[items, dim]) of every item, by id; the matrix is read-only."""
        return self.version.items.ids, self.version.items.vectors

    def search_items(self, users: Embeddings | Float32, k: int) -> TopItems:
        """Return the ``k`` items with the highest scores for each user: exact, over all items.

        Args:
            users: looked-up users of this version, or vectors, float32[N, dim].
            k: how many; all items where there are fewer.

        Raises MixedVersionsError for users of another version.
        """
        if k < 1:  # also of no users
            raise ContractError(f"k: want at least 1, got {k}")
        ids, vectors = self.all_items()
        queries = self._queries(users)
        step = max(1, _BLOCK_SCORES // len(ids))
        taken = np.zeros((len(queries), min(k, len(ids))), dtype=np.int64)
        scores = np.zeros(taken.shape, dtype=np.float32)
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            products = queries[block] @ vectors.T
            taken[block] = best_columns(products, k)
            scores[block] = np.take_along_axis(products, taken[block], axis=1)
        names = ids.take(taken.reshape(-1)).to_numpy(zero_copy_only=False)
        return TopItems(names.reshape(taken.shape), scores, self.name)

    def top_items(self, user_id: str, k: int, *, exclude: Collection[str] = ()) -> list[ScoredItem]:
        """Return the ``k`` items with the highest scores (inner products, the model's logits)."""
        vectors = self.users([user_id]).vectors
        return self._best(self.version.items.vectors @ vectors[0], k, exclude)

    def similar_items(self, item_id: str, k: int) -> list[ScoredItem]:
        """Return the ``k`` items with the highest cosine to an item; raises UnknownItemError."""
        asked = self.items([item_id])
        if not asked.is_found[0]:
            raise UnknownItemError(f"version {self.name} holds no item {item_id!r}")
        vectors, one = self.version.items.vectors, asked.vectors[0]
        lengths = np.linalg.norm(vectors, axis=1)
        return self._best(vectors @ one / (lengths * np.linalg.norm(one)), k, {item_id})

    def tables(self, side: Side) -> Iterator[pa.Table]:
        """Yield every embedding, a proven table per part: ``<side>_id``, ``embedding``.

        Users come by bucket, 0 to ``num_buckets`` - 1; items by id.
        """
        for record in self.version.manifest.parts(side):
            yield self.version.shard(record, side).table

    def files(self, side: Side) -> tuple[Path, ...]:
        """Return the Parquet files on this machine, for other readers, in the order of ``tables``.

        ``verify`` proves them.
        """
        version = self.version.standing()
        return tuple(version.folder / one.path for one in version.manifest.parts(side))

    def verify(self) -> None:
        """Prove every file by its checksum; raises CorruptVersionError."""
        self.version.verify()

    def buckets_of(self, user_ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return int32[N]: the bucket that each user is in, if the version has them."""
        return buckets(_names(_strings(user_ids)), self.num_buckets)

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

    def _best(self, scores: Float32, k: int, exclude: Collection[str]) -> list[ScoredItem]:
        """Ties go to the smaller id: rows are in the order of ids."""
        ids = self.version.items.ids
        order = best_columns(scores[None], k + len(exclude))[0]
        pairs = ((ids[int(row)].as_py(), float(scores[row])) for row in order)
        return [ScoredItem(*pair) for pair in pairs if pair[0] not in exclude][:k]

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


def _strings(ids: Sequence[str]) -> Ids:
    """Return ids as Arrow has them; raises ContractError unless each is a string in UTF-8."""
    if isinstance(ids, (str, bytes)):  # a sequence too, of ids of one letter
        raise ContractError(f"ids: want strings in a list, got one alone of length {len(ids)}")
    try:
        strings = pa.array(ids, pa.string())
    except (TypeError, pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise ContractError(f"ids: want strings ({error})") from error
    if strings.null_count:
        raise ContractError(f"ids: want strings, got {strings.null_count} nulls")
    return strings


def _names(ids: Ids) -> list[str]:
    """Return ids that have no nulls as Python has them, of whatever kind they were given."""
    return [str(one) for one in ids.to_pylist()]


def _places(held: Ids, asked: Ids) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which of the ids asked for are held, and the row of each that is."""
    places = pc.index_in(asked, value_set=held)
    is_there = pc.is_valid(places).to_numpy(zero_copy_only=False)
    return is_there, pc.drop_null(places).to_numpy(zero_copy_only=False)
