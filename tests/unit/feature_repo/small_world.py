"""A small embedding store, written by hand, with other users in every version."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedding_store.contracts import embedding_table
from embedding_store.entries import (
    AliasSet,
    VersionPublished,
    VersionRetired,
    VersionRolledBack,
    to_body,
)
from embedding_store.manifest import Coverage, FileRecord, Manifest, Origin
from embedding_store.parts import write_part
from embedding_store.store import EmbeddingStore
from lake.digests import digest_bytes, digest_file
from lake.hashing import buckets

START = datetime(2026, 3, 1, tzinfo=UTC)


def instant(day: float) -> datetime:
    return START + timedelta(days=day)


@dataclass
class SmallWorld:
    """A workspace whose log this class appends to."""

    root: Path
    dim: int = 8
    num_users: int = 40
    num_items: int = 12
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def store(self) -> EmbeddingStore:
        return EmbeddingStore(self.root / "store")

    def users(self, number: int) -> list[str]:
        """Version n has users u0..; each version one user more than the one before."""
        return sorted(f"u{one}" for one in range(self.num_users + number))

    def items(self) -> list[str]:
        return sorted(f"i{one}" for one in range(self.num_items))

    def vectors(self, number: int, side: str, num: int) -> np.ndarray:
        seed = number * 2 + (side == "item")
        return np.random.default_rng(seed).normal(size=(num, self.dim)).astype(np.float32)

    def user_vectors(self, number: int) -> dict[str, np.ndarray]:
        ids = self.users(number)
        return dict(zip(ids, self.vectors(number, "user", len(ids)), strict=True))

    def item_vectors(self, number: int) -> dict[str, np.ndarray]:
        ids = self.items()
        return dict(zip(ids, self.vectors(number, "item", len(ids)), strict=True))

    def default_user(self, number: int) -> np.ndarray:
        return np.full(self.dim, 1 + number / 8, dtype=np.float32)

    def publish(self, number: int, *, frame: int = 1) -> str:
        """Write a version's files and its log entry."""
        folder = self.root / "store" / "staging"
        by_user, by_item = self.user_vectors(number), self.item_vectors(number)
        ids = np.array(self.users(number))
        lies_in = buckets(ids.tolist(), 2)
        files = []
        for bucket in (0, 1):
            inside = ids[lies_in == bucket].tolist()
            files.append(self._part(folder, f"user/part-{bucket}.parquet", "user", inside, by_user))
        files.append(self._part(folder, "item/part-0.parquet", "item", self.items(), by_item))
        default = {"": self.default_user(number)}
        files.append(self._part(folder, "user_default.parquet", "user", [""], default))
        manifest = Manifest(
            frame=frame,
            dim=self.dim,
            origin=_origin(number),
            reference=None,
            transform_sha256={},
            files=tuple(files),
            coverage=Coverage(definition="all", required=0, covered=0),
            default_user=tuple(self.default_user(number).tolist()),
        )
        (folder / "manifest.json").write_bytes(manifest.to_bytes())
        target = self.store.version_folder(manifest.digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        self._log(
            VersionPublished(
                digest=manifest.digest,
                number=number,
                frame=frame,
                day="2026-03-01",
                as_of=instant(number).isoformat(),
                logical_id=f"work-{number}",
                model_digest="m",
                judged_against=None,
                manifest_sha256=digest_bytes(manifest.to_bytes()),
                gate_sha256="g",
            ),
            at=instant(number),
        )
        self.digests[number] = manifest.digest
        return manifest.digest

    def promote(self, number: int, *, at: datetime, frame: int = 1, alias: str = "stable") -> None:
        """Point an alias at a version from an instant on."""
        body = AliasSet(
            alias=alias,
            frame=frame,
            version=self.digests[number],
            number=number,
            judged_against=None,
            reason="test",
        )
        self._log(body, at=at)

    def roll_back(self, number: int, *, at: datetime, frame: int = 1) -> None:
        """Point stable back at an older version."""
        stable = self.store.state().stable(frame)
        body = VersionRolledBack(
            frame=frame,
            from_number=stable.number,
            to_number=number,
            to_version=self.digests[number],
        )
        self._log(body, at=at)

    def retire(self, number: int) -> None:
        """End a version's life."""
        self._log(VersionRetired(number=number, version=self.digests[number]), at=instant(99))

    def _log(self, body, *, at: datetime) -> int:
        entry = self.store.log.append(
            body.kind, to_body(body), effective_at=at, by="test", why="test"
        )
        return entry.seq

    def _part(self, folder, name, side, ids, by_id) -> FileRecord:
        rows = np.stack([by_id[one] for one in ids]) if ids else np.empty((0, self.dim), np.float32)
        path = folder / name
        write_part(path, embedding_table(side, pa.array(ids, pa.string()), rows))
        return FileRecord(
            path=name, rows=len(ids), sha256=digest_file(path), bytes=path.stat().st_size
        )


def _origin(number: int) -> Origin:
    return Origin(
        day="2026-03-01",
        as_of=instant(number).isoformat(),
        logical_id=f"work-{number}",
        model_id="m",
        model_digest="m",
        base_id="b",
        base_digest="b",
        tokenizer_id="t",
        tokenizer_digest="t",
    )
