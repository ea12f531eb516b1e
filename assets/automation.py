"""When things run: two jobs with schedules, and a sensor for newly arrived events.

All of them are off until switched on, so that loading the definitions starts nothing.
"""

import json
from collections.abc import Iterator
from datetime import date

import dagster as dg

from assets.partitions import CONFIG, complete_days, refresh_is_due_at
from assets.watermark import Clock
from assets.workspace import Workspace

_PRETRAINING_DELAY_H = 5
"""How long after the refresh of a month's last day its base is trained."""

ingestion_assets = dg.AssetSelection.assets(
    "raw_events",
    "catalogue",
    "valid_events",
    "quarantined_events",
    "interaction_tokens",
    "viewing_tokens",
    "vocabulary",
    "item_statistics",
    "late_arrivals",
)
lifecycle_assets = dg.AssetSelection.assets(
    "fine_tuned_model",
    "model_evaluation",
    "user_embeddings",
    "item_embeddings",
    "stabilised_embeddings",
    "published_version",
    "served_features",
)

ingestion = dg.define_asset_job(
    "ingestion",
    selection=ingestion_assets,
    description="Take in, validate and tokenize one day, and what came late of an earlier one.",
)
daily_refresh = dg.define_asset_job(
    "daily_refresh",
    selection=ingestion_assets | lifecycle_assets,
    description="One day, from its raw events to the version that consumers look up.",
)
monthly_pretraining = dg.define_asset_job(
    "monthly_pretraining",
    selection=dg.AssetSelection.assets("history_prefix", "pretrained_model"),
    description="Train the foundation model from scratch on everything up to the month's end.",
)
downstream_team = dg.define_asset_job(
    "downstream_team",
    selection=dg.AssetSelection.assets("next_title_ranker"),
    description="What another team runs on top: it reads features through the service only.",
)

JOBS = [ingestion, daily_refresh, monthly_pretraining, downstream_team]

_midnights, _hour = refresh_is_due_at(CONFIG)
_months_midnights, _months_hour = divmod(_hour + _PRETRAINING_DELAY_H, 24)

SCHEDULES = [
    dg.build_schedule_from_partitioned_job(
        daily_refresh,
        description="Each day once what arrived of it is complete: from its events to features.",
        hour_of_day=_hour,
    ),
    # after the daily refresh has taken in the last day of the month
    dg.build_schedule_from_partitioned_job(
        monthly_pretraining,
        description="A base from scratch, after the refresh of the month's last day.",
        hour_of_day=_months_hour,
        day_of_month=1 + _midnights + _months_midnights,
    ),
]


@dg.sensor(
    job=ingestion,
    minimum_interval_seconds=60,
    description="Takes in each complete day whose arrived files are others than at the last look.",
)
def newly_arrived_events(
    context: dg.SensorEvaluationContext,
    workspace: dg.ResourceParam[Workspace],
    clock: dg.ResourceParam[Clock],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Take in each complete day whose arrived files are others than at the last look."""
    seen: dict[str, str] = json.loads(context.cursor or "{}")
    arrived = {
        day: workspace.source.fingerprint(date.fromisoformat(day))
        for day in complete_days(workspace.config, now=clock())
    }
    changed = [day for day, fingerprint in arrived.items() if seen.get(day) != fingerprint]
    if not changed:
        yield dg.SkipReason("no file of a complete day has arrived since the last look")
    for day in changed:
        # with what was there before, so that a file that is taken back counts as well
        key = f"{day}:{seen.get(day)}>{arrived[day]}"
        yield dg.RunRequest(run_key=key, partition_key=day)
    context.update_cursor(json.dumps(arrived))
