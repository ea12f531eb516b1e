"""What the orchestrator loads: assets, checks, jobs, schedules, the sensor, resources."""

import dagster as dg

from assets import (
    automation,
    backfill,
    checks,
    consumers,
    embeddings,
    events,
    late_arrivals,
    models,
    progress,
    publication,
    tokens,
)
from assets.resources import ref_io_manager, workspace_resource
from assets.watermark import wall_clock

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [events, tokens, late_arrivals, models, embeddings, publication, consumers]
    ),
    asset_checks=checks.CHECKS,
    jobs=[*automation.JOBS, backfill.ingestion_of_days],
    schedules=automation.SCHEDULES,
    sensors=[automation.newly_arrived_events],
    resources={
        "workspace": workspace_resource.configured({"root": {"env": "MARQUEE_WORKSPACE"}}),
        "clock": wall_clock,
        "io_manager": ref_io_manager,
    },
    # the steps of a run share imports of seconds; training runs in a process of its own anyway
    executor=dg.in_process_executor,
    loggers={"console": dg.colored_console_logger, "progress": progress.progress_logger},
)
