"""MovieLens-1M as published tables have it: two files, and the last event of each user held out.

``sas`` is the file that SASRec's authors made of it, 3,416 items that five users rated, which most
published rows rest on; only the order of its events is known. ``full`` has all 3,706 items and the
instants of the events.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from training.contracts import UNKNOWN_INSTANT, Histories, Int64
from training.cuts import without_last
from training.errors import SourceError
from training.features.catalogue import ITEM_CATEGORIES, Catalogue
from training.schema import Action, ActionRole, EventSchema
from training.vocabulary import Vocabulary

Variant = Literal["sas", "full"]

_FILES = {
    "sas": ("ml-1m_sas.txt", "sas_items.csv", "movies.dat"),
    "full": ("interactions.parquet", "movies.dat"),
}

AS_OF = datetime(2003, 3, 1, tzinfo=UTC)
"""After the last event of the log, 2003-02-28."""

SCHEMA = EventSchema(
    name="movielens-1m", actions=(Action(name="rate", role=ActionRole.TARGET),), facets=()
)

_TITLE_YEAR = re.compile(r"\((\d{4})\)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryData:
    """What ``training.data.TrainingData`` gives, of histories that are at hand."""

    log: Histories
    films: Catalogue
    as_of: datetime = AS_OF

    def schema(self) -> EventSchema:
        """Return the schema: one action, no facets."""
        return SCHEMA

    def histories(self) -> Histories:
        """Return the histories."""
        return self.log

    def catalogue(self) -> Catalogue:
        """Return the films."""
        return self.films

    def vocabulary(self) -> Vocabulary:
        """Return every item of the file, those included that only a held-out event has."""
        return Vocabulary.empty().grown(self.log.items, date(2003, 3, 1))

    def without_last(self, count: int) -> "MemoryData":
        """Return the log without the last ``count`` events of each user."""
        return replace(self, log=without_last(self.log, count))


def read_movielens(folder: Path, variant: Variant) -> MemoryData:
    """Return the whole log of a variant, in the order of its file.

    Raises SourceError where ``folder`` has not the files.
    """
    for name in _FILES[variant]:
        if not (folder / name).exists():
            raise SourceError(f"MovieLens-1M, {variant}: {folder} has no {name}")
    events = _sas(folder) if variant == "sas" else _full(folder)
    items = sorted(events["item"].unique().to_list())
    code_of = {item: code for code, item in enumerate(items)}
    users = events["user"].unique(maintain_order=True).to_list()
    counts = events.group_by("user", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    num_tokens = events.height
    at = events["at"].to_numpy()
    log = Histories(
        user_ids=tuple(users),
        offsets=np.concatenate(([0], np.cumsum(counts))),
        items=tuple(items),
        item_code=np.array([code_of[one] for one in events["item"]], dtype=np.int32),
        first_at=at,
        last_at=at,
        duration_ms=np.zeros(num_tokens, dtype=np.int64),
        num_events=np.ones(num_tokens, dtype=np.int32),
        action_counts=np.ones((num_tokens, 1), dtype=np.int32),
        request_categories={},
        request_numbers={},
    )
    return MemoryData(log=log, films=_films(folder, items))


def user_groups(folder: Path, variant: Variant) -> dict[str, dict[str, str]]:
    """Return what is published of users, by attribute and by the variant's user ids: the age."""
    rows = (folder / "users.dat").read_text(encoding="utf-8", errors="replace").splitlines()
    age_of = {user: age for user, _, age, *_ in (line.split("::") for line in rows)}
    if variant == "full":
        return {"age": age_of}
    ids = pl.read_csv(folder / "sas_users.csv", infer_schema=False)
    named = zip(ids["sas_user"], ids["user"], strict=True)
    return {"age": {sas_user: age_of[user] for sas_user, user in named}}


def _sas(folder: Path) -> pl.DataFrame:
    """Return user, item and an unknown instant of every event; ids are those of the file."""
    pairs = pl.read_csv(
        folder / "ml-1m_sas.txt", separator=" ", has_header=False, new_columns=["user", "sas_item"]
    )
    films = pl.read_csv(folder / "sas_items.csv")
    joined = pairs.join(films, on="sas_item", how="left", maintain_order="left")
    return joined.select(
        pl.col("user").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.lit(UNKNOWN_INSTANT, dtype=pl.Int64).alias("at"),
    )


def _full(folder: Path) -> pl.DataFrame:
    """Return user, item and instant of every event, in the exact order of each user."""
    events = pl.read_parquet(folder / "interactions.parquet").sort("user", "pos")
    return events.select(
        pl.col("user").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.col("ts").cum_max().over("user").cast(pl.Int64).mul(1_000_000).alias("at"),
    )


def _films(folder: Path, items: list[str]) -> Catalogue:
    """Return genres and the age of each film; nothing else is known of them."""
    lines = (folder / "movies.dat").read_text(encoding="utf-8", errors="replace").splitlines()
    rows = {film: (title, genres) for film, title, genres in (line.split("::") for line in lines)}
    released = [_TITLE_YEAR.search(rows[one][0]) for one in items]
    ages = [
        float("nan") if year is None else (AS_OF - datetime(int(year[1]), 7, 1, tzinfo=UTC)).days
        for year in released
    ]
    forever: Int64 = np.full(len(items), np.iinfo(np.int64).max)
    return Catalogue(
        item_ids=tuple(items),
        categories={name: [None] * len(items) for name in ITEM_CATEGORIES},
        genres=[tuple(rows[one][1].split("|")) for one in items],
        age_days=np.array(ages),
        runtime_s=np.full(len(items), np.nan),
        valid_from=np.zeros(len(items), dtype=np.int64),
        valid_to=forever,
    )
