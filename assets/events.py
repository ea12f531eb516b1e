"""From a source's raw rows to valid events, and to the catalogue they refer to."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets import previews
from assets.day_figures import Arrived
from assets.pages import docs_folder
from assets.partitions import daily
from assets.reporting import code_version, materialized
from assets.suites import Limits
from assets.timeline import UNPARTITIONED
from assets.validation import DayValidation, render_data_docs, validate_day
from assets.watermark import Clock, cut_of, final_at, require_complete, watermark_of
from assets.workspace import Workspace
from lake.days import end_of, start_of
from lake.lake import Built, Written
from lake.refs import ArtifactRef
from training.errors import NoDataError
from training.events import artifacts
from training.events.day_aggregates import DayAggregates
from training.events.file_columns import FileColumns, HasFiles, changes

INGESTION = ("training.events.artifacts", "training.events.sources")
VALIDATION = (*INGESTION, "assets.validation")
FILES = "source files"
"""Figure of raw events: the columns of the files they came from, where they came from files."""

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


def build_raw_events(
    workspace: Workspace, day: str, *, now: datetime, as_of_day: str | None = None
) -> Built:
    """Write what arrived of a day, as work on ``as_of_day`` knows it: by default the day's own.

    What was taken in of late events stays taken in, whatever day asks; a day of which none came
    late stays as it stands.

    Raises IncompleteDayError while more may arrive before the watermark.
    """
    require_complete(workspace.config, day, now=now)
    cut = cut_of(workspace.config, day, as_of_day=as_of_day or day)
    standing = workspace.lake.find("raw_events", day)
    if standing is None:
        return _build_raw(workspace, day, cut)
    stood = _build_raw(workspace, day, datetime.fromisoformat(standing.as_of))
    is_earlier = datetime.fromisoformat(stood.ref.as_of) < cut
    return _build_raw(workspace, day, cut) if is_earlier and num_awaited(stood.ref) else stood


def num_awaited(raw_events: ArtifactRef) -> int:
    """Return how many late events of a day are still to be taken in."""
    figures = raw_events.figures
    # of a day taken in before there was a final one, all that came late
    num: int = figures["late"] - figures.get("late_taken", 0) - figures.get("too_late", 0)
    return num


def _build_raw(workspace: Workspace, day: str, cut: datetime) -> Built:
    source, config, date = workspace.source, workspace.config, start_of(day).date()
    lateness = artifacts.Lateness(watermark_of(config, day), final_at(config, day))
    return workspace.build(
        "raw_events",
        day,
        lambda folder: _write_raw(workspace, date, cut, lateness, folder),
        code_of=INGESTION,
        as_of=cut,
        parameters={
            "source": source.identity(),
            "arrived": source.fingerprint(date),
            "complete_at": lateness.complete_at.isoformat(),
            "final_at": lateness.final_at.isoformat(),
            "num_buckets": config.num_buckets,
        },
    )


def _write_raw(
    workspace: Workspace, day: date, cut: datetime, lateness: artifacts.Lateness, folder: Path
) -> Written:
    source = workspace.source
    written = artifacts.write_raw(
        source,
        day,
        cut,
        folder,
        lateness=lateness,
        num_buckets=workspace.config.num_buckets,
        # tombstones are no parameter: an erasure makes no day new work
        erased=workspace.lake.tombstones() or None,
    )
    if not isinstance(source, HasFiles):
        return written
    files = [one.to_json() for one in source.columns_on(day)]
    return Written(written.rows, {**written.figures, FILES: files})


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


def build_split(
    workspace: Workspace, raw_events: ArtifactRef, catalogue: ArtifactRef, *, has_pages: bool
) -> Iterator[Built]:
    """Yield a day's quarantined and its valid events, in one pass where neither is there.

    What is quarantined is kept, and told, also where no event is valid.
    """
    aside: list[Built] = []
    raw, titles = workspace.paths([raw_events, catalogue])
    day = start_of(raw_events.partition).date()

    def write(folder: Path) -> Written:
        valid: list[Written] = []

        def write_both(quarantined: Path) -> Written:
            folders, each_bucket = (folder, quarantined), workspace.each_bucket
            ours, theirs = artifacts.write_split(raw, titles, day, folders, each_bucket=each_bucket)
            valid.append(ours)
            return theirs

        aside.append(build_quarantined_events(workspace, raw_events, catalogue, write=write_both))
        if not valid:  # it was there
            return artifacts.write_valid(
                raw, titles, day, folder, each_bucket=workspace.each_bucket
            )
        artifacts.require_valid(valid[0], artifacts.read_schema(raw), day)
        return valid[0]

    try:
        built = build_valid_events(
            workspace, raw_events, catalogue, has_pages=has_pages, write=write
        )
    except NoDataError:
        yield from aside
        raise
    yield from aside or [build_quarantined_events(workspace, raw_events, catalogue)]
    yield built


def build_valid_events(
    workspace: Workspace,
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
    *,
    has_pages: bool,
    write: Callable[[Path], Written] | None = None,
) -> Built:
    """Write a day's valid events and their validation, which is drawn where it ``has_pages``.

    ``write`` fills the folder with the events where they come from elsewhere.
    """
    raw, titles = workspace.paths([raw_events, catalogue])
    day = start_of(raw_events.partition).date()

    def write_valid(folder: Path) -> Written:
        return artifacts.write_valid(raw, titles, day, folder, each_bucket=workspace.each_bucket)

    def write_validated(folder: Path) -> Written:
        written = (write or write_valid)(folder)
        return _validated(workspace, raw_events, folder, written, has_pages=has_pages)

    return workspace.build(
        "valid_events",
        raw_events.partition,
        write_validated,
        code_of=VALIDATION,
        as_of=end_of(raw_events.partition),
        inputs=[raw_events, catalogue],
        parameters={"max_quarantined": workspace.config.max_quarantined},
    )


def _validated(
    workspace: Workspace,
    raw_events: ArtifactRef,
    folder: Path,
    written: Written,
    *,
    has_pages: bool,
) -> Written:
    """Judge the valid events in a folder, and put the verdict beside them."""
    validation = _validation(workspace, folder, raw_events, written.figures)
    docs = docs_folder(workspace.root, raw_events.partition)
    shutil.rmtree(docs, ignore_errors=True)  # they are of what the day was before
    if has_pages:
        render_data_docs(validation, docs)
    # the digest covers the verdict; the figures, which know other days, stay out of it
    (folder / "validation.json").write_text(json.dumps(validation.verdict(), indent=1))
    figures = {name: one for name, one in written.figures.items() if name != "by_rule"}
    return Written(written.rows, {**figures, "validation": validation.to_json()})


def _validation(
    workspace: Workspace, folder: Path, raw_events: ArtifactRef, figures: Mapping[str, Any]
) -> DayValidation:
    schema, events = artifacts.scan_events(folder)
    known = {action.name for action in schema.actions}
    arrived_actions = raw_events.figures.get("by_action", {})
    return validate_day(
        events,
        schema=schema,
        day=start_of(raw_events.partition).date(),
        arrived=Arrived(
            rows_in=raw_events.rows,
            quarantined=figures["quarantined"],
            duplicates=figures["duplicates"],
            unknown_actions={
                word: rows for word, rows in arrived_actions.items() if word not in known
            },
            source_changes=_source_changes(workspace, raw_events),
        ),
        week=_week_before(workspace, raw_events.partition),
        limits=Limits(
            quarantine_ratio=workspace.config.max_quarantined,
            rows=min(1, raw_events.rows),  # raw events are empty only if the source vouches for it
            delay_s=workspace.config.watermark_delay_h * 3600,
        ),
    )


def _week_before(workspace: Workspace, day: str) -> list[DayAggregates]:
    """Return what the days before were like, those that were blocked left out.

    They inform warnings alone, so they are no input: late events of another day must not make this
    one new.
    """
    found = [workspace.lake.find("valid_events", one) for one in _days_before(day)]
    judged = [ref.figures["validation"] for ref in found if ref]
    return [
        DayAggregates.from_json(one["aggregates"])
        for one in judged
        if not one["is_blocked"] and "aggregates" in one
    ]


def _source_changes(workspace: Workspace, raw_events: ArtifactRef) -> list[str]:
    """Return how the columns of the day's files differ from the last day's before it."""
    now, source = raw_events.figures.get(FILES), workspace.source
    if not now or not isinstance(source, HasFiles):
        return []
    found = (workspace.lake.find("raw_events", one) for one in _days_before(raw_events.partition))
    before: list[Any] = next(
        (ref.figures[FILES] for ref in found if ref and ref.figures.get(FILES)), []
    )
    return changes(
        [FileColumns(**one) for one in before],
        [FileColumns(**one) for one in now],
        read=source.columns_read,
    )


def _days_before(day: str) -> list[str]:
    """Return the week before a day, the last one first."""
    start = start_of(day)
    return [(start - timedelta(days=n)).date().isoformat() for n in range(1, 8)]


@of_a_day(kinds={"parquet"}, code_version=code_version(INGESTION))
def quarantined_events(
    workspace: dg.ResourceParam[Workspace], raw_events: ArtifactRef, catalogue: ArtifactRef
) -> dg.MaterializeResult[ArtifactRef]:
    """The day's rows that break a rule, each as it arrived, with the rule's name."""
    built = build_quarantined_events(workspace, raw_events, catalogue)
    return materialized(built, metadata=previews.of_table(workspace, built.ref))


def build_quarantined_events(
    workspace: Workspace,
    raw_events: ArtifactRef,
    catalogue: ArtifactRef,
    *,
    write: Callable[[Path], Written] | None = None,
) -> Built:
    """Write the rows of a day that break a rule; ``write`` as in ``build_valid_events``."""
    day, each_bucket = raw_events.partition, workspace.each_bucket
    raw, titles = workspace.paths([raw_events, catalogue])
    return workspace.build(
        "quarantined_events",
        day,
        write
        or (
            lambda folder: artifacts.write_quarantined(
                raw, titles, start_of(day).date(), folder, each_bucket=each_bucket
            )
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
