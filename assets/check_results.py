"""How a check shows what it judged: figure beside threshold, also where it passes."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.presentation import table

MEANINGS: Mapping[str, str] = {
    "columns_match_the_schema": "The table has the schema's columns, in order.",
    "day_has_rows": "The day has valid events.",
    "fixed_columns_are_not_null": "Ids, action and both instants are there in every event.",
    "event_ids_are_unique": "Each event stands once.",
    "actions_are_known": "Each action is one of the schema's.",
    "events_occurred_within_the_day": "Each event occurred on the partition's UTC date.",
    "durations_are_plausible": "No event lasts less than nothing or longer than a day.",
    "numbers_are_plausible": "Numeric facets lie in their ranges.",
    "every_row_is_accounted_for": "Rows in = valid + quarantined + duplicates.",
    "quarantine_ratio_is_low": "Few of the day's rows break a rule.",
    "volume_is_usual": "As many events as on the days before, within a factor.",
    "targets_are_present": "Some actions are what the model learns to predict.",
}
"""What each check on a day's events demands, for the page of the check."""


def told(behind: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures behind a check with their thresholds, those that fail first."""
    if not behind:
        return "the schema has nothing to judge here"
    ordered = sorted(behind, key=lambda one: bool(one["is_passed"]))
    return "; ".join(f"{_found(one)}, want {one['threshold']}" for one in ordered)


def numbers(behind: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures behind a check as numbers to plot, and beside their thresholds."""
    rows = [judged(one) for one in behind]
    plotted = {
        f"rows of {one['column']} that break it" if one["column"] else "figure": one["observed"]
        for one in behind
        if isinstance(one["observed"], int | float)
    }
    return {**({"judged": table(rows)} if rows else {}), **plotted}


def judged(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return an expectation as a row of a table: of what, what was found, what was wanted."""
    return {
        "of": one["column"] or "the day",
        "found": _figure(one),
        "want": one["threshold"],
        "verdict": "pass" if one["is_passed"] else "FAIL",
    }


def gate_numbers(gate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the quality gate's figures as numbers to plot; its words are in the description."""
    metric, _, cut = gate["metric"].partition(", ")
    return {
        "difference to the champion": gate["difference"],
        "lower end": gate["lower"],
        "upper end": gate["upper"],
        "threshold": -gate["margin"],
        "candidate": gate["candidate"],
        "champion": gate["champion"],
        "withheld users": gate["num_users"],
        "withheld targets": gate["num_targets"],
        "metric": dg.MetadataValue.text(f"{metric}, {cut}"),
    }


def what_failed(behind: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the figures that a check refuses, with their thresholds; None where it passes."""
    failed = [one for one in behind if not one["is_passed"]]
    return told(failed) if failed else None


def _found(one: Mapping[str, Any]) -> str:
    observed = one["observed"]
    if one["column"] is None:
        return f"the day has {_figure(one)}"
    return f"{one['column']} breaks it in {observed} rows" if observed else f"{one['column']} holds"


def _figure(one: Mapping[str, Any]) -> Any:
    """Return what was observed in the unit of its threshold."""
    observed = one["observed"]
    if observed is None:
        return "nothing to judge"
    if not isinstance(observed, float):
        return observed
    return f"{observed:.2%}" if one["threshold"].endswith("%") else f"{observed:.4g}"
