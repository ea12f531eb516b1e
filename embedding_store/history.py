"""What each frame served, and from when on: the truth for point-in-time joins.

::

    history/f<frame>/user/part-<seq>.parquet   user_id | event_timestamp | version | embedding
    history/f<frame>/item/part-<seq>.parquet   item_id | event_timestamp | version | embedding

One part per switch of ``stable`` (a rollback is one more), named by the log's sequence number;
``event_timestamp`` is the instant of the switch in every row, ``embedding`` is float32 as readers
are answered, whatever the version is stored as. The first row is that of nobody, with the id
``""``: what an unknown id was answered, and in a join the proof that the part was there. The other
rows follow the version's parts. A projection: ``rebuild`` makes exactly what the log implies.
"""

import json
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import (
    DEFAULT_USER_ID,
    EMBEDDING,
    ID_COLUMNS,
    SIDES,
    Float32,
    Ids,
    Side,
)
from embedding_store.errors import CorruptVersionError
from embedding_store.manifest import Manifest
from embedding_store.parts import ROW_GROUP, open_part
from embedding_store.state import PublishedVersion, StoreState, Switch
from embedding_store.store import EmbeddingStore
from lake.atomic import staged_folder, sync_folder

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
EVENT_TIMESTAMP = "event_timestamp"
VERSION = "version"
INSTANT = pa.timestamp("us", tz="UTC")
_KEY = b"marquee"


def history_schema(side: Side) -> pa.Schema:
    """Return the columns of a history part."""
    columns: dict[str, pa.DataType] = {
        ID_COLUMNS[side]: pa.string(),
        EVENT_TIMESTAMP: INSTANT,
        VERSION: pa.string(),
        EMBEDDING: pa.list_(pa.float32()),
    }
    return pa.schema(columns)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild of the history did."""

    written: tuple[Path, ...]
    lost: tuple[str, ...]
    """Parts that are missing and whose version cannot be read, a sentence each. A join that needs
    one fails; the others do not."""


def rebuild(store: EmbeddingStore, frame: int | None = None) -> Rebuilt:
    """Make the history exactly what the log implies.

    Parts that stand are kept (their footer says what they are of) and need no version's files;
    foreign files are removed. A part whose version was retired and collected cannot be made anew,
    as on a machine that came later. Should the log move meanwhile, it is made again: whoever slept
    in here must not leave parts as they were before an erasure. Raises CorruptVersionError when a
    part is missing of what is served now and cannot be written.
    """
    written: list[Path] = []
    while True:
        state = store.state()
        lost: list[str] = []
        try:
            for one in state.frames if frame is None else (frame,):
                _rebuild_frame(store, state, one, written, lost)
        except CorruptVersionError:
            if store.state().seq == state.seq:
                raise
        else:
            if store.state().seq == state.seq:
                return Rebuilt(tuple(dict.fromkeys(written)), tuple(lost))


def _rebuild_frame(
    store: EmbeddingStore, state: StoreState, frame: int, written: list[Path], lost: list[str]
) -> None:
    _remove_foreign(store, state, frame)
    switches = state.stable_switches(frame)
    for switch, side in ((switch, side) for side in SIDES for switch in switches):
        version, path = state.version(switch.number), part_path(store, switch, side)
        if is_part_of(path, switch, version):
            continue
        try:
            _write(store, path, switch, version, side)
        except CorruptVersionError as error:
            path.unlink(missing_ok=True)  # of something else, such as from before an erasure
            if store.is_collected(version.number):
                logger.info("history: the files of %s were collected", version.name)
                continue
            lost.append(
                f"the {side}s' history since {switch.effective_at.isoformat()} cannot be "
                f"written, the files of {version.name} are damaged: {error}"
            )
            if switch is switches[-1] and not state.is_retired(frame):
                raise CorruptVersionError(lost[-1]) from error
        else:
            written.append(path)
            logger.info("step history-written: %s", path)


def _remove_foreign(store: EmbeddingStore, state: StoreState, frame: int) -> None:
    for side in SIDES:
        folder = store.history_folder(frame, side)
        wanted = {part_path(store, switch, side) for switch in state.stable_switches(frame)}
        newer = f"part-{state.seq + 1:020d}"  # of a switch logged meanwhile, whose part was faster
        for path in sorted(set(folder.glob("*")) - wanted) if folder.is_dir() else []:
            if path.name.startswith("part-") and path.name >= newer:
                continue
            path.unlink()
            logger.info("history: removed %s, which the log does not imply", path)


def part_path(store: EmbeddingStore, switch: Switch, side: Side) -> Path:
    """Return where the part of a switch lies."""
    return store.history_folder(switch.frame, side) / f"part-{switch.seq:020d}.parquet"


def is_part_of(path: Path, switch: Switch, version: PublishedVersion) -> bool:
    """Return whether the file is the whole part of that switch, by its footer."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return metadata.get(_KEY) == _label(switch, version)


def _label(switch: Switch, version: PublishedVersion) -> bytes:
    label = {
        "format_version": FORMAT_VERSION,
        "seq": switch.seq,
        "digest": version.digest,
        "number": version.number,
        "effective_at": switch.effective_at.isoformat(),
    }
    return json.dumps(label, sort_keys=True).encode()


def _write(
    store: EmbeddingStore, path: Path, switch: Switch, version: PublishedVersion, side: Side
) -> None:
    source = store.open(version)
    schema = history_schema(side).with_metadata({_KEY: _label(switch, version)})
    with staged_folder(store.scratch) as folder:
        temporary = folder / path.name
        with open_part(temporary, schema) as writer:
            at, nobody = switch.effective_at, pa.array([DEFAULT_USER_ID], pa.string())
            default = _nobody(source.manifest, side)
            writer.write_table(_rows(nobody, default, at, version.name, schema))
            for record in source.manifest.parts(side):
                shard = source.shard(record, side)
                rows = _rows(shard.ids, shard.vectors, at, version.name, schema)
                writer.write_table(rows, row_group_size=ROW_GROUP)
        _commit(temporary, path)


def remove_rows(path: Path, side: Side, gone: Collection[str], *, scratch: Path) -> None:
    """Take the rows of some ids out of a part whose version is no more."""
    with pq.ParquetFile(path) as file:
        table, schema = (
            file.read(),
            history_schema(side).with_metadata({_KEY: (file.metadata.metadata or {})[_KEY]}),
        )
    others = pc.invert(pc.is_in(table[ID_COLUMNS[side]], pa.array(sorted(gone), pa.string())))
    with staged_folder(scratch) as folder:
        temporary = folder / path.name
        with open_part(temporary, schema) as writer:
            left = table.filter(others).cast(schema)
            writer.write_table(left.replace_schema_metadata(schema.metadata), ROW_GROUP)
        _commit(temporary, path)


def _nobody(manifest: Manifest, side: Side) -> Float32:
    """Return the vector of an unknown id, float32[1, dim]: zeros where it is an item."""
    vector = manifest.default_user if side == "user" else (0.0,) * manifest.dim
    return np.array([vector], dtype=np.float32)


def _rows(ids: Ids, vectors: Float32, at: datetime, name: str, schema: pa.Schema) -> pa.Table:
    rows, dim = vectors.shape
    offsets = pa.array(range(0, (rows + 1) * dim, dim), pa.int32())
    embeddings = pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1)))
    instants = pa.repeat(pa.scalar(at, INSTANT), rows)
    names = pa.repeat(pa.scalar(name), rows)
    return pa.table([ids, instants, names, embeddings], schema=schema)


def _commit(temporary: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
