"""``marquee consumers``: who relies on which frame, and whether what is served keeps it."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from assets.consumer_registry import (
    drop_consumer,
    publisher_of,
    read_consumer,
    registered_consumers,
    write_consumer,
)
from assets.workspace import Workspace
from embedding_store.consumers import ConsumerNeeds, broken_promises
from embedding_store.entries import ConsumerRegistered
from marquee.errors import CommandError


def list_consumers(workspace: Workspace, console: Console) -> None:
    """Print what every registered service needs, and who else stands in the log."""
    consumers = registered_consumers(workspace)
    table = Table("consumer", "frame", "dimensions", "freshness", "coverage", "of a canary", "pins")
    for one in consumers:
        hours, share = f"{one.freshness_h:g} h", f"{one.coverage:.1%}"
        pin = "" if one.pin is None else f"v{one.pin}"
        table.add_row(one.name, str(one.frame), str(one.dim), hours, share, _of_a_canary(one), pin)
    logged = workspace.store.state().consumers
    for name in sorted(logged.keys() - {one.name for one in consumers}):
        table.add_row(name, str(logged[name].frame), *[""] * 5, style="dim")
    if not table.row_count:
        console.print(f"nobody is registered in {workspace.root.name}")
        return
    console.print(table)


def _of_a_canary(needs: ConsumerNeeds) -> str:
    asked = {"found": needs.found, "same top 10": needs.same_top_10}
    return ", ".join(f"{name} {one:.1%}" for name, one in asked.items() if one is not None)


def check_consumers(workspace: Workspace, console: Console) -> None:
    """Print whether what is stable keeps every promise; raises CommandError where one is broken."""
    at = _now(workspace)
    broken, consumers = 0, registered_consumers(workspace)
    unknown = sorted(workspace.store.state().consumers.keys() - {one.name for one in consumers})
    for name in unknown:
        console.print(
            f"{name}: the log knows it, and no file here says what it needs: register it again, or "
            "remove it",
            highlight=False,
            markup=False,
        )
    if not consumers and not unknown:
        console.print(f"nobody is registered in {workspace.root.name}", highlight=False)
    for one in consumers:
        found = _broken(workspace, one, serves_at=at)
        broken += bool(found)
        console.print(f"{one.name}: {'; '.join(found) or 'kept'}", highlight=False, markup=False)
    if broken or unknown:
        raise CommandError(
            f"{broken + len(unknown)} of the registered consumers are not served as they need, or "
            "nobody knows"
        )


def register_consumer(workspace: Workspace, path: Path, *, by: str, console: Console) -> None:
    """Put a file into the registry and its service into the log.

    Raises CommandError where what is served breaks it already: nothing could be promoted any more.
    """
    needs = read_consumer(path)
    if found := _broken(workspace, needs, serves_at=None):
        raise CommandError(f"{path}: {needs.name} {'; '.join(found)}: ask for what is served")
    target = write_consumer(workspace, path)
    publisher_of(workspace, by=by).register_consumer(
        ConsumerRegistered(name=needs.name, frame=needs.frame, contact=needs.team),
        effective_at=datetime.now(UTC),
        why=f"registered by {target.name}",
    )
    console.print(f"{needs.name} is registered in {target}", highlight=False, markup=False)


def remove_consumer(workspace: Workspace, name: str, *, by: str, console: Console) -> None:
    """Take a service's file out of the registry and note in the log that it reads no more.

    Raises CommandError where neither knows it.
    """
    path = drop_consumer(workspace, name)
    is_noted = publisher_of(workspace, by=by).remove_consumer(
        name, effective_at=datetime.now(UTC), why="reads no more"
    )
    if path is None and not is_noted:
        raise CommandError(f"{name} is not registered: `marquee consumers list` names who is")
    console.print(f"{name} is not registered any more", highlight=False, markup=False)


def _broken(workspace: Workspace, needs: ConsumerNeeds, *, serves_at: datetime | None) -> list[str]:
    """Return what the frame's stable version breaks; that there is none breaks only a check."""
    state = workspace.store.state()
    if state.is_retired(needs.frame):
        return [f"wants frame {needs.frame}, which is retired"]
    if needs.pin is not None:
        pinned = state.versions.get(needs.pin)
        if pinned is None or pinned.is_retired or pinned.frame != needs.frame:
            return [f"pins v{needs.pin}, which frame {needs.frame} does not have"]
        if pinned.is_archived:
            return [f"pins v{needs.pin}, which has no online rows any more"]
    stable = state.stable(needs.frame)
    if stable is None:
        return [] if serves_at is None else [f"wants frame {needs.frame}, nothing serves it"]
    manifest = workspace.store.open(stable).manifest
    return broken_promises(needs, manifest, serves_at=serves_at)


def _now(workspace: Workspace) -> datetime:
    """Return the present of the world: a replayed one's is when its newest day would serve."""
    if not workspace.config.is_replay:
        return datetime.now(UTC)
    days = [ref.partition for ref in workspace.lake.refs("interaction_tokens")]
    served = [one.day for one in workspace.store.state().versions.values()]
    newest = max([*days, *served], default=workspace.config.first_day.isoformat())
    return workspace.served_at(newest)
