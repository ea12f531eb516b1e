"""What a day of events must satisfy, as data: rules that a validation engine evaluates.

Two tables are judged: the day's valid events, and one row of figures about the day as a whole.
Nothing here imports an engine; ``assets.validation`` hands the rules to Great Expectations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from statistics import median
from types import MappingProxyType
from typing import Any

from training.schema import EVENT_COLUMNS, EventSchema, FacetKind

MS_PER_DAY = 24 * 60 * 60 * 1000


class Severity(StrEnum):
    """What a broken rule does to the day."""

    BLOCKING = "blocking"
    """Nothing downstream of the day may run."""
    WARNING = "warning"
    """Somebody should look; the day goes on."""


# Names of rules, whatever the schema: each backs an asset check of the same name.
BLOCKING_CHECKS: tuple[str, ...] = (
    "columns_match_the_schema",
    "day_has_rows",
    "fixed_columns_are_not_null",
    "event_ids_are_unique",
    "actions_are_known",
    "events_occurred_within_the_day",
    "durations_are_plausible",
    "numbers_are_plausible",
    "every_row_is_accounted_for",
    "quarantine_ratio_is_low",
)
WARNING_CHECKS: tuple[str, ...] = ("volume_is_usual", "targets_are_present")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Thresholds of the rules."""

    quarantine_ratio: float = 0.05
    """Largest share of quarantined rows among distinct rows that arrived."""

    rows: int = 1
    """Smallest number of valid rows."""

    volume_low: float = 0.3
    """Smallest number of valid rows, as a multiple of the trailing days' median."""

    volume_high: float = 3.0
    """Largest number of valid rows, as a multiple of the trailing days' median."""

    volume_min_days: int = 3
    """Trailing days needed before volume is judged at all."""

    duration_ms: int = MS_PER_DAY
    """Longest duration of one event: nothing lasts longer than the day it happened on."""

    number: float = 1e9
    """Largest magnitude of a numeric facet whose range is not stated."""

    numbers: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """Stated ranges of numeric facets, by name, both ends inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One expectation: what it is called here and in the engine, and what breaks it."""

    check: str
    """Name of the asset check that it backs; several rules may back one check."""

    expectation: str
    """The engine's name of it, such as ``expect_column_values_to_not_be_null``."""

    kwargs: Mapping[str, Any]
    threshold: str
    """The limit, for people."""

    severity: Severity = Severity.BLOCKING

    @property
    def column(self) -> str | None:
        """The column that is judged; None where the whole table is."""
        column: str | None = self.kwargs.get("column")
        return column


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """Counts of one day, and the shares that rules judge."""

    rows: int
    """Valid rows."""

    rows_in: int
    """Rows as they arrived."""

    quarantined: int
    duplicates: int
    target_rows: int
    """Valid rows whose action is a target."""

    trailing_rows: Sequence[int] = ()
    """Valid rows of the days before."""

    @property
    def unaccounted_rows(self) -> int:
        """Rows that arrived and are neither valid nor quarantined nor duplicates."""
        return self.rows_in - self.rows - self.quarantined - self.duplicates

    @property
    def quarantine_ratio(self) -> float | None:
        """Share of quarantined rows; duplicates do not count, None where nothing is left."""
        distinct = self.rows_in - self.duplicates
        return self.quarantined / distinct if distinct else None

    @property
    def target_share(self) -> float | None:
        """Share of target actions among valid rows, None for none."""
        return self.target_rows / self.rows if self.rows else None

    def volume_ratio(self, limits: Limits) -> float | None:
        """Return valid rows over the trailing median; None with too few days to tell."""
        if len(self.trailing_rows) < limits.volume_min_days:
            return None
        usual = median(self.trailing_rows)
        return self.rows / usual if usual else None

    def as_row(self, limits: Limits) -> dict[str, float | None]:
        """Return the one row that ``day_rules`` judge."""
        return {
            "rows": self.rows,
            "unaccounted_rows": self.unaccounted_rows,
            "quarantine_ratio": self.quarantine_ratio,
            "volume_ratio": self.volume_ratio(limits),
            "target_share": self.target_share,
        }


def event_rules(schema: EventSchema, day: date, limits: Limits) -> tuple[Rule, ...]:
    """Return the rules that every row of the day's valid events must satisfy."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    actions = [action.name for action in schema.actions]
    return (
        Rule(
            check="columns_match_the_schema",
            expectation="expect_table_columns_to_match_ordered_list",
            kwargs={"column_list": list(schema.arrow_schema.names)},
            threshold=f"columns of {schema.name}, in order",
        ),
        *(
            Rule(
                check="fixed_columns_are_not_null",
                expectation="expect_column_values_to_not_be_null",
                kwargs={"column": name},
                threshold="no null",
            )
            for name, _ in EVENT_COLUMNS
        ),
        Rule(
            check="event_ids_are_unique",
            expectation="expect_column_values_to_be_unique",
            kwargs={"column": "event_id"},
            threshold="no repetition",
        ),
        Rule(
            check="actions_are_known",
            expectation="expect_column_values_to_be_in_set",
            kwargs={"column": "action", "value_set": actions},
            threshold=f"one of {', '.join(actions)}",
        ),
        Rule(
            check="events_occurred_within_the_day",
            expectation="expect_column_values_to_be_between",
            kwargs={
                "column": "occurred_at",
                "min_value": start,
                "max_value": start + timedelta(days=1),
                "strict_max": True,
            },
            threshold=f"on {day.isoformat()}, UTC",
        ),
        *_facet_rules(schema, limits),
    )


def _facet_rules(schema: EventSchema, limits: Limits) -> tuple[Rule, ...]:
    rules = []
    for facet in schema.facets:
        if facet.kind is FacetKind.DURATION:
            low, high = 0.0, float(limits.duration_ms)
            check, threshold = "durations_are_plausible", f"0 to {limits.duration_ms:,} ms"
        elif facet.kind is FacetKind.NUMERIC:
            low, high = limits.numbers.get(facet.name, (-limits.number, limits.number))
            check, threshold = "numbers_are_plausible", f"{low:g} to {high:g}"
        else:
            continue
        rules.append(
            Rule(
                check=check,
                expectation="expect_column_values_to_be_between",
                kwargs={"column": facet.name, "min_value": low, "max_value": high},
                threshold=threshold,
            )
        )
    return tuple(rules)


def day_rules(limits: Limits) -> tuple[Rule, ...]:
    """Return the rules that the day as a whole must satisfy."""
    return (
        _figure("day_has_rows", "rows", f"at least {limits.rows}", low=limits.rows),
        _figure("every_row_is_accounted_for", "unaccounted_rows", "exactly 0", low=0, high=0),
        _figure(
            "quarantine_ratio_is_low",
            "quarantine_ratio",
            f"at most {limits.quarantine_ratio:.1%}",
            high=limits.quarantine_ratio,
        ),
        _figure(
            "volume_is_usual",
            "volume_ratio",
            f"{limits.volume_low:g} to {limits.volume_high:g} times the trailing median",
            low=limits.volume_low,
            high=limits.volume_high,
        ),
        _figure("targets_are_present", "target_share", "more than 0", low=0, is_above=True),
    )


def _figure(
    check: str,
    column: str,
    threshold: str,
    *,
    low: float | None = None,
    high: float | None = None,
    is_above: bool = False,
) -> Rule:
    kwargs: dict[str, Any] = {"column": column, "min_value": low, "max_value": high}
    if is_above:
        kwargs["strict_min"] = True
    return Rule(
        check=check,
        expectation="expect_column_values_to_be_between",
        kwargs=kwargs,
        threshold=threshold,
        severity=Severity.BLOCKING if check in BLOCKING_CHECKS else Severity.WARNING,
    )
