"""How a check shows what it judged: figure beside threshold, also where it passes."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.presentation import table

MEANINGS: Mapping[str, str] = {
    "columns_match_the_schema": "The table has the schema's columns, in order and type.",
    "day_has_rows": "The day has valid events.",
    "fixed_columns_are_not_null": "Ids, action and both instants are there in every event.",
    "event_ids_are_unique": "Each event of the sample stands once.",
    "actions_are_known": "Each action is one of the schema's.",
    "events_occurred_within_the_day": "Each event occurred on the partition's UTC date.",
    "events_arrived_after_they_occurred": "No event arrived before it occurred.",
    "durations_are_plausible": "No event lasts less than nothing or longer than a day.",
    "numbers_are_plausible": "Numeric facets are finite and lie in their ranges.",
    "every_row_is_accounted_for": "Rows in = valid + quarantined + duplicates.",
    "quarantine_ratio_is_low": "Few of the day's rows break a rule.",
    "volume_is_usual": "As many events as on the days before, within a factor.",
    "targets_are_present": "Some actions are what the model learns to predict.",
    "events_arrive_in_time": "95 % of the events arrive before the watermark passes.",
    "day_is_covered_to_its_end": "The last event is not long before the end of the day.",
    "facets_are_filled": "Each facet has values.",
    "null_shares_are_usual": "Each facet is as often null as on the days before.",
    "hours_are_usual": "The day's hours have their usual shares of the events.",
    "actions_are_usual": "Actions have the shares of the days before.",
    "facets_are_usual": "Each facet's values are spread as on the days before.",
    "values_are_familiar": "Few rows have a category that the days before had not.",
    "arriving_actions_are_known": "Few rows arrive with an action that the schema has not.",
    "source_columns_are_unchanged": "The source's files have the columns of the day before.",
}
"""What each check on a day's events demands, for the page of the check."""


_UNITS = {"share": "{:.2%}", "s": "{:,.1f} s", "h": "{:,.1f} h"}


def told(behind: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures behind a check with their thresholds, those that fail first."""
    if not behind:
        return "the schema has nothing to judge here"
    ordered = sorted(behind, key=lambda one: bool(one["is_passed"]))
    return "; ".join(
        f"{one['column'] or 'the day'}: {figure_of(one)}, want {one['threshold']}"
        for one in ordered
    )


def numbers(behind: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures behind a check as numbers to plot, and beside their thresholds."""
    rows = [judged(one) for one in behind]
    plotted = {
        f"of {one['column']}" if one["column"] else "figure": one["observed"]
        for one in behind
        if isinstance(one["observed"], int | float)
    }
    return {**({"judged": table(rows)} if rows else {}), **plotted}


def judged(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return an expectation as a row of a table: of what, what was found, what was wanted."""
    return {
        "of": one["column"] or "the day",
        "found": figure_of(one),
        "want": one["threshold"],
        "verdict": "pass" if one["is_passed"] else "FAIL",
    }


def in_one_row(check: str, behind: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a check as a row of a table: what fails in it, or how many things pass."""
    failed = [one for one in behind if not one["is_passed"]]
    if len(behind) == 1 or failed:
        return {"check": check, **judged((failed or behind)[0])}
    return {
        "check": check,
        "of": f"{len(behind)} figures",
        "found": "all pass",
        "want": "on the day's page",
        "verdict": "pass",
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


def figure_of(one: Mapping[str, Any]) -> str:
    """Return what was observed, in its unit, and what explains it."""
    observed, unit, note = one["observed"], one.get("unit", ""), one.get("note", "")
    if observed is None:
        return "nothing to judge"
    if not isinstance(observed, int | float):
        return str(observed)
    number = "{:,}" if isinstance(observed, int) else "{:.4g}"
    shown = _UNITS.get(unit, number).format(observed)
    return f"{shown} ({note})" if note else shown
