"""What an operator changes by hand: rolling back, and rebuilding the projection."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from assets.workspace import Workspace
from embedding_store.publisher import Publisher
from feature_repo.projection import confirm, reconcile
from marquee.errors import EXPECTED, CommandError


def roll_back(workspace: Workspace, *, to: int | None, by: str, why: str, console: Console) -> None:
    """Let ``stable`` mean an earlier version, and the feature service follow."""
    frame = workspace.config.frame
    switch = Publisher(workspace.store, by=by).rollback(
        frame, to=to, effective_at=_instant_of_the_switch(workspace), why=why
    )
    try:
        reconcile(workspace.root)
        confirm(workspace.root, frame=frame)
    except EXPECTED as error:
        raise CommandError(
            f"the rollback to v{switch.number} is logged, Feast does not serve it yet: {error}: "
            "run `marquee reconcile`, not `rollback` again, which would go back one more"
        ) from error
    console.print(
        f"stable of frame {frame} is v{switch.number} from "
        f"{switch.effective_at:%Y-%m-%d %H:%M:%S} UTC on; nothing was recomputed"
    )


def reconcile_features(workspace: Workspace, console: Console) -> None:
    """Make registry, online rows and served history what the log says."""
    console.print(str(reconcile(workspace.root)))


def _instant_of_the_switch(workspace: Workspace) -> datetime:
    """Return now; in a replayed world, the instant right after the last switch."""
    switches = workspace.store.state().stable_switches(workspace.config.frame)
    if workspace.config.is_replay and switches:
        return switches[-1].effective_at + timedelta(seconds=1)
    return datetime.now(UTC)
