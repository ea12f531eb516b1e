"""``marquee gc``: what was collected, how much of it, and how many bytes."""

from collections import defaultdict
from datetime import datetime

from rich.console import Console
from rich.table import Table

from assets.collection import RetentionPolicy, collect_workspace
from assets.workspace import Workspace
from marquee.runs import Orchestrator

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def collect_garbage(
    workspace: Workspace, console: Console, *, now: datetime, is_rehearsal: bool
) -> None:
    """Remove what the policy lets go, or only say what; whoever calls holds the workspace."""
    has_runs = (workspace.root / "dagster" / "history").exists()
    instance = Orchestrator(workspace).ended() if has_runs else None
    sizes = defaultdict[str, list[int]](list)
    policy = RetentionPolicy()
    for one in collect_workspace(workspace, instance, policy, now=now, is_rehearsal=is_rehearsal):
        sizes[one.what].append(one.num_bytes)
    if not sizes:
        console.print(f"nothing to collect in {workspace.root.name}")
        return
    table = Table("what", "how many", "size")
    for what, found in sorted(sizes.items()):
        table.add_row(what, f"{len(found):,}", _size(sum(found)))
    console.print(table)
    if is_rehearsal:
        console.print("a rehearsal: nothing was removed")


def _size(num_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if num_bytes < 1024:
            return f"{num_bytes:,.0f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.0f} {_UNITS[-1]}"
