"""``marquee frames``: the coordinate systems of a world, and who reads them."""

from collections.abc import Mapping
from datetime import date

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.consumer_registry import registered_consumers
from assets.workspace import Workspace
from embedding_store.errors import CorruptVersionError
from embedding_store.state import Frame, PublishedVersion, StoreState
from marquee.errors import CommandError


def show_frames(workspace: Workspace, console: Console) -> None:
    """Print every frame: since when and why, what it serves, who reads it."""
    state = workspace.store.state()
    if not state.opened:
        raise CommandError(
            f"workspace {workspace.root.name} has no frame yet: `make demo` publishes its days"
        )
    table = Table(box=box.SIMPLE_HEAD, title="Frames")
    for name in ("frame", "dim", "opened by", "stable", "age", "read by", "now"):
        table.add_column(name)
    readers = readers_of(workspace, state)
    for number, frame in sorted(state.opened.items()):
        stable = state.stable(number)
        table.add_row(
            str(number),
            _dim(workspace, state, frame),
            frame.day,
            f"{stable.name} of {stable.day}" if stable else "",
            age(workspace, stable) if stable else "",
            ", ".join(readers.get(number, ())) or "nobody",
            _now(state, frame),
        )
    console.print(table)
    for number, frame in sorted(state.opened.items()):
        if frame.beside:
            console.print(
                f"frame {number} was opened beside frame {frame.beside}: {escape(frame.because)}",
                highlight=False,
                soft_wrap=True,
            )


def readers_of(workspace: Workspace, state: StoreState) -> Mapping[int, list[str]]:
    """Return by frame who is registered for it, in a file or in the log."""
    named = {one.name: one.frame for one in state.consumers.values()}
    named |= {one.name: one.frame for one in registered_consumers(workspace)}
    found: dict[int, list[str]] = {}
    for name, frame in sorted(named.items()):
        found.setdefault(frame, []).append(name)
    return found


def age(workspace: Workspace, version: PublishedVersion) -> str:
    """Return how many days were taken in after the version's."""
    newest = date.fromisoformat(newest_day(workspace))
    behind = (newest - date.fromisoformat(version.day)).days
    return f"{behind} {'day' if behind == 1 else 'days'}"


def newest_day(workspace: Workspace) -> str:
    """Return the newest day that was taken in, or published where nothing is taken in here."""
    taken_in = [ref.partition for ref in workspace.lake.refs("interaction_tokens")]
    return max([*taken_in, *(one.day for one in workspace.store.state().versions.values())])


def _dim(workspace: Workspace, state: StoreState, frame: Frame) -> str:
    if frame.dim is not None:
        return str(frame.dim)
    newest = max(one.number for one in state.versions.values() if one.frame == frame.number)
    try:
        return str(workspace.store.open(state.version(newest)).manifest.dim)
    except CorruptVersionError:  # of a retired frame the files may be gone
        return "?"


def _now(state: StoreState, frame: Frame) -> str:
    if frame.is_retired:
        return "retired"
    if frame.number == state.served_frame:
        return "days go here"
    return "kept, gets no new days" if state.stable(frame.number) else "serves nothing yet"
