"""Two consumers of published vectors, as small as can be: what they ask, learn and are scored by.

Both read coordinates themselves, not inner products: a rotation of users and items together changes
no score, and everything that these two learned. Half of the users teach, the other half is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from assets.exposures import read_exposures
from assets.ranking_metrics import auc
from embedding_store.contracts import EmbeddingShard
from lake.hashing import salted_buckets
from training.events.artifacts import read_catalogue, read_events

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MIN_USERS = 30
"""A genre that fewer of the asked users choose, or leave, says little."""
RIDGE = 100.0
"""Penalty on the coefficients per unit of standard deviation; on about a thousand users."""
INVERSE_REGULARISATION = 0.1
"""sklearn's C, as the example ranker has it."""
_PLACES = ("position",)
"""Explains choices and is what a ranker decides: held at its mean where the ranker is asked."""
_CHOICE_WINDOW = timedelta(minutes=120)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a consumer is asked about some days: the same rows whatever the vectors are."""

    user_ids: Sequence[str]
    item_ids: Sequence[str] | None
    labels: Int64
    """int[N, L]: one column per question."""
    context: Float64
    """float[N, C]: what the consumer knows without vectors."""
    is_place: Bool
    """bool[C]: held at the mean where the consumer is asked."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Users and items of one day in one coordinate system."""

    users: EmbeddingShard
    items: EmbeddingShard


def genres_to_come(days: Sequence[Path], catalogue: Path) -> Rows:
    """Return who of the active users plays a title of which genre on these days."""
    titles = pl.from_arrow(read_catalogue(catalogue).select(["item_id", "genres"]))
    assert isinstance(titles, pl.DataFrame)
    genre_of = titles.explode("genres").drop_nulls().unique()
    plays = pl.concat([_plays(folder) for folder in days]).unique()
    by_user = plays.join(genre_of, on="item_id").pivot(
        "genres", index="user_id", values="item_id", aggregate_function="len"
    )
    ordered = by_user.select("user_id", *sorted(set(by_user.columns) - {"user_id"})).sort("user_id")
    labels = ordered.drop("user_id").fill_null(0).to_numpy() > 0
    nothing = np.zeros((len(ordered), 0))
    ids = ordered["user_id"].to_list()
    return Rows(ids, None, labels.astype(np.int64), nothing, np.zeros(0, dtype=bool))


def _plays(folder: Path) -> pl.DataFrame:
    table = read_events(folder, ["user_id", "item_id", "action"])[1]
    events = pl.from_arrow(table)
    assert isinstance(events, pl.DataFrame)
    return events.filter(pl.col("action") == "play").select("user_id", "item_id")


def choices_to_come(events: Mapping[str, Path], days: Sequence[str]) -> Rows:
    """Return what was shown on these days, and which of it was chosen."""
    shown = read_exposures(events, days=days, window=_CHOICE_WINDOW)
    numbers = [shown.rows[name].cast(pl.Float64).fill_null(0).to_numpy() for name in shown.numbers]
    return Rows(
        shown.rows["user_id"].to_list(),
        shown.rows["item_id"].to_list(),
        shown.rows["label"].to_numpy().astype(np.int64)[:, None],
        np.column_stack(numbers),
        np.array([name in _PLACES for name in shown.numbers]),
    )


def columns(rows: Rows, vectors: Vectors) -> tuple[Float64, Bool]:
    """Return the model's inputs, float[N, D], and the rows whose user and item have a vector.

    Users' coordinates, and beside an item's its own and the products: coordinate by coordinate.
    """
    users, is_known = _of(vectors.users, rows.user_ids)
    if rows.item_ids is None:
        return np.hstack([rows.context, users]), is_known
    items, is_item_known = _of(vectors.items, rows.item_ids)
    return np.hstack([rows.context, users, items, users * items]), is_known & is_item_known


def _of(shard: EmbeddingShard, ids: Sequence[str]) -> tuple[Float64, Bool]:
    found = pc.index_in(pa.array(ids, pa.string()), value_set=shard.ids)
    is_known = pc.is_valid(found).to_numpy(zero_copy_only=False)
    rows = found.fill_null(0).to_numpy()
    return shard.vectors[rows].astype(np.float64), is_known


def is_teaching(user_ids: Sequence[str]) -> Bool:
    """Return the rows of the half of the users that consumers learn from."""
    teaching: Bool = salted_buckets(user_ids, 2, salt="consumer_across_retrains") == 0
    return teaching


Scorer = Callable[[Float64], Float64]


def ridge(inputs: Float64, labels: Int64) -> Scorer:
    """Return a linear regression of each label, fitted with a penalty."""
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale < 1e-6] = 1.0  # raw users end in a constant, which carries the items' bias
    x = (inputs - mean) / scale
    moments = x.T @ x + RIDGE * np.eye(x.shape[1])
    weights = np.linalg.solve(moments, x.T @ (labels - labels.mean(axis=0)))
    return lambda asked: (asked - mean) / scale @ weights


def ranker(is_place: Bool) -> Callable[[Float64, Int64], Scorer]:
    """Return the fit of a logistic regression that ignores places where it is asked."""

    def fit(inputs: Float64, labels: Int64) -> Scorer:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(inputs)
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=500)
        model.fit(scaler.transform(inputs), labels[:, 0])

        def score(asked: Float64) -> Float64:
            shown: Float64 = scaler.transform(asked)
            shown[:, np.flatnonzero(is_place)] = 0.0
            decided: Float64 = model.decision_function(shown)[:, None]
            return decided

        return score

    return fit


def mean_auc(labels: Int64, scores: Float64, weights: Int64) -> Float64:
    """Return float[R]: the mean over questions of the area under the ROC curve, by draw.

    ``weights`` is int[R, N]. Questions with too few answers of either kind are left out.
    """
    chosen = labels.sum(axis=0)
    asked = np.flatnonzero(np.minimum(chosen, len(labels) - chosen) >= MIN_USERS)
    areas = [auc(labels[:, one], scores[:, one], weights) for one in asked]
    mean: Float64 = np.mean(areas, axis=0)
    return mean
