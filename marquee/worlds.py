"""Which world a workspace holds: the simulated service, a published data set, one's own log."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from assets.timeline import end_of_month, month_of
from assets.workspace import WorkspaceConfig
from marquee.errors import CommandError
from marquee.source_names import SOURCES
from training.events.mapping import LogMapping
from training.events.mapping_file import read_mapping
from training.events.own_log import OwnLog
from training.events.published_logs import PUBLISHED, published_mapping
from training.recipes import load_recipe


def simulated() -> WorkspaceConfig:
    """Return a streaming service of 4,000 users over 25 days, three of them fine-tuned."""
    first, last = date(2026, 1, 11), date(2026, 2, 4)
    return WorkspaceConfig(
        source="simulated",
        source_parameters={
            "first_day": first.isoformat(),
            "num_days": (last - first).days + 1,
        },
        first_day=first,
        last_day=last,
        recipe="demo",
    )


def kuairand(data: Path | None) -> WorkspaceConfig:
    """Return KuaiRand-Pure: fifteen days of short videos, with a history prefix."""
    if data is None:
        raise CommandError(
            "--source kuairand needs --data FOLDER: the folder of KuaiRand-Pure with val.parquet, "
            "test.parquet, user_sequences.parquet and video_features_basic_pure.csv "
            "(make demo SOURCE=kuairand DATA=<folder>)"
        )
    return WorkspaceConfig(
        source="kuairand",
        source_parameters={"folder": str(data.resolve())},
        first_day=date(2022, 4, 24),
        last_day=date(2022, 5, 8),
        recipe="kuairand",
    )


def parquet(data: Path | None) -> WorkspaceConfig:
    """Return a user's own log, as a mapping says; raises CommandError, ConfigError, SourceError."""
    if data is None or data.is_dir():
        raise CommandError(
            "--source parquet needs --data MAPPING: a file that says how yours are read; "
            "`marquee source init` drafts one"
        )
    return mapped(read_mapping(data))


def published(name: str, data: Path | None) -> WorkspaceConfig:
    """Return a published data set that a mapping reads."""
    if data is None or not data.is_dir():
        raise CommandError(f"--source {name} needs --data FOLDER: the folder of its files")
    return mapped(published_mapping(name, data))


def mapped(mapping: LogMapping) -> WorkspaceConfig:
    """Return the world of a mapping.

    It holds the whole mapping and its days: what a world is does not change with a file beside it.
    """
    source = OwnLog(mapping)
    load_recipe(mapping.world.recipe)
    taken: dict[str, Any] = {
        "first_day": source.first_day.isoformat(),
        "last_day": source.last_day.isoformat(),
        "recipe": mapping.world.recipe,
        "fine_tuned_days": mapping.world.fine_tuned_days,
    }
    # only where given: a workspace that stands holds none of them
    if mapping.world.evaluation_days:
        taken["evaluation_days"] = mapping.world.evaluation_days
    if mapping.world.empty_days:
        taken["empty_days"] = True
    config = WorkspaceConfig(
        source=OwnLog.name,
        source_parameters={"mapping": {**mapping.document, "world": taken}},
        first_day=source.first_day,
        last_day=source.last_day,
        recipe=mapping.world.recipe,
    )
    margin = mapping.world.quality_margin
    return config if margin is None else replace(config, quality_margin=margin)


def pretraining_month(first_day: date, last_day: date) -> str | None:
    """Return the newest month of a log that is over before its last day, if there is one."""
    month = month_of(last_day.replace(day=1) - timedelta(days=1))
    return month if end_of_month(month).date() > first_day else None


def fine_tuned_days(config: WorkspaceConfig) -> int | None:
    """Return how many of a user's own last days are fine-tuned; None for the other sources."""
    days: int | None = _world_of(config).get("fine_tuned_days")
    return days


def evaluation_days(config: WorkspaceConfig) -> int:
    """Return how many of a log's last days are only evaluated on."""
    days: int = _world_of(config).get("evaluation_days", 0)
    return days


def _world_of(config: WorkspaceConfig) -> Mapping[str, Any]:
    world: Mapping[str, Any] = config.source_parameters.get("mapping", {}).get("world", {})
    return world


def world(source: str, data: Path | None, storage: str = "") -> WorkspaceConfig:
    """Return the configuration of a source by its name; raises CommandError."""
    return replace(_world(source, data), storage=storage)


def _world(source: str, data: Path | None) -> WorkspaceConfig:
    match source:
        case "simulated":
            return simulated()
        case "kuairand":
            return kuairand(data)
        case "parquet":
            return parquet(data)
        case name if name in PUBLISHED:
            return published(name, data)
    raise CommandError(f"--source: want {', '.join(SOURCES)}; got {source!r}")
