"""From a source's raw rows to valid events, and to the catalogue they refer to."""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets import previews
from assets.io_manager import UNPARTITIONED
from assets.pages import docs_folder
from assets.partitions import daily
from assets.reporting import code_version, materialized
from assets.suites import Limits
from assets.validation import DayValidation, render_data_docs, validate_day
from assets.watermark import Clock, require_complete, watermark_of
from assets.workspace import Workspace
from lake.days import end_of, start_of
from lake.lake import Built, Written
from lake.refs import ArtifactRef
from training.events import artifacts

INGESTION = ("training.events.artifacts", "training.events.sources")
VALIDATION = (*INGESTION, "assets.validation")
OWNERS = ["team:data"]

of_a_day = partial(dg.asset, partitions_def=daily, group_name="events", owners=OWNERS)


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def raw_events(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[ArtifactRef]:
    """A day's events as they arrived, with duplicates, disorder and nonsense."""
    built = build_raw_events(workspace, context.partition_key, now=clock())
    return materialized(built, metadata=previews.of_events(workspace, built.ref))


def build_raw_events(workspace: Workspace, day: str, *, now: datetime) -> Built:
    """Write what arrived of a day; raises IncompleteDayError while more may arrive."""
    source, num_buckets = workspace.source, workspace.config.num_buckets
    require_complete(workspace.config, day, now=now)
    received_before, date = watermark_of(workspace.config, day), start_of(day).date()
    return workspace.build(
        "raw_events",
        day,
        # tombstones are no parameter: an erasure makes no day new work
        lambda folder: artifacts.write_raw(
            source,
            date,
            received_before,
            folder,
            num_buckets=num_buckets,
            erased=workspace.lake.tombstones() or None,
        ),
        code_of=INGESTION,
        as_of=received_before,
        parameters={
            "source": source.identity(),
            "arrived": source.fingerprint(date),
            "num_buckets": num_buckets,
        },
    )


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def catalogue(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[ArtifactRef]:
    """Every title as known at the end of the day, slowly changing."""
    built = build_catalogue(workspace, context.partition_key)
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


def build_catalogue(workspace: Workspace, day: str) -> Built:
    """Write the titles known at the end of a day."""
    as_of, source = end_of(day), workspace.source
    return workspace.build(
        "catalogue",
        day,
        lambda folder: artifacts.write_catalogue(source, as_of, folder),
        code_of=INGESTION,
        as_of=as_of,
        parameters={
            "source": source.identity(),
            "known": source.catalogue_fingerprint(as_of=as_of),
        },
    )


@of_a_day(kinds={"parquet", "greatexpectations"}, code_version=code_version(VALIDATION))
def valid_events(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's events that keep every rule, once each, in order; with the day's validation."""
    docs = docs_folder(workspace.root, context.partition_key)
    built = build_valid_events(workspace, raw_events, catalogue, has_pages=True)
    if not docs.exists():  # made in a backfill, which draws no pages
        folder, figures = workspace.lake.path(built.ref), built.ref.figures
        render_data_docs(_validation(workspace, folder, raw_events, figures), docs)
    return materialized(built, metadata=previews.of_valid_events(workspace, built.ref, docs))


def build_valid_events(
    workspace: Workspace, raw_events: ArtifactRef, catalogue: ArtifactRef, *, has_pages: bool
) -> Built:
    """Write a day's valid events and their validation, which is drawn where it ``has_pages``."""
    return workspace.build(
        "valid_events",
        raw_events.partition,
        lambda folder: _write_valid(workspace, raw_events, catalogue, folder, has_pages=has_pages),
        code_of=VALIDATION,
        as_of=end_of(raw_events.partition),
        inputs=[raw_events, catalogue],
        parameters={"max_quarantined": workspace.config.max_quarantined},
    )


def _write_valid(
    workspace: Workspace,
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
    folder: Path,
    *,
    has_pages: bool,
) -> Written:
    raw, titles = workspace.paths([raw_events, catalogue])
    day = start_of(raw_events.partition).date()
    written = artifacts.write_valid(raw, titles, day, folder, each_bucket=workspace.each_bucket)
    validation = _validation(workspace, folder, raw_events, written.figures)
    docs = docs_folder(workspace.root, raw_events.partition)
    shutil.rmtree(docs, ignore_errors=True)  # they are of what the day was before
    if has_pages:
        render_data_docs(validation, docs)
    # the digest covers the verdict; the figures, which know other days, stay out of it
    (folder / "validation.json").write_text(json.dumps(validation.verdict(), indent=1))
    return Written(written.rows, {**written.figures, "validation": validation.to_json()})


def _validation(
    workspace: Workspace, folder: Path, raw_events: ArtifactRef, figures: Mapping[str, Any]
) -> DayValidation:
    schema, events = artifacts.read_events(folder)
    start = start_of(raw_events.partition)
    # the week before only informs a warning, so it is no input: late events of another day must not
    # make this one new
    week = [(start - timedelta(days=n)).date().isoformat() for n in range(1, 8)]
    before = [workspace.lake.find("valid_events", day) for day in week]
    return validate_day(
        events,
        schema=schema,
        day=start.date(),
        quarantined=figures["quarantined"],
        duplicates=figures["duplicates"],
        rows_in=raw_events.rows,
        trailing_rows=[ref.rows for ref in before if ref],
        limits=Limits(
            quarantine_ratio=workspace.config.max_quarantined,
            rows=min(1, raw_events.rows),  # raw events are empty only if the source vouches for it
        ),
    )


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def quarantined_events(
    workspace: dg.ResourceParam[Workspace], raw_events: ArtifactRef, catalogue: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's rows that break a rule, each as it arrived, with the rule's name."""
    built = build_quarantined_events(workspace, raw_events, catalogue)
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


def build_quarantined_events(
    workspace: Workspace, raw_events: ArtifactRef, catalogue: ArtifactRef
) -> Built:
    """Write the rows of a day that break a rule."""
    day, each_bucket = raw_events.partition, workspace.each_bucket
    raw, titles = workspace.paths([raw_events, catalogue])
    return workspace.build(
        "quarantined_events",
        day,
        lambda folder: artifacts.write_quarantined(
            raw, titles, start_of(day).date(), folder, each_bucket=each_bucket
        ),
        code_of=INGESTION,
        as_of=end_of(day),
        inputs=[raw_events, catalogue],
    )


@dg.asset(
    group_name="events",
    kinds={"parquet"},
    owners=OWNERS,
    code_version=code_version(INGESTION),
)
def history_prefix(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult[ArtifactRef]:
    """What is known of users from before the first day: items in order, without times."""
    source = workspace.source
    built = workspace.build(
        "history_prefix",
        UNPARTITIONED,
        lambda folder: artifacts.write_prefix(
            source, folder, erased=workspace.lake.tombstones() or None
        ),
        code_of=INGESTION,
        as_of=start_of(workspace.config.first_day.isoformat()),
        parameters={"source": source.identity()},
    )
    return materialized(built, metadata=previews.of_table(workspace, built.ref))
