"""A workspace: one world with its source, lake, store, orchestrator home, tracker and features.

::

    workspace.json   what this world is; fixed when it is made
    lake/            artifacts by asset and partition
    store/           embedding versions, the commit log, the served history
    dagster/  mlflow/  feast/
    cache/           what is known of the source's files; removing it loses nothing
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, get_origin

from assets.errors import WorkspaceError
from assets.timeline import require_days
from embedding_store.dtypes import DEFAULT_DTYPE, ENCODINGS
from embedding_store.store import EmbeddingStore
from lake.atomic import create_json
from lake.code_identity import code_identity
from lake.days import end_of
from lake.lake import Built, Lake, Step, Written
from lake.lock import exclusive_lock
from lake.refs import ArtifactRef
from lake.storage import locate
from training.buckets import BucketMap, one_by_one
from training.events.source import EventSource

FORMAT_VERSION = 1

_REMEDY = "restore it from a copy; a demo's may be removed: the same `make demo` writes it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceConfig:
    """What a world is; every field goes into the logical ids of what it touches."""

    source: str
    """Name of the event source."""

    source_parameters: Mapping[str, Any]
    """What the source is opened with."""

    first_day: date
    """First day of events (UTC)."""

    last_day: date
    """Last day of events (UTC); a live world, which has no end, ignores it."""

    storage: str = ""
    """Where lake and store are kept, as ``s3://bucket/prefix``; empty for the workspace's folder.
    Not in any logical id: the same work is the same wherever it lies."""

    recipe: str
    """Training recipe, by name or as ``package.module:function``."""

    frame: int = 1
    """Number of the first coordinate system that versions are published in; a day that cannot be
    brought into the current one opens the next."""

    dtype: str = DEFAULT_DTYPE
    """How versions are stored: ``float32``, ``float16`` or ``int8`` (docs/stored-vectors.md). A
    frame keeps the one that it was opened with. Not in any logical id, since what is computed is
    float32 all the same; a version's digest covers it."""

    watermark_delay_h: int = 6
    """A day is complete this long after its end, and is worked on from then on."""

    allowed_lateness_h: int = 72
    """A day is final this long after its end: what arrived between its watermark and then is taken
    in afterwards, what arrives later never is."""

    publish_delay_h: int = 3
    """In a replayed world, how long after a day's end its version starts to serve."""

    is_replay: bool = True
    """Time is the source's; otherwise versions start to serve at the wall clock's time."""

    active_days: int = 28
    """A user with a token in this many last days is active and must have an embedding."""

    num_buckets: int = 8
    """Files per day of events and tokens, a power of two: a bucket of a day has to fit in memory
    several times over, and is what one core works on."""

    max_quarantined: float = 0.05
    """Share of a day's rows in quarantine above which the day is blocked."""

    quality_margin: float = 0.25
    """Share of the champion's NDCG@10 whose loss the whole 95 % interval must exclude. A day of a
    small log has some 300 withheld targets, which leave an interval of a tenth to each side: it
    tells a broken model, not a slightly worse one. Lower it as the log grows."""

    min_similarity: float = 0.5
    """Mean cosine of items to those of ``stable`` below which a day opens another frame."""

    online_versions: int = 7
    """Newest versions of a frame whose rows stay online, besides those that have a name or are
    pinned by a registered consumer."""

    kept_versions: int = 90
    """Newest versions of a frame that ``marquee gc`` does not give up, besides the same."""

    def __post_init__(self) -> None:
        """Refuse values of another type, as a damaged file holds; raises WorkspaceError."""
        for one in fields(self):
            value, wanted = getattr(self, one.name), _plain(one.type)
            is_right = isinstance(value, (int, float) if wanted is float else wanted)
            if not is_right or (isinstance(value, bool) and wanted is not bool):
                raise WorkspaceError(f"{one.name}: want {wanted.__name__}, got {value!r}")
        if self.dtype not in ENCODINGS:
            raise WorkspaceError(f"dtype: want one of {', '.join(ENCODINGS)}, got {self.dtype!r}")
        if not 1 <= self.online_versions <= self.kept_versions:
            raise WorkspaceError(
                f"online_versions: want at least 1 and at most kept_versions ({self.kept_versions})"
                f", got {self.online_versions}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        days = {"first_day": self.first_day.isoformat(), "last_day": self.last_day.isoformat()}
        return {"format_version": FORMAT_VERSION, **asdict(self), **days}

    @classmethod
    def from_json(cls, value: Any) -> "WorkspaceConfig":
        """Read what ``to_json`` returned; raises WorkspaceError."""
        if not isinstance(value, dict):
            raise WorkspaceError(f"want an object, got {value!r}")
        given = dict(value)
        if (version := given.pop("format_version", None)) != FORMAT_VERSION:
            raise WorkspaceError(f"want format {FORMAT_VERSION}, got {version!r}")
        try:
            for name in ("first_day", "last_day"):
                given[name] = date.fromisoformat(given[name])
            return cls(**given)
        except KeyError as error:
            raise WorkspaceError(f"{error} is missing") from error
        except (TypeError, ValueError) as error:
            raise WorkspaceError(str(error).removeprefix("WorkspaceConfig.__init__() ")) from error


def _plain(wanted: Any) -> type:
    """Return the class that values of an annotation have, such as that of ``Mapping[str, Any]``."""
    plain: type = get_origin(wanted) or wanted
    return plain


@dataclass(frozen=True)
class Workspace:
    """An open workspace."""

    root: Path
    config: WorkspaceConfig
    each_bucket: BucketMap = field(default=one_by_one, repr=False, compare=False)
    """What the buckets of a day are mapped by."""
    erasure_key: str = field(default="", repr=False, compare=False)
    """Secret of the tombstones' key; another one than they were written under is refused."""

    @classmethod
    def create(cls, root: Path, config: WorkspaceConfig, *, erasure_key: str = "") -> "Workspace":
        """Make the workspace, or open the equal one that stands there.

        Raises StorageError where ``storage`` is no place to keep data.
        """
        if config.storage:
            for name in ("lake", "store"):
                locate(root / name, f"{config.storage.rstrip('/')}/{name}")
        if create_json(root / "workspace.json", config.to_json()):
            return cls(root, config, erasure_key=erasure_key)
        existing = cls.open(root, erasure_key=erasure_key)
        if existing.config != config:
            changed = [
                f"{name} is {was!r}, asked for {wanted!r}"
                for name, was in existing.config.to_json().items()
                if (wanted := config.to_json()[name]) != was
            ]
            raise WorkspaceError(
                f"workspace {root} holds another world ({'; '.join(changed)}): use another "
                "name with --workspace, or remove that folder"
            )
        return existing

    @classmethod
    def open(cls, root: Path, *, erasure_key: str = "") -> "Workspace":
        """Open the workspace at ``root``; raises WorkspaceError."""
        path = root / "workspace.json"
        try:
            config = WorkspaceConfig.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError as error:
            raise WorkspaceError(
                f"no workspace at {root}: `make demo` makes one, --workspace names another"
            ) from error
        except ValueError as error:
            raise WorkspaceError(f"{path}: want JSON, got {error}: {_REMEDY}") from error
        except WorkspaceError as error:
            raise WorkspaceError(f"{path}: {error}: {_REMEDY}") from error
        return cls(root, config, erasure_key=erasure_key)

    @cached_property
    def lake(self) -> Lake:
        """Artifacts by asset and partition."""
        return Lake(self.root / "lake", erasure_key=self.erasure_key)

    @cached_property
    def store(self) -> EmbeddingStore:
        """Versions and the log."""
        return EmbeddingStore(self.root / "store", erasure_key=self.erasure_key)

    @cached_property
    def source(self) -> EventSource:
        """Where events come from."""
        # pandas behind the files of a log takes longer to import than what most commands do
        from training.events.sources import open_source

        return open_source(self.config.source, self.config.source_parameters, cache=self.cache_dir)

    @property
    def cache_dir(self) -> Path:
        """What is known of the source's files."""
        return self.root / "cache"

    @property
    def checkpoints_dir(self) -> Path:
        """State of training runs that are at work, or were killed."""
        return self.root / "checkpoints"

    @property
    def mlflow_dir(self) -> Path:
        """Home of the experiment tracker."""
        return self.root / "mlflow"

    @property
    def feast_dir(self) -> Path:
        """Home of the feature registry and the online rows."""
        return self.root / "feast"

    def writing(self) -> AbstractContextManager[None]:
        """Hold the workspace for one command that a person gives; raises WorkspaceBusyError.

        Nothing relies on it: runs that the orchestrator starts do not take it, and lake, log,
        tracker and feature registry are safe to write to at the same time. Two demos would only
        wait for each other's partitions in turn, and a rollback amid a replay would be undone by
        its next day; whoever gives the second command is told at once instead.
        """
        return exclusive_lock(self.root / "writer.lock", what=f"workspace {self.root.name}")

    def sweep(self) -> None:
        """Remove what killed runs left behind; what living ones are at stays."""
        self.lake.sweep()
        self.store.sweep()

    @property
    def served_frame(self) -> int:
        """The frame that is read unless another one is named."""
        return self.store.state().served_frame or self.config.frame

    def served_at(self, day: str) -> datetime:
        """Return the instant at which a replayed day's version starts to serve."""
        return end_of(day) + timedelta(hours=self.config.publish_delay_h)

    def history(self, asset: str, *, as_of: datetime) -> list[ArtifactRef]:
        """Return the daily artifacts before ``as_of``, without gaps; raises GapError."""
        through = (as_of - timedelta(microseconds=1)).date().isoformat()
        refs = self.lake.refs(asset, through=through)
        have = [ref.partition for ref in refs]
        require_days(have, first=self.config.first_day, as_of=as_of, asset=asset)
        return refs

    def paths(self, refs: Sequence[ArtifactRef]) -> tuple[Path, ...]:
        """Return the folders of several artifacts."""
        return tuple(self.lake.path(ref) for ref in refs)

    def build(  # noqa: PLR0913 - what a logical id covers
        self,
        asset: str,
        partition: str,
        write: Callable[[Path], Written],
        *,
        code_of: Sequence[str],
        as_of: datetime,
        inputs: Sequence[ArtifactRef] = (),
        parameters: Mapping[str, Any] | None = None,
        is_history: bool = False,
    ) -> Built:
        """Build one artifact, or return the one that the same work already made.

        Args:
            asset: name of the asset.
            partition: key of the partition.
            write: fills the artifact's folder.
            code_of: dotted names of the modules that do the work; their sources and those of the
                modules they reach are the code identity.
            as_of: exclusive bound of the data seen.
            inputs: artifacts that the work reads.
            parameters: JSON of whatever else changes the result.
            is_history: keep what stands, also when it would come out differently today.
        """
        step = Step(
            asset=asset,
            partition=partition,
            schema_id=f"{asset}/1",
            as_of=as_of.isoformat(),
            code=code_identity(*code_of),
            inputs=inputs,
            parameters=parameters or {},
        )
        return self.lake.build(step, write, is_history=is_history)
