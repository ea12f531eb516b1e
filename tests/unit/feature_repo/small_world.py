"""A small embedding store, written by hand: a version's content follows from its number."""

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
from embedding_store.publisher import Publisher
from embedding_store.store import EmbeddingStore
from lake.digests import digest_bytes, digest_file
from lake.hashing import buckets
from lake.objects import MemoryObjects
from lake.tombstones import Tombstones

START = datetime(2026, 3, 1, tzinfo=UTC)


def instant(day: float) -> datetime:
    return START + timedelta(days=day)


@dataclass
class Content:
    """What one version holds."""

    users: dict[str, np.ndarray]
    items: dict[str, np.ndarray]
    default: np.ndarray


def content_of(number: int, *, num_users: int = 40, num_items: int = 12, dim: int = 8) -> Content:
    """Version n holds users u<n>, u<n+1>, ...: from one to the next somebody leaves and joins."""
    draw = np.random.default_rng(number)
    users = sorted(f"u{one}" for one in range(number, number + num_users))
    items = sorted(f"i{one}" for one in range(num_items))
    return Content(
        users=dict(zip(users, draw.normal(size=(num_users, dim)).astype(np.float32), strict=True)),
        items=dict(zip(items, draw.normal(size=(num_items, dim)).astype(np.float32), strict=True)),
        default=np.full(dim, 1 + number / 8, dtype=np.float32),
    )


@dataclass
class SmallWorld:
    """A workspace whose log this class appends to, as a publisher would."""

    root: Path
    contents: dict[int, Content] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def store(self) -> EmbeddingStore:
        return EmbeddingStore(self.root / "store")

    @property
    def feast(self) -> Path:
        return self.root / "feast"

    def publish(self, number: int, content: Content | None = None, *, frame: int = 1) -> None:
        self.contents[number] = content or content_of(number)
        manifest = self._write(number, frame)
        self.digests[number] = manifest.digest
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

    def promote(self, number: int, *, at: datetime, frame: int = 1, alias: str = "stable") -> None:
        self._log(
            AliasSet(
                alias=alias,
                frame=frame,
                version=self.digests[number],
                number=number,
                judged_against=None,
                reason="test",
            ),
            at=at,
        )

    def roll_back(self, number: int, *, at: datetime, frame: int = 1) -> None:
        self._log(
            VersionRolledBack(
                frame=frame,
                from_number=self.store.state().stable(frame).number,
                to_number=number,
                to_version=self.digests[number],
            ),
            at=at,
        )

    def retire(self, number: int) -> None:
        self._log(VersionRetired(number=number, version=self.digests[number]), at=instant(99))

    def erase(self, *users: str) -> None:
        """Rewrite every version without some users."""
        tombstones = Tombstones(MemoryObjects())
        tombstones.add(users)
        Publisher(self.store, by="test").erase(tombstones, effective_at=instant(99), why="test")
        for number, version in self.store.state().versions.items():
            self.digests[number] = version.digest
            for user in users:
                self.contents[number].users.pop(user, None)

    def _write(self, number: int, frame: int) -> Manifest:
        content = self.contents[number]
        folder = self.root / "store" / "staging"
        lies_in = dict(zip(content.users, buckets(content.users, 2), strict=True))
        files = [
            _part(
                folder,
                f"user/part-{bucket}.parquet",
                "user",
                {one: vector for one, vector in content.users.items() if lies_in[one] == bucket},
            )
            for bucket in (0, 1)
        ]
        files.append(_part(folder, "item/part-0.parquet", "item", content.items))
        files.append(_part(folder, "user_default.parquet", "user", {"": content.default}))
        manifest = Manifest(
            frame=frame,
            dim=len(content.default),
            origin=_origin(number),
            reference=None,
            transform_sha256={},
            files=tuple(files),
            coverage=Coverage(definition="all", required=0, covered=0),
            default_user=tuple(content.default.tolist()),
        )
        (folder / "manifest.json").write_bytes(manifest.to_bytes())
        self.store.commit_version(folder, manifest.digest)
        return manifest

    def _log(self, body, *, at: datetime) -> None:
        self.store.log.append(body.kind, to_body(body), effective_at=at, by="test", why="test")


def _part(folder: Path, name: str, side: str, by_id: dict[str, np.ndarray]) -> FileRecord:
    path = folder / name
    ids = pa.array(sorted(by_id), pa.string())
    write_part(path, embedding_table(side, ids, np.stack([by_id[one] for one in sorted(by_id)])))
    return FileRecord(path=name, rows=len(ids), sha256=digest_file(path), bytes=path.stat().st_size)


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
