"""``marquee index``: an approximate index beside a version, and how good it is."""

from rich.console import Console

from assets.workspace import Workspace
from embedding_store.indexes import build_index
from marquee.errors import CommandError


def index_version(
    workspace: Workspace, number: int | None, *, console: Console, frame: int | None = None
) -> None:
    """Build the index of a version, by default the stable one, unless a usable one stands."""
    state = workspace.store.state()
    chosen = frame or workspace.served_frame
    version = state.stable(chosen) if number is None else state.version(number)
    if version is None:
        raise CommandError(f"frame {chosen} has no stable version: name one, such as v3")
    if version.is_retired:
        raise CommandError(f"{version.name} is retired: its index would be collected")
    manifest = build_index(workspace.store, workspace.store.open(version))
    console.print(
        f"{version.name}: {manifest.num_items:,} items indexed by {manifest.library} "
        f"{manifest.library_version}, recall@100 {manifest.recall_at_100:.4f} over "
        f"{manifest.num_queries} users at effort {manifest.parameters.expansion_search}",
        highlight=False,
    )
