"""An example consumer: which of the titles on a page does this user choose?

Another team's ranker, as small as can be: a logistic regression on what its own team knows (place,
device, hour, popularity), once with and once without the embeddings. It takes embeddings from the
feature service alone, joined as they were served when each page was shown, learns on the days
before the test day, labelled as they were known then, and is tested on that day.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.exposures import Exposures, read_exposures
from assets.ranking_metrics import Comparison, compare_auc, compare_ndcg, draw_users
from feature_repo.history import TrainingFrame
from feature_repo.lookup import Features
from lake.hashing import salted_buckets
from training.errors import NoDataError

Float64 = npt.NDArray[np.float64]
_SHARES = 64
_MISSING = " is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """What the example ranker learns from, and how hard."""

    num_train_days: int = 3
    """Days right before the test day whose exposures it learns from."""

    choice_window_min: int = 120
    """A choice that begins this long after an exposure still counts as its success, in minutes."""

    max_rows: int = 60_000
    """Exposures per set; beyond it, some users are left out, drawn by a hash."""

    places: tuple[str, ...] = ("position", "row")
    """Facets that say where a title was put. They explain choices, so the ranker learns with them,
    but a ranker is what decides them: on the test day they are held at their mean. Source: Zhao et
    al., "Recommending What Video to Watch Next", RecSys 2019, on removing position bias."""

    max_categories: int = 20
    """Values of a categorical facet that get a column; the rarer ones share none."""

    inverse_regularisation: float = 0.1
    """sklearn's C: the weight of the data against the penalty on the coefficients."""

    num_draws: int = 400
    """Bootstrap draws behind each interval."""

    seed: int = 0
    """Of the bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerReport:
    """What the embeddings are worth to the ranker on one day."""

    test_day: str
    train_days: tuple[str, ...]
    num_train: int
    num_test: int
    num_test_chosen: int
    num_test_users: int
    num_unserved: int
    """Exposures left out because nothing was served yet when they were made."""
    versions: Mapping[str, int]
    """Test exposures by the version that was served to them."""
    users_found: float
    """Share of test exposures whose user the served version knew."""
    items_found: float
    comparisons: tuple[Comparison, ...]
    coefficients: Mapping[str, Mapping[str, float]]
    """Per unit of standard deviation, by ranker and column; ``intercept`` too."""
    config: RankerConfig

    @property
    def is_better(self) -> bool:
        """Whether the first figure is better with embeddings, by the whole of its interval."""
        return self.comparisons[0].lower > 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format_version": 1, **asdict(self), "is_better": self.is_better}


@dataclass(frozen=True, slots=True)
class Columns:
    """Named model inputs."""

    names: tuple[str, ...]
    values: Float64
    """float[N, C]."""

    def beside(self, other: "Columns") -> "Columns":
        """Return both."""
        return Columns((*self.names, *other.names), np.hstack([self.values, other.values]))


def train_ranker(
    events: Mapping[str, Path],
    features: Features,
    *,
    test_day: str,
    config: RankerConfig | None = None,
) -> RankerReport:
    """Train the ranker with and without embeddings, and compare both on the test day.

    Args:
        events: ``valid_events`` folders by day; those after the test day are not opened.
        features: the embeddings as the feature service serves them.
        test_day: the day that both rankers are tested on; neither learns from it.
        config: what to learn from; the defaults suit a small log.

    Raises NoDataError when there is nothing to learn from or to test on.
    """
    config = config or RankerConfig()
    train, test = _exposures(events, test_day, config)
    both = pl.concat([train.rows, test.rows])
    served = features.training_frame(
        both.select("user_id", "item_id", "event_timestamp").to_pandas(), allow_unserved=True
    )
    is_test = (both["day"] == test_day).to_numpy()
    labels = both["label"].to_numpy().astype(np.int64)
    fit_on, test_on = served.is_served & ~is_test, served.is_served & is_test
    _require_both(labels[fit_on], f"the days before {test_day}")
    _require_both(labels[test_on], test_day)
    context = _context(train, both, fit_on, config)
    rankers = {
        "with embeddings": context.beside(_affinity(served, both["page"].to_numpy())),
        "without embeddings": context,
    }
    scores, coefficients = {}, {}
    for name, columns in rankers.items():
        scores[name], coefficients[name] = _fit_and_score(columns, labels, fit_on, test_on, config)
    users, codes = np.unique(both["user_id"].to_numpy()[test_on], return_inverse=True)
    draws = draw_users(len(users), num_draws=config.num_draws, seed=config.seed)
    comparisons = tuple(
        compare(
            labels[test_on],
            codes,
            scores["with embeddings"],
            scores["without embeddings"],
            draws=draws,
        )
        for compare in (compare_auc, compare_ndcg)
    )
    return RankerReport(
        test_day=test_day,
        train_days=tuple(sorted(set(both["day"].to_numpy()[fit_on].tolist()))),
        num_train=int(fit_on.sum()),
        num_test=int(test_on.sum()),
        num_test_chosen=int(labels[test_on].sum()),
        num_test_users=len(users),
        num_unserved=int((~served.is_served).sum()),
        versions=_counts(served.versions[test_on]),
        users_found=float(served.users.is_found[test_on].mean()),
        items_found=float(served.items.is_found[test_on].mean()),
        comparisons=comparisons,
        coefficients=coefficients,
        config=config,
    )


def _exposures(
    events: Mapping[str, Path], test_day: str, config: RankerConfig
) -> tuple[Exposures, Exposures]:
    """Return what is learned from and what is tested on, each as known when its last day ended."""
    train_days = sorted(day for day in events if day < test_day)[-config.num_train_days :]
    if not train_days:
        raise NoDataError(f"want events of a day before {test_day} to learn from, got none")
    window = timedelta(minutes=config.choice_window_min)
    train, test = (
        _limited(read_exposures(events, days=days, window=window), config)
        for days in (train_days, [test_day])
    )
    # a page that goes on after midnight is two: its train half may know nothing of the other
    own_pages = pl.col("page") + train.rows["page"].max()
    return train, Exposures(test.rows.with_columns(own_pages), test.numbers, test.categories)


def _limited(exposures: Exposures, config: RankerConfig) -> Exposures:
    """Keep whole users, so that their lists stay whole."""
    rows = exposures.rows
    if len(rows) <= config.max_rows:
        return exposures
    kept = max(1, _SHARES * config.max_rows // len(rows))
    users = rows["user_id"].unique().sort()
    chosen = users.filter(salted_buckets(users.to_list(), _SHARES, salt="next_title_ranker") < kept)
    return Exposures(
        rows.filter(pl.col("user_id").is_in(chosen.implode())),
        exposures.numbers,
        exposures.categories,
    )


def _require_both(labels: npt.NDArray[np.int64], what: str) -> None:
    if len(np.unique(labels)) < 2:
        raise NoDataError(
            f"{what}: want exposures that were chosen and others that were not, with embeddings "
            f"served at the time, got {len(labels)} exposures, {int(labels.sum())} chosen: promote "
            "a version and wait a day"
        )


def _context(
    exposures: Exposures, rows: pl.DataFrame, fit_on: npt.NDArray[np.bool_], config: RankerConfig
) -> Columns:
    """Return what the ranker's own team knows: numbers, and indicators of common values."""
    names: list[str] = []
    values: list[Float64] = []
    for name in exposures.numbers:
        number = rows[name].cast(pl.Float64).to_numpy()
        is_missing = np.isnan(number)
        names.append(name)
        values.append(np.nan_to_num(number))
        if is_missing[fit_on].any():
            names.append(name + _MISSING)
            values.append(is_missing.astype(np.float64))
    shown_at = rows["event_timestamp"].dt
    hour = (shown_at.hour() + shown_at.minute() / 60).to_numpy() * (2 * np.pi / 24)
    names += ["hour sine", "hour cosine"]
    values += [np.sin(hour), np.cos(hour)]
    for name in exposures.categories:
        column = rows[name].fill_null("missing")
        counted = (
            column.filter(fit_on).value_counts().sort(["count", name], descending=[True, False])
        )
        for value in counted[name].head(config.max_categories).to_list():
            names.append(f"{name}={value}")
            values.append((column == value).to_numpy().astype(np.float64))
    return Columns(tuple(names), np.column_stack(values))


def _affinity(served: TrainingFrame, pages: npt.NDArray[np.int64]) -> Columns:
    """Return what the embeddings say: the model's score, and how it stands out on its page."""
    scores: Float64 = np.einsum(
        "nd,nd->n", served.users.vectors, served.items.vectors, dtype=np.float64
    )
    columns = [
        scores,
        scores - _page_means(scores, pages),
        served.users.is_found.astype(np.float64),
        served.items.is_found.astype(np.float64),
    ]
    names = ("score", "score on its page", "user is found", "item is found")
    return Columns(names, np.column_stack(columns))


def _page_means(values: Float64, pages: npt.NDArray[np.int64]) -> Float64:
    """Return float[N]: for each row the mean of its page."""
    _, page = np.unique(pages, return_inverse=True)
    means: Float64 = np.bincount(page, weights=values) / np.bincount(page)
    return means[page]


def _fit_and_score(
    columns: Columns,
    labels: npt.NDArray[np.int64],
    fit_on: npt.NDArray[np.bool_],
    test_on: npt.NDArray[np.bool_],
    config: RankerConfig,
) -> tuple[Float64, dict[str, float]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(columns.values[fit_on])
    model = LogisticRegression(C=config.inverse_regularisation, max_iter=500)
    model.fit(scaler.transform(columns.values[fit_on]), labels[fit_on])
    shown: Float64 = scaler.transform(columns.values[test_on])
    shown[:, [_is_place(name, config) for name in columns.names]] = 0.0
    scores: Float64 = model.decision_function(shown)
    coefficients = dict(zip(columns.names, model.coef_[0].tolist(), strict=True))
    return scores, {"intercept": float(model.intercept_[0]), **coefficients}


def _is_place(column: str, config: RankerConfig) -> bool:
    return column.partition("=")[0].removesuffix(_MISSING) in config.places


def _counts(values: npt.NDArray[np.object_]) -> dict[str, int]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
