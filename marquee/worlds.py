"""Which world a workspace holds: the simulated service, or a published data set."""

from datetime import date
from pathlib import Path

from assets.workspace import WorkspaceConfig
from marquee.errors import CommandError


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


def world(source: str, data: Path | None) -> WorkspaceConfig:
    """Return the configuration of a source by its name; raises CommandError."""
    match source:
        case "simulated":
            return simulated()
        case "kuairand":
            return kuairand(data)
    raise CommandError(f"--source: want simulated or kuairand, got {source!r}")
