"""Which world a workspace holds: the simulated service, or a published data set."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from assets.workspace import WorkspaceConfig
from marquee.errors import CommandError

_NAME_BYTES = 255  # of one name, on every file system in use


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


def world(source: str, data: Path | None, storage: str = "") -> WorkspaceConfig:
    """Return the configuration of a source by its name; raises CommandError."""
    match source:
        case "simulated":
            return replace(simulated(), storage=storage)
        case "kuairand":
            return replace(kuairand(data), storage=storage)
    raise CommandError(f"--source: want simulated or kuairand, got {source!r}")


def workspace_folder(home: Path, name: str) -> Path:
    """Return where the workspace ``name`` lies; raises CommandError unless it names one folder."""
    is_utf8 = not any("\ud800" <= one <= "\udfff" for one in name)
    if name in {"", ".", ".."} or "/" in name or "\0" in name or not is_utf8:
        raise CommandError(
            f"--workspace: want the plain name of a folder below {home}, got {_shortened(name)}"
        )
    if (size := len(name.encode())) > _NAME_BYTES:
        raise CommandError(
            f"--workspace: want at most {_NAME_BYTES} bytes, which is what a folder's name may "
            f"have, got {size}: {_shortened(name)}"
        )
    return home / name


def _shortened(text: str, limit: int = 40) -> str:
    """Return ``text`` in quotes for a message, without the end of a long one."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
