"""What a consumer reads: a version pinned once, then look-ups that never mix versions."""

import os
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.contracts import EmbeddingShard, Float32, Ids
from embedding_store.errors import NoVersionError, UnknownItemError
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version, open_version
from lake.digests import digest_bytes
from lake.hashing import buckets
from lake.s3 import SCHEME
from lake.storage import locate

CACHED_BUCKETS = 4
"""User parts that a pinned version keeps in memory; the least recently used one goes first."""

Bool = npt.NDArray[np.bool_]


class ScoredItem(NamedTuple):
    """An item and its score."""

    item_id: str
    score: float


@dataclass(frozen=True)
class PinnedVersion:
    """One version, resolved once: every look-up answers from it, whatever is promoted meanwhile.

    A file is proven by its checksum when it is first read; raises CorruptVersionError then.
    """

    published: PublishedVersion
    version: Version
    _buckets: OrderedDict[int, EmbeddingShard] = field(default_factory=OrderedDict, repr=False)

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
    def as_of(self) -> datetime:
        """Instant up to which the vectors have seen data, exclusive."""
        return datetime.fromisoformat(self.published.as_of)

    @cached_property
    def default_user(self) -> Float32:
        """The vector that unknown users get, float32[dim]."""
        vector = np.array(self.version.manifest.default_user, dtype=np.float32)
        vector.flags.writeable = False
        return vector

    def users(self, user_ids: Sequence[str]) -> tuple[Bool, Float32]:
        """Return (found, float32[len, dim]) in the order asked; unknown users get the default."""
        found = np.zeros(len(user_ids), dtype=bool)
        vectors = np.tile(self.default_user, (len(user_ids), 1))
        parts = self.version.manifest.parts("user")
        asked = buckets(user_ids, len(parts))
        ids = pa.array(user_ids, pa.string())
        for bucket in np.unique(asked):
            rows = np.flatnonzero(asked == bucket)
            shard = self._user_bucket(int(bucket))
            places = pc.index_in(ids.take(rows), value_set=shard.ids)
            is_there = pc.is_valid(places).to_numpy(zero_copy_only=False)
            found[rows] = is_there
            taken = pc.drop_null(places).to_numpy(zero_copy_only=False)
            vectors[rows[is_there]] = shard.vectors[taken]
        return found, vectors

    def items(self, item_ids: Sequence[str]) -> Float32:
        """Return float32[len, dim] in the order asked; raises UnknownItemError."""
        return self.version.items.vectors[self._item_rows(item_ids)]

    def all_items(self) -> tuple[Ids, Float32]:
        """Return (ids, float32[items, dim]) of every item, by id; the matrix is read-only."""
        return self.version.items.ids, self.version.items.vectors

    def top_items(self, user_id: str, k: int, *, exclude: Collection[str] = ()) -> list[ScoredItem]:
        """Return the ``k`` items with the highest scores (inner products, the model's logits)."""
        _, vectors = self.users([user_id])
        return self._best(self.version.items.vectors @ vectors[0], k, exclude)

    def similar_items(self, item_id: str, k: int) -> list[ScoredItem]:
        """Return the ``k`` items with the highest cosine to an item; raises UnknownItemError."""
        vectors = self.version.items.vectors
        row = self._item_rows([item_id])[0]
        lengths = np.linalg.norm(vectors, axis=1)
        return self._best(vectors @ vectors[row] / (lengths * lengths[row]), k, {item_id})

    def _best(self, scores: Float32, k: int, exclude: Collection[str]) -> list[ScoredItem]:
        """Ties go to the smaller id: rows are in the order of ids, and the sort is stable."""
        ids = self.version.items.ids
        order = np.argsort(-scores, kind="stable")[: k + len(exclude)]
        pairs = ((ids[int(row)].as_py(), float(scores[row])) for row in order)
        return [ScoredItem(*pair) for pair in pairs if pair[0] not in exclude][:k]

    def _item_rows(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        places = pc.index_in(pa.array(item_ids, pa.string()), value_set=self.version.items.ids)
        if places.null_count:
            unknown = item_ids[pc.index(pc.is_null(places), value=True).as_py()]
            raise UnknownItemError(f"version {self.name} holds no item {unknown!r}")
        rows: npt.NDArray[np.int64] = places.to_numpy(zero_copy_only=False).astype(np.int64)
        return rows

    def _user_bucket(self, bucket: int) -> EmbeddingShard:
        if bucket in self._buckets:
            self._buckets.move_to_end(bucket)
        else:
            record = self.version.manifest.parts("user")[bucket]
            self._buckets[bucket] = self.version.shard(record, "user")
            if len(self._buckets) > CACHED_BUCKETS:
                self._buckets.popitem(last=False)
        return self._buckets[bucket]


@dataclass(frozen=True)
class EmbeddingClient:
    """A reader of the store at ``root``; needs no more than numpy and pyarrow, and boto3 for S3."""

    root: Path

    @classmethod
    def at(cls, place: str | Path, *, cache: Path | None = None) -> "EmbeddingClient":
        """Return a reader of the store in a folder or at ``s3://bucket/prefix``.

        Args:
            place: the store; credentials for a bucket come from the environment.
            cache: folder for what is read from a bucket; default: below ``$XDG_CACHE_HOME``.
        """
        if not str(place).startswith(SCHEME):
            return cls(Path(place))
        root = cache or _cache_of(str(place))
        locate(root, str(place))
        return cls(root)

    @cached_property
    def store(self) -> EmbeddingStore:
        """The store."""
        return EmbeddingStore(self.root)

    def pin(
        self,
        alias: Literal["stable", "canary", "previous"] = "stable",
        frame: int | None = None,
        *,
        as_of: datetime | None = None,
    ) -> PinnedVersion:
        """Return what an alias means now, or meant at ``as_of``.

        ``frame`` may be left out while the store has one frame only. Raises NoVersionError.
        """
        state = self.store.state(as_of)
        chosen = _only_frame(state, self.store.url) if frame is None else frame
        version = {
            "stable": state.stable,
            "canary": state.canary,
            "previous": state.previous,
        }[alias](chosen)
        if version is None:
            raise NoVersionError(f"frame {chosen} has no {alias} version")
        return self._open(version)

    def pin_number(self, number: int) -> PinnedVersion:
        """Return a published version by its number; raises NoVersionError."""
        return self._open(self.store.state().version(number))

    def _open(self, version: PublishedVersion) -> PinnedVersion:
        folder = self.store.version_folder(version.digest)
        return PinnedVersion(version, open_version(folder, manifest_sha256=version.manifest_sha256))


def _cache_of(url: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "marquee" / digest_bytes(url.encode())[:16]


def _only_frame(state: StoreState, url: str) -> int:
    if not state.frames:
        raise NoVersionError(
            f"nothing is published in {url}: want the folder of an embedding store, such as "
            "<workspace>/store, or a day that is published first"
        )
    if len(state.frames) > 1:
        names = ", ".join(str(one) for one in state.frames)
        raise NoVersionError(
            f"the store has the frames {names}, whose vectors must not be mixed: name one"
        )
    return state.frames[0]
