"""The verdict on a day of events: what is judged, how it came out, and the pages that show it.

Nothing is judged over the rows of a day but a sample of them: the engine gets tables of figures
about the day (``training.events.day_aggregates``), so a day of any size takes it the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from assets import engine
from assets.data_docs import overview, standing_alone
from assets.day_figures import Arrived, column_figure, day_figures
from assets.drift_figures import drift_figures
from assets.suites import (
    BLOCKING_CHECKS,
    WARNING_CHECKS,
    Figure,
    Limits,
    Rule,
    sample_rules,
    value_rules,
)
from lake.atomic import replace_file
from training.events.day_aggregates import DayAggregates, aggregates_of, sample_of
from training.schema import EventSchema

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """How one rule came out."""

    name: str
    """The check it belongs to: one of BLOCKING_CHECKS or WARNING_CHECKS."""

    column: str | None
    """What it is about; None where it is the day."""

    severity: str
    is_passed: bool
    observed: float | str | None
    """The figure, or rows that break the rule; None where there was nothing to judge."""

    threshold: str
    unit: str = ""
    """Of ``observed``: ``share``, ``s``, ``h`` or nothing."""

    note: str = ""
    """What explains the figure, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayValidation:
    """The verdict on one day."""

    day: date
    schema: str
    aggregates: DayAggregates
    """What the day is like: later days are judged against it."""

    arrived: Arrived
    expectations: tuple[Expectation, ...]
    engine_results: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    """The engine's own account, one per suite, JSON: what ``render_data_docs`` draws."""

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the blocking checks that did not pass."""
        return tuple(name for name in BLOCKING_CHECKS if not self.is_passed(name))

    @property
    def warned(self) -> tuple[str, ...]:
        """Names of the warning checks that did not pass."""
        return tuple(name for name in WARNING_CHECKS if not self.is_passed(name))

    @property
    def is_blocked(self) -> bool:
        """Whether nothing downstream may run."""
        return bool(self.failed)

    def of(self, check: str) -> tuple[Expectation, ...]:
        """Return the expectations behind one check; empty where the schema has nothing for it."""
        return tuple(one for one in self.expectations if one.name == check)

    def is_passed(self, check: str) -> bool:
        """Return whether every expectation behind a check passed."""
        if check not in (*BLOCKING_CHECKS, *WARNING_CHECKS):
            raise KeyError(check)
        return all(one.is_passed for one in self.of(check))

    def verdict(self) -> dict[str, Any]:
        """Return what a reader of the day's events obeys, JSON: it follows from their rows alone.

        Repeated deliveries change nothing here, nor do other days, which warnings look at.
        """
        return {
            "format_version": FORMAT_VERSION,
            "day": self.day.isoformat(),
            "schema": self.schema,
            "is_blocked": self.is_blocked,
            "failed": list(self.failed),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the whole account, JSON: a function of the data, no times and no ids of rows."""
        return {
            **self.verdict(),
            "rows": self.aggregates.rows,
            "rows_in": self.arrived.rows_in,
            "quarantined": self.arrived.quarantined,
            "duplicates": self.arrived.duplicates,
            "warned": list(self.warned),
            "expectations": [asdict(one) for one in self.expectations],
            "aggregates": self.aggregates.to_json(),
        }


def validate_day(
    events: pl.LazyFrame,
    *,
    schema: EventSchema,
    day: date,
    arrived: Arrived,
    week: Sequence[DayAggregates] = (),
    limits: Limits | None = None,
) -> DayValidation:
    """Return the verdict on a day's valid events and on what was left out of them.

    Args:
        events: the rows that passed the row rules; they are streamed, not held.
        schema: what the log's events look like.
        day: the UTC date that every event must have occurred on.
        arrived: what became of the rows that arrived.
        week: the days before, at most seven, in any order.
        limits: thresholds, where the defaults do not fit.
    """
    limits = limits or Limits()
    sample = sample_of(events)
    aggregates = aggregates_of(events, schema, sample)
    of_day = [
        column_figure(events.collect_schema(), schema),
        *day_figures(
            aggregates, schema=schema, day=day.isoformat(), arrived=arrived, limits=limits
        ),
    ]
    drift = drift_figures(aggregates, week, schema=schema, limits=limits)
    expectations, engine_results = _evaluated(
        {
            f"{schema.name}_day": _of_figures(of_day),
            f"{schema.name}_drift": _of_figures(drift),
            f"{schema.name}_values": _of_values(aggregates, schema, day, limits),
            f"{schema.name}_sample": (sample_rules(schema), _sample_frame(sample)),
        }
    )
    return DayValidation(
        day=day,
        schema=schema.name,
        aggregates=aggregates,
        arrived=arrived,
        expectations=expectations,
        engine_results=engine_results,
    )


def _evaluated(
    suites: Mapping[str, tuple[Sequence[Rule], "pd.DataFrame"]],
) -> tuple[tuple[Expectation, ...], tuple[Mapping[str, Any], ...]]:
    """Return how the rules of every suite came out, and the engine's own account of each."""
    results = {name: engine.evaluate(name, *suite) for name, suite in suites.items()}
    expectations = [
        one for name, (rules, _) in suites.items() for one in _read(results[name], rules)
    ]
    return tuple(expectations), tuple(results.values())


def render_data_docs(validation: DayValidation, folder: Path) -> tuple[Path, ...]:
    """Write the day's overview and the engine's own page of each suite; return the pages.

    A page takes 0.1 s. It holds figures and the values that broke a rule, as the engine shows them,
    and the time of the run: keep it where the events are kept, outside of what is digested.
    """
    pages = [folder / "checks.html"]
    for result in validation.engine_results:
        page = folder / f"{result['suite_name']}.html"
        replace_file(page, standing_alone(engine.page_of(result)).encode())
        pages.append(page)
    account = validation.to_json()
    replace_file(pages[0], overview(account, [page.stem for page in pages[1:]]).encode())
    return tuple(pages)


def _of_figures(figures: Sequence[Figure]) -> tuple[tuple[Rule, ...], "pd.DataFrame"]:
    import pandas as pd

    row = {one.name: one.value for one in figures}
    return tuple(one.rule for one in figures), pd.DataFrame([row], dtype="float64")


def _of_values(
    aggregates: DayAggregates, schema: EventSchema, day: date, limits: Limits
) -> tuple[tuple[Rule, ...], "pd.DataFrame"]:
    """Return the rules over the extremes, and those as a table: a column per column of events.

    Columns of different length end in nulls, which no rule over values looks at.
    """
    import pandas as pd

    columns: dict[str, pd.Series[Any]] = {}
    observed: dict[str, str | None] = {}
    for name, (low, high) in aggregates.numbers.items():
        columns[name] = pd.Series([low, high], dtype="float64")
        observed[name] = None if low is None else f"{low:,.10g} to {high:,.10g}"
    if (both := aggregates.instants.get("occurred_at")) is not None:
        columns["occurred_at"] = pd.Series(both, dtype="datetime64[us, UTC]")
        first, last = both
        observed["occurred_at"] = None if not (first and last) else f"{first:%F %T} to {last:%F %T}"
    if (counts := aggregates.counts.get("action")) is not None:
        columns["action"] = pd.Series(list(counts), dtype="object")
        known = {one.name for one in schema.actions}
        unknown = [f"{word} ({n:,} rows)" for word, n in counts.items() if word not in known]
        observed["action"] = ", ".join(unknown) or ", ".join(counts) or None
    return value_rules(schema, day, limits, observed=observed), pd.DataFrame(columns)


def _sample_frame(sample: pl.DataFrame) -> "pd.DataFrame":
    """Return the sample as the engine reads it: only event ids have a rule over rows.

    They are there as hashes, as the engine's page shows those that repeat; the other columns are
    there by name, all null.
    """
    import pandas as pd

    nothing: list[int | None] = [None] * sample.height
    columns = dict.fromkeys(sample.columns, nothing)
    if "event_id" in columns:
        hashes = pl.when(pl.col("event_id").is_not_null()).then(pl.col("event_id").hash(0))
        columns["event_id"] = sample.select(hashes).to_series().to_list()
    return pd.DataFrame(columns)


def _read(result: Mapping[str, Any], rules: Sequence[Rule]) -> list[Expectation]:
    """Return what the engine found, in the order of the rules."""
    by_rule = {one["expectation_config"]["meta"]["rule"]: one for one in result["results"]}
    return [
        Expectation(
            name=rule.check,
            column=rule.about,
            severity=str(rule.severity),
            is_passed=bool(by_rule[index]["success"]),
            observed=_observed(by_rule[index], rule),
            threshold=rule.threshold,
            unit=rule.unit,
            note=rule.note,
        )
        for index, rule in enumerate(rules)
    ]


def _observed(result: Mapping[str, Any], rule: Rule) -> float | str | None:
    found = result["result"]
    if not found:
        return "could not be judged: the column is missing or of another type"
    if "column_list" in rule.kwargs:
        return _columns(found["observed_value"], rule.kwargs["column_list"])
    if rule.check == "event_ids_are_unique":
        return f"{found['unexpected_count']:,} of {found['element_count']:,} ids repeat"
    return rule.observed


def _columns(got: Sequence[str], want: Sequence[str]) -> str:
    """Return what is wrong with a table's columns, or how many there are."""
    missing = [name for name in want if name not in got]
    strange = [name for name in got if name not in want]
    if missing or strange:
        named = (("missing", missing), ("unexpected", strange))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in named if names)
    return f"{len(got)} columns" if list(got) == list(want) else "columns in another order"
