"""Late events of a day whose lateness has ended, taken into their own day.

::

    refresh of day N     raw ─► valid ─► tokens            of N, as it is at its watermark
                         late_arrivals:  raw ─► … ─► tokens  of N - 3, with all that came late
                         fine_tuned_model                  reads both

Staleness stops there: models and versions made of the day before stay what they are, and say which
of their inputs were superseded (ADR 11).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from assets.backfill import OF_A_DAY, build_day, final_days, materialization, told_versions
from assets.events import VALIDATION
from assets.pages import docs_folder
from assets.partitions import daily, the_day_that_is_final
from assets.presentation import table
from assets.reporting import code_version, work
from assets.timeline import day_before
from assets.tokens import TOKENIZER
from assets.watermark import Clock, days_to_final
from assets.workspace import Workspace
from lake.digests import digest_json
from lake.lake import Built

COUNTED = ("received late", "taken in", "too late", "tokens rewritten")


@dg.asset(
    partitions_def=daily,
    group_name="events",
    kinds={"parquet"},
    owners=["team:data"],
    code_version=code_version((*VALIDATION, *TOKENIZER)),
    deps=[dg.AssetDep("interaction_tokens", partition_mapping=the_day_that_is_final)],
)
def late_arrivals(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[None]:
    """Late events of the day whose lateness ended, taken into that day's events and tokens."""
    days = final_days(workspace, context.partition_key)
    due = day_before(context.partition_key, days_to_final(workspace.config))
    taken: dict[str, dict[str, Built]] = {}
    for day in days:
        try:
            taken[day] = _taken_again(context, workspace, day, now=clock())
        except dg.Failure as error:
            if day == due:
                raise
            # it failed the refresh that it was due in; later ones go on with what stands
            context.log.warning("%s: what stands of the day stays", error.description)
    rows = [_figures(day, built) for day, built in taken.items()]
    versions = [built["interaction_tokens"].ref.digest for built in taken.values()]
    left = [day for day in days if day not in taken]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest_json(versions)),
        metadata={
            **{name: sum(row[name] for row in rows) for name in COUNTED},
            "days": table(rows),
            **({"days that stay as they stand": ", ".join(left)} if left else {}),
            **work(
                is_skipped=all(one.is_skipped for built in taken.values() for one in built.values())
            ),
        },
    )


def _taken_again(
    context: dg.AssetExecutionContext, workspace: Workspace, day: str, *, now: datetime
) -> dict[str, Built]:
    """Take a day in as the partition's day knows it, and tell what the orchestrator has not heard.

    A day whose pages are drawn gets others.
    """
    taken = {}
    has_pages = docs_folder(workspace.root, day).exists()
    try:
        for built in build_day(
            workspace, day, now=now, as_of_day=context.partition_key, has_pages=has_pages
        ):
            taken[built.ref.asset] = built
            told = told_versions(context.instance, built.ref.asset, [day])
            if told.get(day) != built.ref.digest:
                context.log_event(materialization(built))
    except OF_A_DAY as error:
        raise dg.Failure(f"{day}, with its late events: {error}") from error
    return taken


def _figures(day: str, taken: Mapping[str, Built]) -> dict[str, Any]:
    raw, tokens = taken["raw_events"].ref.figures, taken["interaction_tokens"]
    return {
        "day": day,
        "received late": raw["late"],
        "taken in": raw["late_taken"],
        "too late": raw["too_late"],
        "tokens rewritten": 0 if tokens.is_skipped else tokens.ref.rows,
    }
