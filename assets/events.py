"""From a source's raw rows to valid events, and to the catalogue they refer to."""

import json
from functools import partial
from pathlib import Path

import dagster as dg

from assets import previews
from assets.io_manager import UNPARTITIONED
from assets.partitions import daily
from assets.reporting import code_version, materialized
from assets.suites import Limits
from assets.validation import DayValidation, render_data_docs, validate_day
from assets.watermark import Clock, require_complete, watermark_of
from assets.workspace import Workspace
from lake.days import end_of, start_of
from lake.lake import Written
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
    day, source = context.partition_key, workspace.source
    require_complete(workspace.config, day, now=clock())
    received_before, date = watermark_of(workspace.config, day), start_of(day).date()
    built = workspace.build(
        "raw_events",
        day,
        lambda folder: artifacts.write_raw(source, date, received_before, folder),
        code_of=INGESTION,
        as_of=received_before,
        parameters={"source": source.identity(), "arrived": source.fingerprint(date)},
    )
    return materialized(built, metadata=previews.of_events(workspace, built.ref))


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def catalogue(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult[ArtifactRef]:
    """Every title as known at the end of the day, slowly changing."""
    as_of, source = end_of(context.partition_key), workspace.source
    built = workspace.build(
        "catalogue",
        context.partition_key,
        lambda folder: artifacts.write_catalogue(source, as_of, folder),
        code_of=INGESTION,
        as_of=as_of,
        parameters={
            "source": source.identity(),
            "known": source.catalogue_fingerprint(as_of=as_of),
        },
    )
    return materialized(built)


@of_a_day(kinds={"parquet", "greatexpectations"}, code_version=code_version(VALIDATION))
def valid_events(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's events that keep every rule, once each, in order; with the day's validation."""
    day = context.partition_key
    docs = workspace.root / "data_docs" / day
    built = workspace.build(
        "valid_events",
        day,
        lambda folder: _write_valid(workspace, raw_events, catalogue, folder, docs),
        code_of=VALIDATION,
        as_of=end_of(day),
        inputs=[raw_events, catalogue],
        parameters={"max_quarantined": workspace.config.max_quarantined},
    )
    return materialized(built, metadata={"data docs": dg.MetadataValue.path(docs)})


def _write_valid(
    workspace: Workspace, raw_events: ArtifactRef, catalogue: ArtifactRef, folder: Path, docs: Path
) -> Written:
    day = raw_events.partition
    raw, titles = workspace.paths([raw_events, catalogue])
    written = artifacts.write_valid(raw, titles, start_of(day).date(), folder)
    validation = _validation(workspace, folder, day, written, rows_in=raw_events.rows)
    render_data_docs(validation, docs)
    # the digest covers the verdict; the figures, which know other days, stay out of it
    (folder / "validation.json").write_text(json.dumps(validation.verdict(), indent=1))
    return Written(written.rows, {**written.figures, "validation": validation.to_json()})


def _validation(
    workspace: Workspace, folder: Path, day: str, written: Written, *, rows_in: int
) -> DayValidation:
    schema, events = artifacts.read_events(folder)
    # the week before only informs a warning, so it is no input: late events of another day must not
    # make this one new
    week = workspace.lake.refs("valid_events", through=day)[-8:]
    return validate_day(
        events,
        schema=schema,
        day=start_of(day).date(),
        quarantined=written.figures["quarantined"],
        duplicates=written.figures["duplicates"],
        rows_in=rows_in,
        trailing_rows=[ref.rows for ref in week if ref.partition < day],
        limits=Limits(quarantine_ratio=workspace.config.max_quarantined),
    )


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def quarantined_events(
    context: dg.AssetExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's rows that break a rule, each as it arrived, with the rule's name."""
    day = context.partition_key
    raw, titles = workspace.paths([raw_events, catalogue])
    built = workspace.build(
        "quarantined_events",
        day,
        lambda folder: artifacts.write_quarantined(raw, titles, start_of(day).date(), folder),
        code_of=INGESTION,
        as_of=end_of(day),
        inputs=[raw_events, catalogue],
    )
    return materialized(built)


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
        lambda folder: artifacts.write_prefix(source, folder),
        code_of=INGESTION,
        as_of=start_of(workspace.config.first_day.isoformat()),
        parameters={"source": source.identity()},
    )
    return materialized(built)
