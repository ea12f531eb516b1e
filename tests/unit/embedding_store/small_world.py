"""A small world of raw embeddings, and a store that publishes it day by day."""

import atexit
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from embedding_store.contracts import SIDES, Side, embedding_table
from embedding_store.gates import GatePolicy, QualityComparison
from embedding_store.manifest import Origin
from embedding_store.parts import read_shard, write_part
from embedding_store.publisher import Evidence, Promotion, Publication, Publisher
from embedding_store.stabilise import FrameBeside, stabilise
from embedding_store.staging import ActiveUsers, stage
from embedding_store.store import EmbeddingStore
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import Version, open_version
from lake.folders import FILE_LIST
from lake.hashing import buckets
from lake.storage import LOCATION, locate

_CACHE = TemporaryDirectory()
atexit.register(_CACHE.cleanup)
_SERVED: dict[tuple[str, tuple[int, ...]], Path] = {}
"""Folders of worlds that were served already, by dtype and days: the same for every test."""
DIM = 8
FIRST_DAY = date(2024, 3, 1)
BUCKETS = 4


def instant(day: int, hour: int = 0) -> datetime:
    """The first instant of day number ``day`` plus some hours."""
    start = datetime.combine(FIRST_DAY, datetime.min.time(), tzinfo=UTC)
    return start + timedelta(days=day, hours=hour)


def day_name(day: int) -> str:
    return (FIRST_DAY + timedelta(days=day)).isoformat()


@dataclass(frozen=True)
class Raw:
    """Raw vectors as inference leaves them."""

    users: np.ndarray
    items: np.ndarray
    default: np.ndarray
    user_ids: list[str] = field(default_factory=list)
    item_ids: list[str] = field(default_factory=list)

    def write(self, folder: Path, num_buckets: int = BUCKETS) -> tuple[Path, Path]:
        users, items = folder / "users", folder / "items"
        ids = np.array(self.user_ids)
        order = np.argsort(ids)
        ids, vectors = ids[order], self.users[order]
        of = buckets(ids.tolist(), num_buckets)
        for bucket in range(num_buckets):
            rows = of == bucket
            write_side(users / f"part-{bucket}.parquet", "user", ids[rows].tolist(), vectors[rows])
        write_side(users / "default.parquet", "user", [""], self.default[None])
        order = np.argsort(np.array(self.item_ids))
        names = [self.item_ids[row] for row in order]
        write_side(items / "part-0.parquet", "item", names, self.items[order])
        return users, items


def write_side(path: Path, side: str, ids: list[str], vectors: np.ndarray) -> None:
    table = embedding_table(side, pa.array(ids, pa.string()), vectors.astype(np.float32))
    write_part(path, table)


def raw_world(seed: int = 0, num_users: int = 60, num_items: int = 40, dim: int = DIM) -> Raw:
    draw = np.random.default_rng(seed)
    scales = np.linspace(1.0, 2.0, dim)
    return Raw(
        users=draw.normal(size=(num_users, dim)) * scales,
        items=draw.normal(size=(num_items, dim)) / scales,
        default=draw.normal(size=dim),
        user_ids=[f"user-{number}" for number in range(num_users)],
        item_ids=[f"item-{number}" for number in range(num_items)],
    )


def drifted(raw: Raw, seed: int, noise: float = 0.02) -> Raw:
    """The same world from a retrained model: other axes, a little other content."""
    draw = np.random.default_rng(seed)
    dim = raw.items.shape[1]
    mix = np.linalg.qr(draw.normal(size=(dim, dim)))[0] * draw.uniform(0.5, 2.0, size=dim)

    def noisy(vectors: np.ndarray) -> np.ndarray:
        return vectors + noise * draw.normal(size=vectors.shape)

    return Raw(
        users=noisy(raw.users) @ mix,
        items=noisy(raw.items) @ np.linalg.inv(mix).T,
        default=raw.default @ mix,
        user_ids=raw.user_ids,
        item_ids=raw.item_ids,
    )


def quality(lower: float = 0.0, evidence: str = "evaluation") -> QualityComparison:
    return QualityComparison(
        metric="ndcg_at_10, full catalogue, mean over users",
        difference=lower + 0.01,
        lower=lower,
        upper=lower + 0.02,
        num_users=100,
        evidence=evidence,
    )


@dataclass
class SmallWorld:
    """A store below ``folder`` with its publisher; every day is the first day's world, drifted."""

    folder: Path
    raw: Raw = field(default_factory=raw_world)
    frame: int = 1
    bucket: str | None = None
    """Where the store lies, unless in the folder."""
    erasure_key: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.bucket:
            name = "-".join(self.folder.parts[-2:])
            locate(self.folder / "store", f"{self.bucket}/{name}")

    @property
    def store(self) -> EmbeddingStore:
        return EmbeddingStore(self.folder / "store", self.erasure_key)

    def copy(self, folder: Path) -> "SmallWorld":
        """The same world elsewhere, in a place of its own; of a bucket as a new machine sees it."""
        skipped = shutil.ignore_patterns("cache", LOCATION)
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=skipped)
        copied = SmallWorld(folder, self.raw, self.frame, self.bucket, dtype=self.dtype)
        if self.bucket:
            for prefix in ("versions", "gates", "log"):
                for key in self.store.objects.list(prefix):
                    copied.store.objects.put(key, self.store.objects.get(key))
        return copied

    def gate_key(self, digest: str, number: int = 1) -> str:
        """Where the store keeps a gate record of a version."""
        return f"gates/{digest}.json" if number == 1 else f"gates/{digest}.{number}.json"

    @contextmanager
    def without_version(self, digest: str) -> Iterator[None]:
        """Let the folder of a version be gone, also from the bucket, until the end."""
        folder, listing = self.store.version_folder(digest), f"versions/{digest}/{FILE_LIST}"
        aside = folder.rename(self.folder / f"aside-{digest}")
        files = self.store.objects.get(listing) if self.bucket else b""
        self.store.objects.delete(listing)
        try:
            yield
        finally:
            aside.rename(folder)
            if self.bucket:
                self.store.objects.put(listing, files)

    def unfinished(self) -> list[Path]:
        """What lies in the scratch folders: nothing, unless something is at work."""
        return [*self.store.root.glob("tmp/*"), *self.store.root.glob("cache/tmp/*")]

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.store, by="test", dtype=self.dtype)

    def stabilised(
        self, day: int, raw: Raw | None = None, name: str = "", *, min_cosine: float = 0.9
    ) -> Path:
        """The day's stabilised folder, onto what is stable now; a frame to come opens by it."""
        work = self.folder / f"work-{day}{name}"
        if (work / "stabilised").exists():
            return work / "stabilised"
        users, items = (raw or drifted(self.raw, seed=day)).write(work)
        state, frame, beside = self.store.state(), self.frame, None
        if frame not in state.opened and state.served_frame is not None:
            beside = FrameBeside(number=frame, min_item_cosine=min_cosine)
            frame = state.served_frame
        stable = state.stable(frame)
        reference = None if stable is None else self.store.version_folder(stable.digest)
        target = work / "stabilised"
        target.mkdir()
        stabilise(users, items, target, frame=frame, reference=reference, beside=beside)
        return target

    def opened(self, day: int) -> Version:
        """The published version of a day."""
        version = self.store.state().version_of_day(day_name(day))
        assert version is not None
        return open_version(self.store.version_folder(version.digest))

    def staged(self, day: int, folder: Path | None = None, **stabilised: object) -> Version:
        """The day's version, staged and not judged."""
        users = ActiveUsers("any token", self.raw.user_ids)
        source = folder or self.stabilised(day, **stabilised)
        origin = self.origin(day)
        return stage(self.store, source, origin=origin, active_users=users, dtype=self.dtype)

    def evidence(self, **changes: object) -> Evidence:
        fields: dict = {
            "active_users": ActiveUsers("any token", self.raw.user_ids),
            "quality": quality(),
            "policy": GatePolicy(min_item_cosine=0.9, min_neighbour_overlap=0.3),
        }
        return Evidence(**{**fields, **changes})

    def origin(self, day: int, logical_id: str | None = None) -> Origin:
        return Origin(
            day=day_name(day),
            as_of=instant(day + 1).isoformat(),
            logical_id=logical_id or f"work of {day_name(day)}",
            model_id=f"fine_tuned_model/{day_name(day)}",
            model_digest="m" * 64,
            base_id="pretrained_model/2024-02-01",
            base_digest="b" * 64,
            tokenizer_id="tokens/1",
            tokenizer_digest="t" * 64,
        )

    def publish(self, day: int, **changes: object) -> Publication:
        fields: dict = {
            "stabilised": None,
            "origin": self.origin(day),
            "evidence": self.evidence(),
            "effective_at": instant(day + 1, 1),
            "why": "the day is done",
            **changes,
        }
        stabilised = fields.pop("stabilised") or self.stabilised(day)
        return self.publisher.publish(stabilised, **fields)

    def promote(self, publication: Publication, **changes: object) -> Promotion:
        version = publication.version
        fields: dict = {
            "alias": "stable",
            "judged_against": version.judged_against,
            "effective_at": version.effective_at,
            "why": "gates passed",
            **changes,
        }
        return self.publisher.promote(fields.pop("alias"), version.number, **fields)

    def serve(self, *days: int) -> list[Publication]:
        """Publish and promote these days; on an empty store, copied from the first time."""
        if self.bucket or self.store.root.exists():
            return self._serve(days)
        key = (self.dtype, days)
        if key not in _SERVED:
            place = Path(_CACHE.name) / str(len(_SERVED))
            first = SmallWorld(place, self.raw, dtype=self.dtype)
            first._serve(days)
            _SERVED[key] = first.folder
        shutil.copytree(_SERVED[key], self.folder, dirs_exist_ok=True)
        state = self.store.state()
        found = [state.version_of_day(day_name(day)) for day in days]
        return [Publication(version, is_existing=False) for version in found if version]

    def _serve(self, days: tuple[int, ...]) -> list[Publication]:
        done = []
        for day in days:
            done.append(self.publish(day))
            self.promote(done[-1])
        return done


def record_again(stabilised: Path) -> None:
    """Let the record of a stabilisation vouch for the vectors as they lie there now."""
    record = stabilised / STABILISATION_FILE
    Stabilisation.read(record).of_files(stabilised).write(record)


def altered_version(
    world: SmallWorld,
    work: Path,
    change: Callable[[np.ndarray], np.ndarray],
    *,
    day: int = 2,
    sides: tuple[Side, ...] = SIDES,
) -> Version:
    """The day's version with other vectors, as a step after the stabilisation would leave it."""
    folder = Path(shutil.copytree(world.stabilised(day), work / "altered"))
    for side in sides:
        for path in folder.glob(f"{side}/*.parquet"):
            shard = read_shard(path, side, DIM)
            changed = change(shard.vectors.astype(np.float64)).astype(np.float32)
            write_part(path, embedding_table(side, shard.ids, changed))
    record_again(folder)
    return world.staged(day, folder)
