from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.days import end_of
from training.contracts import UNKNOWN_INSTANT, Histories
from training.data import TrainingData
from training.events.artifacts import (
    write_catalogue,
    write_prefix,
    write_raw,
    write_valid,
)
from training.events.parts import write_parquet
from training.events.simulated import SimulatedWorld
from training.events.source import CATALOGUE_SCHEMA
from training.events.world import WorldParameters
from training.features.catalogue import Catalogue, read_catalogue
from training.pretrain import pretrain
from training.recipes import tiny
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase
from training.tokens.config import TokenizerConfig
from training.tokens.storage import write_tokens
from training.tracker import Progress
from training.vocabulary import write_vocabulary

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class SilentTracker:
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.lines: list[str] = []

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self.parameters.update(parameters)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_line(self, line: str) -> None:
        self.lines.append(line)

    def log_progress(self, progress: Progress) -> None:
        if progress.is_due:
            self.lines.append(str(progress))


@pytest.fixture
def tracker() -> SilentTracker:
    return SilentTracker()


@dataclass(frozen=True)
class SmallLake:
    """A week of a small simulated world, in the layout of a lake."""

    root: Path
    days: tuple[date, ...]

    def data(self, day: date) -> TrainingData:
        """Return everything through ``day``."""
        known = [one for one in self.days if one <= day]
        return TrainingData(
            token_folders=tuple(self.root / "interaction_tokens" / str(one) for one in known),
            prefix_folder=self.root / "history_prefix" / "history",
            catalogue_folder=self.root / "catalogue" / str(day),
            vocabulary_folder=self.root / "vocabulary" / str(day),
            as_of=end_of(day),
        )


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    root = tmp_path_factory.mktemp("lake")

    def folder(*parts: str) -> Path:
        path = root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    # it begins on a Thursday: the fifth day is a Monday, on which titles launch
    world = SimulatedWorld(
        WorldParameters(
            num_users=160,
            num_titles=150,
            first_day=date(2026, 1, 15),
            num_days=6,
            sessions_per_user_day=1.0,
            weekly_launch_share=0.05,
        )
    )
    write_prefix(world, folder("history_prefix", "history"))
    days = tuple(world.first_day + timedelta(days=n) for n in range(6))
    previous = None
    for day in days:
        raw, valid = folder("raw_events", str(day)), folder("valid_events", str(day))
        catalogue = folder("catalogue", str(day))
        vocabulary = folder("vocabulary", str(day))
        write_raw(world, day, end_of(day) + timedelta(days=4), raw, num_buckets=2)
        write_catalogue(world, end_of(day), catalogue)
        write_valid(raw, catalogue, day, valid)
        tokens = folder("interaction_tokens", str(day))
        write_tokens(valid, TokenizerConfig(num_buckets=2), tokens)
        write_vocabulary(catalogue, previous, day, vocabulary)
        previous = vocabulary
    return SmallLake(root, days)


@pytest.fixture(scope="session")
def watching() -> EventSchema:
    """A log with one action of each role and both kinds of request facets."""
    return EventSchema(
        name="watching",
        actions=(
            Action(name="play", role=ActionRole.TARGET),
            Action(name="open", role=ActionRole.CONTEXT),
            Action(name="dislike", role=ActionRole.NEGATIVE),
        ),
        facets=(
            Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
            Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
            Facet(name="watched", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
        ),
    )


@pytest.fixture(scope="session")
def make_histories() -> Callable[..., Histories]:
    """Build histories from users' tokens: (item, hours after NOON or None), one word per action."""

    def make(
        users: Mapping[str, Sequence[tuple[str, float | None]]],
        *,
        actions: Mapping[tuple[str, int], tuple[int, int, int]] | None = None,
        seed: int = 0,
    ) -> Histories:
        names = sorted(users)
        items = tuple(sorted({item for tokens in users.values() for item, _ in tokens}))
        rows = [(user, n, *token) for user in names for n, token in enumerate(users[user])]
        draw = np.random.default_rng(seed)
        first_at = np.array(
            [
                UNKNOWN_INSTANT
                if hours is None
                else int((NOON + timedelta(hours=hours)).timestamp()) * 1_000_000
                for _, _, _, hours in rows
            ],
            dtype=np.int64,
        )
        is_timed = first_at != UNKNOWN_INSTANT
        counts = [(actions or {}).get((user, n), (1, 0, 0)) for user, n, _, _ in rows]
        return Histories(
            user_ids=tuple(names),
            offsets=np.cumsum([0, *(len(users[name]) for name in names)]).astype(np.int64),
            items=items,
            item_code=np.array([items.index(item) for _, _, item, _ in rows], dtype=np.int32),
            first_at=first_at,
            last_at=np.where(is_timed, first_at + 60_000_000, first_at),
            duration_ms=np.where(is_timed, draw.integers(1_000, 7_200_000, len(rows)), 0),
            num_events=np.ones(len(rows), dtype=np.int32),
            action_counts=np.array(counts, dtype=np.int32).reshape(-1, 3),
            request_categories={
                "device": (("tv", "web"), draw.integers(-1, 2, len(rows)).astype(np.int32))
            },
            request_numbers={
                "position": np.where(draw.random(len(rows)) < 0.2, np.nan, draw.random(len(rows)))
            },
            request_sets={
                "tags": (
                    (("x",), ("x", "y"), ("y", "z"), ()),
                    draw.integers(-1, 4, len(rows)).astype(np.int32),
                )
            },
            request_instants={
                "opened": np.where(
                    is_timed & (draw.random(len(rows)) < 0.8),
                    first_at - draw.integers(0, 3_600_000_000, len(rows)),
                    UNKNOWN_INSTANT,
                )
            },
        )

    return make


@pytest.fixture(scope="session")
def make_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Catalogue]:
    """Build a catalogue, as of noon, from rows that name only what matters."""

    def make(rows: Sequence[dict[str, Any]], *, as_of: datetime = NOON) -> Catalogue:
        filled = [
            {
                "kind": "movie",
                "genres": ["drama"],
                "release_date": date(2026, 1, 1),
                "runtime_s": 3600,
                "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
                **row,
            }
            for row in rows
        ]
        folder = tmp_path_factory.mktemp("catalogue")
        table = pa.Table.from_pylist(filled, schema=CATALOGUE_SCHEMA)
        write_parquet(table, folder / "catalogue.parquet")
        return read_catalogue(folder, as_of=as_of)

    return make


@pytest.fixture(scope="session")
def trained(small_lake: SmallLake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the first four days."""

    folder = tmp_path_factory.mktemp("base")
    pretrain(small_lake.data(small_lake.days[3]), tiny(), folder, SilentTracker())
    return folder
