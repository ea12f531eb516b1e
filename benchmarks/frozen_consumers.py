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
RIDGE = 1_000.0
"""Penalty on the coefficients, in units of a coordinate's mean variance; on a thousand users."""
INVERSE_REGULARISATION = 0.1
"""sklearn's C, as the example ranker has it."""
TINY = 1e-6
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


@dataclass(frozen=True, slots=True)
class Inputs:
    """A model's inputs: float[N, D], and which rows have a vector of everything they need.

    Columns of one block are scaled alike. Coordinates are one block: their lengths mean something,
    and dividing each by its own blows up those in which a model holds little but noise.
    """

    values: Float64
    block: Int64
    """int[D]"""
    is_known: Bool


def inputs_of(rows: Rows, vectors: Vectors, *, is_each_scaled: bool = False) -> Inputs:
    """Return a user's coordinates, and beside an item's its own and the products of both."""
    users, is_known = _of(vectors.users, rows.user_ids)
    blocks = [users]
    if rows.item_ids is not None:
        items, is_item_known = _of(vectors.items, rows.item_ids)
        blocks, is_known = [users, items, users * items], is_known & is_item_known
    own = rows.context.shape[1]
    values = np.hstack([rows.context, *blocks])
    block = np.arange(values.shape[1])
    if not is_each_scaled:
        block[own:] = own + np.repeat(np.arange(len(blocks)), users.shape[1])
    return Inputs(values, block, is_known)


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
Fit = Callable[[Inputs, Bool, Int64], Scorer]
"""From inputs, the rows to learn from, and their labels."""


def _scaling(inputs: Inputs, taught: Bool) -> tuple[Float64, Float64]:
    """Return each column's mean, and the deviation of its block."""
    values = inputs.values[taught]
    variance = np.bincount(inputs.block, values.var(axis=0)) / np.bincount(inputs.block)
    scale = np.sqrt(variance)[inputs.block]
    # raw users end in a constant, which carries the items' bias
    return values.mean(axis=0), np.where(scale < TINY, 1.0, scale)


def ridge(inputs: Inputs, taught: Bool, labels: Int64) -> Scorer:
    """Return a linear regression of each label, fitted with a penalty."""
    mean, scale = _scaling(inputs, taught)
    x = (inputs.values[taught] - mean) / scale
    moments = x.T @ x + RIDGE * np.eye(x.shape[1])
    weights = np.linalg.solve(moments, x.T @ (labels - labels.mean(axis=0)))
    return lambda asked: (asked - mean) / scale @ weights


def ranker(is_place: Bool) -> Fit:
    """Return the fit of a logistic regression that ignores places where it is asked."""

    def fit(inputs: Inputs, taught: Bool, labels: Int64) -> Scorer:
        from sklearn.linear_model import LogisticRegression

        mean, scale = _scaling(inputs, taught)
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=500)
        model.fit((inputs.values[taught] - mean) / scale, labels[:, 0])

        def score(asked: Float64) -> Float64:
            shown = (asked - mean) / scale
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
