"""What users were shown and whether they chose it: the examples that a ranker learns from.

One row per exposure, in order of time::

    user_id  item_id  event_timestamp  day  page  label | numeric context ... | categorical ...

The label is 1 when the user began a target action on the item within the window after the exposure,
as far as the last of the days asked for tells: what is logged later is not known yet. Everything
else was known when it was shown: counts are of the days before. A page is what one user was shown
without a longer pause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from training.errors import NoDataError
from training.events.artifacts import read_events
from training.schema import ActionRole, EventSchema, FacetKind, Phase

_PAGE_PAUSE = timedelta(minutes=30)
COUNTS = ("item_choices", "item_choices_the_day_before", "user_choices", "pair_choices")
"""Target events before the exposure's day: of the item, of the item on the day before, of the user,
of the user with the item; each as log(1 + n)."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """Exposures with labels and the context that was known when they were made."""

    rows: pl.DataFrame
    numbers: tuple[str, ...]
    """Numeric columns, missing values are null."""
    categories: tuple[str, ...]
    """String columns, missing values are null."""


def read_exposures(
    events: Mapping[str, Path], *, days: Sequence[str], window: timedelta
) -> Exposures:
    """Return the exposures of ``days``, labelled and counted from valid_events folders.

    Args:
        events: ``valid_events`` folders by day; those after the last of ``days`` are not opened,
            the others are counted.
        days: keys of ``events`` whose exposures are wanted.
        window: how long after an exposure a choice still counts as its success. A choice is dated
            by its beginning: logs that write a watch at its end state its duration.

    Raises NoDataError when the log records no exposures, or none on these days.
    """
    schema: EventSchema | None = None
    shown, chosen = [], []
    for day in sorted(day for day in events if day <= max(days)):
        schema, table = read_events(events[day])
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        chosen.append(_choices(frame, schema, day))
        if day in days:
            shown.append(_shown(frame, schema, day))
    if schema is None or not shown:
        raise NoDataError(f"want events of {', '.join(days)}, got those of {sorted(events)}")
    choices = pl.concat(chosen)
    exposures = _labelled(pl.concat(shown), choices, window)
    if exposures.is_empty():
        raise NoDataError(f"{schema.name}: nobody was shown anything on {', '.join(days)}")
    numeric = [facet.name for facet in schema.facets_of(Phase.REQUEST, FacetKind.NUMERIC)]
    categories = [facet.name for facet in schema.facets_of(Phase.REQUEST, FacetKind.CATEGORICAL)]
    return Exposures(_paged(_counted(exposures, choices)), (*numeric, *COUNTS), tuple(categories))


def _shown(events: pl.DataFrame, schema: EventSchema, day: str) -> pl.DataFrame:
    if schema.exposure is None:
        raise NoDataError(f"{schema.name} does not record what was shown: there is nothing to rank")
    facets = schema.facets_of(Phase.REQUEST, FacetKind.NUMERIC, FacetKind.CATEGORICAL)
    return events.filter(pl.col("action") == schema.exposure).select(
        "user_id",
        "item_id",
        *[facet.name for facet in facets],
        event_timestamp="occurred_at",
        day=pl.lit(day),
    )


def _choices(events: pl.DataFrame, schema: EventSchema, day: str) -> pl.DataFrame:
    durations = [facet.name for facet in schema.facets_of(Phase.OUTCOME, FacetKind.DURATION)]
    lasted = pl.sum_horizontal(*[pl.col(name).fill_null(0) for name in durations], 0)
    return events.filter(
        pl.col("action").is_in(list(schema.actions_with(ActionRole.TARGET)))
    ).select(
        "user_id",
        "item_id",
        began_at=pl.col("occurred_at") - pl.duration(milliseconds=lasted),
        day=pl.lit(day),
    )


def _labelled(shown: pl.DataFrame, choices: pl.DataFrame, window: timedelta) -> pl.DataFrame:
    """The next choice to begin decides: a play that was running is none, whenever it ends."""
    joined = shown.sort("event_timestamp", "user_id", "item_id").join_asof(
        choices.select("user_id", "item_id", "began_at").sort("began_at"),
        left_on="event_timestamp",
        right_on="began_at",
        by=["user_id", "item_id"],
        strategy="forward",
        tolerance=window,
        check_sortedness=False,
    )
    is_chosen = pl.col("began_at").is_not_null()
    return joined.with_columns(label=is_chosen.cast(pl.Int8)).drop("began_at")


def _counted(exposures: pl.DataFrame, choices: pl.DataFrame) -> pl.DataFrame:
    """Add the counts, as logarithms of one more."""
    dated = exposures.with_columns(date=pl.col("day").str.to_date()).sort("date")
    for keys, name in (
        (["item_id"], "item_choices"),
        (["user_id"], "user_choices"),
        (["user_id", "item_id"], "pair_choices"),
    ):
        dated = dated.join_asof(
            _running_count(choices, keys, name),
            on="date",
            by=keys,
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
    on_the_day = choices.group_by("item_id", date=pl.col("day").str.to_date() + pl.duration(days=1))
    dated = dated.join(
        on_the_day.agg(item_choices_the_day_before=pl.len()), on=["item_id", "date"], how="left"
    )
    logs = [pl.col(name).fill_null(0).cast(pl.Float64).log1p() for name in COUNTS]
    return dated.with_columns(logs).drop("date")


def _paged(exposures: pl.DataFrame) -> pl.DataFrame:
    by_user = exposures.sort("user_id", "event_timestamp", "item_id")
    paused = pl.col("event_timestamp").diff() > _PAGE_PAUSE
    begins = paused | (pl.col("user_id") != pl.col("user_id").shift())
    numbered = by_user.with_columns(page=begins.fill_null(value=True).cast(pl.Int64).cum_sum())
    return numbered.sort("event_timestamp", "user_id", "item_id")


def _running_count(choices: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    """Return how many choices there were through each date on which there was one."""
    daily = choices.group_by([*keys, pl.col("day").str.to_date().alias("date")]).agg(n=pl.len())
    running = daily.sort("date").with_columns(pl.col("n").cum_sum().over(keys).alias(name))
    return running.drop("n")
