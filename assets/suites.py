"""What a day of events must satisfy, as data: rules that a validation engine evaluates.

Nothing here imports an engine; ``assets.validation`` hands the rules to Great Expectations. What is
judged are small tables about the day, and a sample of its rows:

::

    <schema>_day      one row of figures: rows, nulls, delays        assets.day_figures
    <schema>_drift    one row of figures against the days before     assets.drift_figures
    <schema>_values   the least, the largest, the actions there are  value_rules
    <schema>_sample   100,000 rows                                   sample_rules
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from training.schema import EventSchema, FacetKind

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
    "events_arrived_after_they_occurred",
    "durations_are_plausible",
    "numbers_are_plausible",
    "every_row_is_accounted_for",
    "quarantine_ratio_is_low",
)
WARNING_CHECKS: tuple[str, ...] = (
    "volume_is_usual",
    "targets_are_present",
    "events_arrive_in_time",
    "day_is_covered_to_its_end",
    "facets_are_filled",
    "null_shares_are_usual",
    "hours_are_usual",
    "actions_are_usual",
    "facets_are_usual",
    "values_are_familiar",
    "arriving_actions_are_known",
    "source_columns_are_unchanged",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Thresholds of the rules."""

    quarantine_ratio: float = 0.05
    """Largest share of quarantined rows among distinct rows that arrived."""

    rows: int = 1
    """Smallest number of valid rows."""

    volume_low: float = 0.3
    """Smallest number of valid rows, as a multiple of the trailing days' median. A weekend has 1.5
    times a weekday's; what a feed loses that stands still for most of a day is more than 0.7."""

    volume_high: float = 3.0
    """Largest number of valid rows, as a multiple of the trailing days' median."""

    min_days: int = 3
    """Trailing days needed before anything is judged against them."""

    duration_ms: int = MS_PER_DAY
    """Longest duration of one event: nothing lasts longer than the day it happened on."""

    number: float = 1e9
    """Largest magnitude of a numeric facet whose range is not stated."""

    numbers: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """Stated ranges of numeric facets, by name, both ends inclusive."""

    delay_s: float = 6 * 3600.0
    """Time within which 95 % of events arrive: the watermark's delay, because what an evening's
    events take longer is left out of their day."""

    silence_h: float = 6.0
    """Longest time from the last event to the day's end: a quarter of the day, which no log with
    events around the clock has at night (KuaiRand-Pure, of one country, has a second)."""

    nulls: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Stated largest shares of nulls of facets, by name; of the others one value is enough."""

    null_change: float = 0.05
    """Largest change of a facet's share of nulls against the trailing days, beyond chance: four
    times that of any simulated or KuaiRand-Pure day."""

    drift: float = 0.1
    """Largest stability index against the trailing days, beyond chance: below it credit scoring
    sees no change of a population (Siddiqi 2006). Simulated and whole KuaiRand-Pure days, weekends
    included, have up to 0.035."""

    new_values: float = 0.01
    """Largest share of rows with values that the trailing days had not, beyond chance: a share that
    the model's vocabulary would not learn much of in a day."""

    unknown_actions: float = 0.005
    """Largest share of arriving rows whose action the schema does not know: one tenth of what
    blocks the day. The simulated world has 0.02 %."""


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

    about: str | None = None
    """The column of events that is judged; None where it is the day."""

    observed: float | str | None = None
    """What there was to judge, where the rule's maker knows; else the engine tells."""

    unit: str = ""
    """Of ``observed``: ``share``, ``s``, ``h`` or nothing."""

    note: str = ""
    """What explains the figure, in words."""

    @property
    def severity(self) -> Severity:
        """What it does to the day when it is broken."""
        return Severity.BLOCKING if self.check in BLOCKING_CHECKS else Severity.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number about a day, with the range that it has to lie in."""

    check: str
    name: str
    """Its column in the table that is judged: words, as the engine's page shows them."""

    value: float | None
    """None where there is nothing to judge, which breaks no rule."""

    threshold: str
    low: float | None = None
    high: float | None = None
    is_above: bool = False
    """Whether ``low`` itself is too little."""

    about: str | None = None
    unit: str = ""
    note: str = ""

    @property
    def rule(self) -> Rule:
        """The rule over a table of one row."""
        kind = "column_values" if self.value is None else "column_max"  # a maximum needs a value
        kwargs: dict[str, Any] = {
            "column": self.name,
            "min_value": self.low,
            "max_value": self.high,
        }
        if self.is_above:
            kwargs["strict_min"] = True
        return Rule(
            check=self.check,
            expectation=f"expect_{kind}_to_be_between",
            kwargs=kwargs,
            threshold=self.threshold,
            about=self.about,
            observed=self.value,
            unit=self.unit,
            note=self.note,
        )


def value_rules(
    schema: EventSchema, day: date, limits: Limits, *, observed: Mapping[str, str | None]
) -> tuple[Rule, ...]:
    """Return the rules over the least and largest values and the actions of a day.

    Args:
        schema: what the log's events look like.
        day: the UTC date that every event must have occurred on.
        limits: thresholds.
        observed: what there is of a column, in words.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    actions = [action.name for action in schema.actions]
    return (
        Rule(
            check="actions_are_known",
            expectation="expect_column_values_to_be_in_set",
            kwargs={"column": "action", "value_set": actions},
            threshold=f"one of {', '.join(actions)}",
            about="action",
            observed=observed.get("action"),
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
            about="occurred_at",
            observed=observed.get("occurred_at"),
        ),
        *_facet_rules(schema, limits, observed),
    )


def _facet_rules(
    schema: EventSchema, limits: Limits, observed: Mapping[str, str | None]
) -> tuple[Rule, ...]:
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
                about=facet.name,
                observed=observed.get(facet.name),
            )
        )
    return tuple(rules)


def sample_rules(schema: EventSchema) -> tuple[Rule, ...]:
    """Return the rules over a sample of the rows."""
    return (
        Rule(
            check="columns_match_the_schema",
            expectation="expect_table_columns_to_match_ordered_list",
            kwargs={"column_list": list(schema.arrow_schema.names)},
            threshold=f"columns of {schema.name}, in order",
        ),
        Rule(
            check="event_ids_are_unique",
            expectation="expect_column_values_to_be_unique",
            kwargs={"column": "event_id"},
            threshold="no repetition in the sample, where all copies of an id are or none",
            about="event_id",
        ),
    )
