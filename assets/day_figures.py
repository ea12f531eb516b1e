"""Figures of one day, each with the range that it has to lie in: what the day's suite judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType

import polars as pl

from assets.suites import Figure, Limits
from lake.days import end_of
from training.events.day_aggregates import DayAggregates, polars_types
from training.row_rules import CLOCK_TOLERANCE
from training.schema import EVENT_COLUMNS, ActionRole, EventSchema

NUM_NAMED = 10
"""Words and columns that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What is known of how a day arrived, and of what became of its rows."""

    rows_in: int
    """Rows as they arrived; valid, quarantined and duplicate rows add up to it."""

    quarantined: int
    """Rows set aside by the row rules."""

    duplicates: int
    """Rows dropped because their event was already there."""

    unknown_actions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Rows, repeats included, by the action that the schema does not know."""

    source_changes: Sequence[str] = ()
    """How the columns of the source's files differ from those of the day before."""


def day_figures(
    aggregates: DayAggregates, *, schema: EventSchema, day: str, arrived: Arrived, limits: Limits
) -> list[Figure]:
    """Return the figures that need no other day."""
    return [
        *_accounts(aggregates, arrived, limits),
        *_contents(aggregates, schema, limits),
        *_freshness(aggregates, day, limits),
        *_source(arrived, limits),
    ]


def column_figure(types: Mapping[str, pl.DataType], schema: EventSchema) -> Figure:
    """Return the number of columns whose type is not the schema's."""
    wanted = polars_types(schema)
    wrong = {name: types[name] for name in wanted if name in types and types[name] != wanted[name]}
    return Figure(
        check="columns_match_the_schema",
        name="columns of another type",
        value=len(wrong),
        high=0,
        threshold="no column of another type",
        note="; ".join(f"{name}: want {wanted[name]}, got {got}" for name, got in wrong.items()),
    )


def volume_figure(rows: int, week: Sequence[DayAggregates], limits: Limits) -> Figure:
    """Return the day's rows as a multiple of the trailing median; nothing with too few days."""
    usual = median([one.rows for one in week]) if len(week) >= limits.min_days else None
    return Figure(
        check="volume_is_usual",
        name="rows as a multiple of the median of the days before",
        value=rows / usual if usual else None,
        low=limits.volume_low,
        high=limits.volume_high,
        threshold=f"{limits.volume_low:g} to {limits.volume_high:g} times the trailing median",
        note=f"{rows:,} rows, usually {usual:,.0f}" if usual else "",
    )


def _accounts(aggregates: DayAggregates, arrived: Arrived, limits: Limits) -> list[Figure]:
    left = arrived.rows_in - aggregates.rows - arrived.quarantined - arrived.duplicates
    distinct = arrived.rows_in - arrived.duplicates
    return [
        Figure(
            check="day_has_rows",
            name="rows",
            value=aggregates.rows,
            low=limits.rows,
            threshold=f"at least {limits.rows}",
        ),
        Figure(
            check="every_row_is_accounted_for",
            name="rows that are neither valid nor quarantined nor duplicates",
            value=left,
            low=0,
            high=0,
            threshold="exactly 0",
            note=f"{arrived.rows_in:,} in = {aggregates.rows:,} valid + {arrived.quarantined:,} "
            f"quarantined + {arrived.duplicates:,} duplicates",
        ),
        Figure(
            check="quarantine_ratio_is_low",
            name="share of quarantined rows",
            value=arrived.quarantined / distinct if distinct else None,
            high=limits.quarantine_ratio,
            threshold=f"at most {limits.quarantine_ratio:.1%}",
            unit="share",
        ),
    ]


def _contents(aggregates: DayAggregates, schema: EventSchema, limits: Limits) -> list[Figure]:
    actions, targets = aggregates.counts.get("action", {}), schema.actions_with(ActionRole.TARGET)
    num_targets = sum(actions.get(name, 0) for name in targets)
    return [
        *(
            Figure(
                check="fixed_columns_are_not_null",
                name=f"nulls in {name}",
                value=aggregates.nulls.get(name),
                high=0,
                threshold="no null",
                about=name,
            )
            for name, _ in EVENT_COLUMNS
        ),
        *(
            Figure(
                check="numbers_are_plausible",
                name=f"values of {name} that are no finite number",
                value=odd,
                high=0,
                threshold="every value finite",
                about=name,
            )
            for name, odd in aggregates.not_finite.items()
        ),
        *(_filled(aggregates, facet.name, limits) for facet in schema.facets),
        Figure(
            check="targets_are_present",
            name="share of target actions",
            value=num_targets / aggregates.rows if aggregates.rows else None,
            low=0,
            is_above=True,
            threshold="more than 0",
            unit="share",
        ),
    ]


def _filled(aggregates: DayAggregates, facet: str, limits: Limits) -> Figure:
    stated = limits.nulls.get(facet)
    share = aggregates.null_share(facet)
    return Figure(
        check="facets_are_filled",
        name=f"share of rows with {facet}",
        value=None if share is None else 1 - share,
        low=0 if stated is None else 1 - stated,
        is_above=stated is None,
        threshold="more than 0" if stated is None else f"at least {1 - stated:.1%}",
        about=facet,
        unit="share",
    )


def _freshness(aggregates: DayAggregates, day: str, limits: Limits) -> list[Figure]:
    _, last = aggregates.instants.get("occurred_at", (None, None))
    tolerance = CLOCK_TOLERANCE.total_seconds()
    return [
        Figure(
            check="events_arrived_after_they_occurred",
            name="least seconds from an event to its arrival",
            value=aggregates.min_delay_s,
            low=-tolerance,
            threshold=f"at least {-tolerance:g} s",
            unit="s",
        ),
        Figure(
            check="events_arrive_in_time",
            name="seconds from an event to its arrival, 95th percentile",
            value=aggregates.delay_p95_s,
            high=limits.delay_s,
            threshold=f"at most {limits.delay_s:,.0f} s",
            unit="s",
        ),
        Figure(
            check="day_is_covered_to_its_end",
            name="hours from the last event to the end of the day",
            value=(end_of(day) - last).total_seconds() / 3600 if last else None,
            high=limits.silence_h,
            threshold=f"at most {limits.silence_h:g} h",
            unit="h",
        ),
    ]


def _source(arrived: Arrived, limits: Limits) -> list[Figure]:
    unknown, changes = arrived.unknown_actions, arrived.source_changes
    named = sorted(unknown.items(), key=lambda one: (-one[1], one[0]))[:NUM_NAMED]
    return [
        Figure(
            check="arriving_actions_are_known",
            name="share of rows that arrived with an unknown action",
            value=sum(unknown.values()) / arrived.rows_in if arrived.rows_in else None,
            high=limits.unknown_actions,
            threshold=f"at most {limits.unknown_actions:.1%}",
            unit="share",
            note=", ".join(f"{_short(word)}: {rows:,} rows" for word, rows in named),
        ),
        Figure(
            check="source_columns_are_unchanged",
            name="changes of columns in the source's files",
            value=len(changes),
            high=0,
            threshold="the columns of the day before",
            note="; ".join(changes[:NUM_NAMED]),
        ),
    ]


def _short(word: str) -> str:
    """Return a word that may be anything, such as a line that slipped into another column."""
    longest = 40
    return word if len(word) <= longest else f"{word[:longest]}…"
