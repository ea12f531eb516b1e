"""Judges a day of events with Great Expectations; the only module that knows its interface.

The engine's own ``success`` is false also where only a warning fails, so the verdict is taken from
the severities of the rules that failed. Great Expectations takes 3 s to import: it is loaded when
the first day is judged, and one ephemeral context serves the process.
"""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.data_docs import standing_alone
from assets.suites import (
    BLOCKING_CHECKS,
    WARNING_CHECKS,
    DayFigures,
    Limits,
    Rule,
    Severity,
    day_rules,
    event_rules,
)
from lake.atomic import replace_file
from training.schema import ActionRole, EventSchema

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
_ENGINE_SEVERITY = {Severity.BLOCKING: "critical", Severity.WARNING: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """How one rule came out."""

    name: str
    """The check it belongs to: one of BLOCKING_CHECKS or WARNING_CHECKS."""

    column: str | None
    severity: str
    is_passed: bool
    observed: float | str | None
    """Rows that break the rule, or the day's figure; None where there was nothing to judge."""

    threshold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayValidation:
    """The verdict on one day."""

    day: date
    schema: str
    rows: int
    rows_in: int
    quarantined: int
    duplicates: int
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
            "rows": self.rows,
            "rows_in": self.rows_in,
            "quarantined": self.quarantined,
            "duplicates": self.duplicates,
            "warned": list(self.warned),
            "expectations": [asdict(one) for one in self.expectations],
        }


def validate_day(  # noqa: PLR0913 (all but the table are keywords)
    events: pa.Table,
    *,
    schema: EventSchema,
    day: date,
    quarantined: int,
    duplicates: int,
    rows_in: int,
    trailing_rows: Sequence[int],
    limits: Limits | None = None,
) -> DayValidation:
    """Return the verdict on a day's valid events and on what was left out of them.

    Args:
        events: the rows that passed the row rules.
        schema: what the log's events look like.
        day: the UTC date that every event must have occurred on.
        quarantined: rows set aside by the row rules.
        duplicates: rows dropped because their event was already there.
        rows_in: rows as they arrived; valid, quarantined and duplicate rows add up to it.
        trailing_rows: valid rows of the days before, at most a week, in any order.
        limits: thresholds, where the defaults do not fit.
    """
    limits = limits or Limits()
    figures = DayFigures(
        rows=events.num_rows,
        rows_in=rows_in,
        quarantined=quarantined,
        duplicates=duplicates,
        target_rows=_count_targets(events, schema),
        trailing_rows=tuple(trailing_rows),
    )
    row = figures.as_row(limits)
    suites = {
        f"{schema.name}_events": (event_rules(schema, day, limits), _rows_frame(events)),
        f"{schema.name}_day": (day_rules(limits), _figures_frame(row)),
    }
    expectations: list[Expectation] = []
    engine_results = []
    for name, (rules, frame) in suites.items():
        result = _evaluate(name, rules, frame)
        engine_results.append(result)
        expectations += _read(result, rules, row)
    return DayValidation(
        day=day,
        schema=schema.name,
        rows=events.num_rows,
        rows_in=rows_in,
        quarantined=quarantined,
        duplicates=duplicates,
        expectations=tuple(expectations),
        engine_results=tuple(engine_results),
    )


def render_data_docs(validation: DayValidation, folder: Path) -> tuple[Path, ...]:
    """Write the engine's own page of each suite into the day's ``folder`` and return the pages.

    A page takes 0.1 s. It holds the values that broke a rule, as the engine shows them, and the
    time of the run: keep it where the events are kept, outside of what is digested.
    """
    _context()
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    pages = []
    for result in validation.engine_results:
        loaded = expectationSuiteValidationResultSchema.load(deepcopy(dict(result)))
        page = folder / f"{result['suite_name']}.html"
        view: Any = DefaultJinjaPageView()
        html: str = view.render(ValidationResultsPageRenderer().render(loaded))
        replace_file(page, standing_alone(html).encode())
        pages.append(page)
    return tuple(pages)


def _count_targets(events: pa.Table, schema: EventSchema) -> int:
    if "action" not in events.column_names:
        return 0
    targets = pa.array(schema.actions_with(ActionRole.TARGET), pa.string())
    return events.filter(pc.is_in(events["action"], value_set=targets)).num_rows


def _rows_frame(events: pa.Table) -> "pd.DataFrame":
    """Return the events as the engine reads them.

    Lists have no rule and are slow to convert: their columns are there by name, all null.
    """
    for index, field_ in enumerate(events.schema):
        if pa.types.is_nested(field_.type):
            events = events.set_column(index, field_.name, pa.nulls(events.num_rows))
    return events.to_pandas(integer_object_nulls=True)


def _figures_frame(row: Mapping[str, float | None]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame([row], dtype="float64")


@cache
def _context() -> Any:
    """Return the one context of this process: no files, no progress bars, no usage statistics."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # 1.24 sets this logger to INFO when it is imported, and announces its temporary folder
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


@cache
def _batches() -> Any:
    asset = _context().data_sources.add_pandas("marquee").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("whole")


def _evaluate(name: str, rules: Sequence[Rule], frame: "pd.DataFrame") -> Mapping[str, Any]:
    """Return the engine's result of a suite over a table, as JSON."""
    _context()
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )
    from great_expectations.expectations.metadata_types import FailureSeverity

    suite = ExpectationSuite(
        name=name,
        expectations=[
            ExpectationConfiguration(
                type=rule.expectation,
                kwargs=dict(rule.kwargs),
                meta={"rule": index},
                severity=FailureSeverity(_ENGINE_SEVERITY[rule.severity]),
            )
            for index, rule in enumerate(rules)
        ],
    )
    batch = _batches().get_batch(batch_parameters={"dataframe": frame})
    result: Mapping[str, Any] = batch.validate(suite, result_format="BASIC").to_json_dict()
    return result


def _read(
    result: Mapping[str, Any], rules: Sequence[Rule], row: Mapping[str, float | None]
) -> list[Expectation]:
    """Return what the engine found, in the order of the rules."""
    by_rule = {one["expectation_config"]["meta"]["rule"]: one for one in result["results"]}
    return [
        Expectation(
            name=rule.check,
            column=None if rule.column in row else rule.column,
            severity=str(rule.severity),
            is_passed=bool(by_rule[index]["success"]),
            observed=_observed(by_rule[index], rule, row),
            threshold=rule.threshold,
        )
        for index, rule in enumerate(rules)
    ]


def _observed(
    result: Mapping[str, Any], rule: Rule, row: Mapping[str, float | None]
) -> float | str | None:
    if rule.column is not None and rule.column in row:
        return row[rule.column]
    found = result["result"]
    if "unexpected_count" in found:
        return int(found["unexpected_count"])
    if "observed_value" in found:
        return _columns(found["observed_value"], rule.kwargs["column_list"])
    return "could not be judged: the column is missing or of another type"


def _columns(got: Sequence[str], want: Sequence[str]) -> str:
    """Return what is wrong with a table's columns, or how many there are."""
    missing = [name for name in want if name not in got]
    strange = [name for name in got if name not in want]
    if missing or strange:
        named = (("missing", missing), ("unexpected", strange))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in named if names)
    return f"{len(got)} columns" if list(got) == list(want) else "columns in another order"
