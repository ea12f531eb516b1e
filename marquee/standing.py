"""What is published: for the people who operate it."""

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from assets.superseding import named, superseded_inputs
from assets.workspace import Workspace
from embedding_store.gates import Gate, published_record
from embedding_store.state import PublishedVersion, StoreState
from marquee.errors import CommandError
from marquee.frames import age, newest_day, readers_of


def show_status(workspace: Workspace, console: Console, *, frame: int | None = None) -> None:
    """Print what is stable, how old it is, and its gates; raises CommandError when nothing is."""
    state = workspace.store.state()
    stable = state.stable(frame or workspace.served_frame)
    if stable is None:
        if frame is not None:
            raise CommandError(f"frame {frame} serves nothing: `marquee frames` tells which do")
        raise CommandError(
            f"workspace {workspace.root.name} serves nothing yet: `make demo` publishes its days"
        )
    switch = state.stable_switches(stable.frame)[-1]
    how = f", by a rollback: {switch.why}" if switch.is_rollback else ""
    previous = state.previous(stable.frame)
    console.print(f"stable   {stable.name} of {stable.day} (frame {stable.frame}), {stable.digest}")
    console.print(
        f"serving  since {switch.effective_at:%Y-%m-%d %H:%M} UTC of the world's time{escape(how)}"
    )
    console.print(
        f"age      sees data before {stable.as_of}; newest day taken in is "
        f"{newest_day(workspace)} ({age(workspace, stable)} later)"
    )
    if (line := _inputs_line(workspace, stable)) is not None:
        console.print(line)
    console.print(
        f"rollback {'to ' + previous.name if previous else 'impossible: nothing lies below it'}"
    )
    newer = [
        one
        for one in state.live_versions(stable.frame)
        if one.number > stable.number and one.day >= stable.day
    ]
    if newer:
        console.print(f"forward  to {newer[-1].name}: `marquee promote {newer[-1].number}`")
    for line in _other_frames(workspace, state, stable.frame):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"gates    of {stable.name}")
    for gate in published_record(workspace.store, stable).gates:
        console.print(f"  {gate.name:<18} {verdict(gate)}", highlight=False)
        console.print(Padding(escape(gate.note), (0, 0, 0, 21)), style="dim", highlight=False)


def _other_frames(workspace: Workspace, state: StoreState, shown: int) -> Iterator[str]:
    """Yield a line for every other frame that serves: how old it is, and who still reads it."""
    others = {frame: one for frame in state.frames if (one := state.stable(frame)) is not None}
    others.pop(shown, None)
    readers = readers_of(workspace, state) if others else {}
    for frame, stable in others.items():
        names = ", ".join(readers.get(frame, ()))
        fed = "" if frame == state.served_frame else f", days go to frame {state.served_frame}"
        yield (
            f"frame {frame}  serves {stable.name} of {stable.day}, {age(workspace, stable)} behind"
            f"{fed}; read by {escape(names) or 'nobody'}"
        )


def _inputs_line(workspace: Workspace, version: PublishedVersion) -> str | None:
    """Return which inputs of the version's model are others by now; None where none is known."""
    model = workspace.lake.find("fine_tuned_model", version.day)
    if model is None or model.digest != version.model_digest:
        return None
    found = superseded_inputs(workspace, model)
    if not found:
        return None
    count = "1 input is" if len(found) == 1 else f"{len(found)} inputs are"
    return (
        f"inputs   {count} superseded since: {named(found)}; `marquee republish {version.day}` "
        "makes a version of what is known now"
    )


def verdict(gate: Gate) -> str:
    """Return whether a gate passed, and by which figure, as a sentence."""
    said = "passed" if gate.is_passed else "FAILED"
    if gate.figure is None or gate.threshold is None:
        return f"{said}: there was nothing to measure"
    compared = "is at least" if gate.figure >= gate.threshold else "is below"
    return f"{said}: {gate.figure:.4f} {compared} the wanted {gate.threshold:.4f}"


def show_versions(workspace: Workspace, console: Console) -> None:
    """Print every version; raises CommandError when there is none."""
    state = workspace.store.state()
    if not state.versions:
        raise CommandError(f"workspace {workspace.root.name} has no version: run `make demo` first")
    console.print(version_table(state))


def version_table(state: StoreState) -> Table:
    """Return the versions with what they are and since when they served."""
    table = Table(box=box.SIMPLE_HEAD, title="Published versions")
    for name in ("version", "day", "frame", "digest", "model", "stable from", "now"):
        table.add_column(name)
    for version in state.versions.values():
        switches = [
            f"{one.effective_at:%Y-%m-%d %H:%M}{' (rollback)' if one.is_rollback else ''}"
            for one in state.stable_switches(version.frame)
            if one.number == version.number
        ]
        table.add_row(
            version.name,
            version.day,
            str(version.frame),
            version.digest[:12],
            version.model_digest[:12],
            ", ".join(switches) or "never",
            _names(state, version),
        )
    return table


def _names(state: StoreState, version: PublishedVersion) -> str:
    if version.is_retired:
        return "retired"
    named = {
        "stable": state.stable(version.frame),
        "previous": state.previous(version.frame),
        "canary": state.canary(version.frame),
    }
    names = [alias for alias, one in named.items() if one and one.number == version.number]
    withdrawn = ["withdrawn"] if version.withdrawn_because else []
    return ", ".join([*names, *withdrawn, *(["archived"] if version.is_archived else [])])
