"""Published vectors: those whose inner product is the model's logit, as Parquet.

::

    user embeddings     part-<bucket>.parquet   user_id, embedding   sorted by user_id
                        default.parquet         one row, user_id ""
    item embeddings     part-0.parquet          item_id, embedding   sorted by item_id
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lake.hashing import buckets
from lake.lake import Written
from training.artifact import load_model
from training.contracts import Histories
from training.data import TrainingData
from training.errors import NoDataError
from training.inference import default_vector, item_features, item_vectors, user_vectors
from training.loop import deterministic
from training.tokens.targets import microseconds

Float32 = npt.NDArray[np.float32]

DEFAULT_FILE = "default.parquet"
ACTIVE_DAYS = 28


def part_file(bucket: int) -> str:
    """Return the name of a bucket's file."""
    return f"part-{bucket}.parquet"


def embed_users(model: Path, data: TrainingData, folder: Path, num_buckets: int) -> Written:
    """Write the vector of every user with a token before ``data.as_of``, and the default one."""
    loaded = load_model(model)
    histories = data.histories()
    if histories.num_users == 0:
        raise NoDataError(f"user embeddings: no user has a token before {data.as_of}")
    with deterministic(loaded.config.num_threads):
        items = item_features(loaded, data.catalogue())
        vectors = user_vectors(loaded, items, histories, users=histories.user_ids, as_of=data.as_of)
        default = default_vector(loaded, items, histories, as_of=data.as_of)
    ids = np.array(histories.user_ids, dtype=object)
    bucket_of = buckets(histories.user_ids, num_buckets)
    for bucket in range(num_buckets):
        inside = np.flatnonzero(bucket_of == bucket)  # ids are sorted, and stay so
        _write("user_id", ids[inside], vectors[inside], folder / part_file(bucket))
    _write("user_id", np.array([""], dtype=object), default[None], folder / DEFAULT_FILE)
    since = microseconds(data.as_of - timedelta(days=ACTIVE_DAYS))
    figures = {
        "users": histories.num_users,
        **_figures(vectors),
        "active_share_28_days": float((_newest(histories) >= since).mean()),
    }
    return Written(histories.num_users, figures)


def embed_items(model: Path, data: TrainingData, folder: Path) -> Written:
    """Write the vector of every item of the catalogue that is valid at ``data.as_of``."""
    loaded = load_model(model)
    catalogue = data.catalogue()
    is_valid = catalogue.valid_between(data.as_of, data.as_of + timedelta(microseconds=1))
    ids = [item for item, valid in zip(catalogue.item_ids, is_valid, strict=True) if valid]
    if not ids:
        raise NoDataError(f"item embeddings: the catalogue has no valid item at {data.as_of}")
    with deterministic(loaded.config.num_threads):
        items = item_features(loaded, catalogue)
        vectors = item_vectors(loaded, items)[items.rows(ids).numpy()]
    _write("item_id", np.array(ids, dtype=object), vectors, folder / part_file(0))
    known = set(loaded.vocabulary.item_ids)
    figures = {
        "items": len(ids),
        **_figures(vectors),
        "from_metadata_alone": sum(item not in known for item in ids),
    }
    return Written(len(ids), figures)


def _newest(histories: Histories) -> npt.NDArray[np.int64]:
    newest: npt.NDArray[np.int64] = histories.last_at[histories.offsets[1:] - 1]
    return newest


def _figures(vectors: Float32) -> dict[str, Any]:
    norms = np.linalg.norm(vectors, axis=1)
    return {"dim": vectors.shape[1], "mean_norm": float(norms.mean())}


def _write(name: str, ids: npt.NDArray[np.object_], vectors: Float32, path: Path) -> None:
    dim = vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float32())
    embedding = pa.FixedSizeListArray.from_arrays(flat, dim)
    table = pa.table(
        [pa.array(ids.tolist(), pa.string()), embedding],
        schema=pa.schema([(name, pa.string()), ("embedding", pa.list_(pa.float32(), dim))]),
    )
    pq.write_table(table, path)
