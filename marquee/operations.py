"""What an operator changes by hand: which version is stable, which are retired, the projection."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rich.console import Console

from assets.acceptance import follow_log
from assets.consumer_registry import publisher_of
from assets.workspace import Workspace
from embedding_store.publisher import Publisher
from embedding_store.state import Switch
from feature_repo.folder import ONLINE_KINDS, FeastFolder
from feature_repo.moving import move_online
from feature_repo.projection import Reconciled, confirm, reconcile, require_covering_log
from marquee.errors import CommandError, expected


def roll_back(
    workspace: Workspace,
    *,
    to: int | None,
    by: str,
    why: str,
    console: Console,
    frame: int | None = None,
) -> None:
    """Let ``stable`` mean an earlier version, and the feature service follow.

    Of the frame that is served unless another one is named, or ``to`` is of another one.
    """
    if frame is None:
        frame = workspace.served_frame if to is None else workspace.store.state().version(to).frame
    publisher = Publisher(workspace.store, by=by)
    at = _instant_of_the_switch(workspace, frame)
    is_new = _logged_and_served(
        workspace,
        lambda: publisher.rollback(frame, to=to, effective_at=at, why=why),
        frame=frame,
        instead="`rollback` again, which would go back one more",
    )
    _tell(console, workspace.store.state().stable_switches(frame)[-1], is_new=is_new)


def promote_version(
    workspace: Workspace, number: int, *, by: str, why: str, console: Console
) -> None:
    """Let ``stable`` mean a version that passed its gates, also one that was rolled back from.

    It is put in the place of what is stable now, which a rollback returns to.
    """
    state = workspace.store.state()
    version = state.version(number)
    publisher = publisher_of(workspace, by=by)
    at = max(_instant_of_the_switch(workspace, version.frame), version.effective_at)
    is_new = _logged_and_served(
        workspace,
        lambda: publisher.promote(
            "stable",
            number,
            judged_against=version.judged_against,
            effective_at=at,
            why=why,
            again=True,
        ),
        frame=version.frame,
        instead="`promote` again",
    )
    _tell(console, workspace.store.state().stable_switches(version.frame)[-1], is_new=is_new)


def retire_version(
    workspace: Workspace, number: int, *, by: str, why: str, console: Console
) -> None:
    """Take a version out of use for good, with its online rows; `gc` removes its files later."""
    version = workspace.store.state().version(number)
    publisher = publisher_of(workspace, by=by)
    at = max(_instant_of_the_switch(workspace, version.frame), version.effective_at)
    is_new = _logged_and_served(
        workspace,
        lambda: publisher.retire(number, effective_at=at, why=why),
        frame=version.frame,
        instead="`retire` again",
    )
    console.print(
        f"{version.name} of {version.day} is retired: its online rows are gone, it is never served "
        "again"
        if is_new
        else f"{version.name} of {version.day} was retired already: nothing was changed"
    )


def retire_frame(workspace: Workspace, number: int, *, by: str, why: str, console: Console) -> None:
    """Take a frame that nobody reads out of use, with its features; what it served is kept."""
    publisher = publisher_of(workspace, by=by)
    served = workspace.served_frame
    at = max(_instant_of_the_switch(workspace, one) for one in (number, served))
    is_new = _logged_and_served(
        workspace,
        lambda: publisher.retire_frame(number, effective_at=at, why=why),
        frame=served,
        instead="`retire-frame` again",
    )
    console.print(
        f"frame {number} is retired: its features and online rows are gone, what it served stays "
        "for training rows of then (`served_at`)"
        if is_new
        else f"frame {number} was retired already: nothing was changed"
    )


def republish_day(workspace: Workspace, day: str, *, why: str, console: Console) -> None:
    """Make a published day again from what is known of it now, judged like any, as a version."""
    before = workspace.store.state().version_of_day(day)
    if before is None:
        raise CommandError(f"{day} has no published version: `marquee run {day}` makes its first")
    from assets.recomputing import RECOMPUTE_TAG
    from marquee.runs import Orchestrator

    Orchestrator(workspace).run("daily_refresh", day, tags={RECOMPUTE_TAG: why})
    state = workspace.store.state()
    version = state.version_of_day(day)
    assert version is not None
    stable = state.stable(version.frame)
    if version.number == before.number:
        console.print(f"{day} comes out as it is published, in {version.name}: nothing was changed")
        return
    is_stable = stable is not None and stable.number == version.number
    then = "stable" if is_stable else f"not stable: `marquee promote {version.number}`"
    console.print(f"{day} is published again, as {version.name} beside {before.name}; it is {then}")


def reconcile_features(workspace: Workspace, console: Console) -> None:
    """Make registry, online rows and served history what the log says."""
    console.print(sentence(reconcile(workspace.root, erasure_key=workspace.erasure_key)))
    follow_log(workspace)


def choose_online(workspace: Workspace, kind: str | None, console: Console) -> None:
    """Move the online rows to a store of ``kind``; without one, say where they are."""
    folder = FeastFolder.of(workspace.root)
    if kind is None:
        console.print(f"online rows lie in {folder.online_kind()}")
        return
    chosen = next((one for one in ONLINE_KINDS if one == kind), None)
    if chosen is None:
        raise CommandError(f"online store: want one of {', '.join(ONLINE_KINDS)}, got {kind!r}")
    console.print(sentence(move_online(workspace.root, chosen, erasure_key=workspace.erasure_key)))
    follow_log(workspace)


def sentence(report: Reconciled) -> str:
    """Return what a reconciliation did, for people."""
    done = [
        f"{len(report.history)} parts of the served history written" if report.history else "",
        f"{sum(report.written.values()):,} online rows written to {len(report.written)} views"
        if report.written
        else "",
        "the registry replaced" if report.is_applied else "",
    ]
    what = "nothing to do" if report.is_noop else ", ".join(one for one in done if one)
    left = f"; {len(report.damaged)} damaged, as warned" if report.damaged else ""
    return (
        f"{what}: Feast shows {len(report.live_views)} views, as the {report.log_seq} entries of "
        f"the log say{left}"
    )


def _logged_and_served(
    workspace: Workspace, act: Callable[[], object], *, frame: int, instead: str
) -> bool:
    """Append by ``act`` and let the feature service follow; return whether the log moved."""
    before = workspace.store.state().seq
    require_covering_log(workspace.root)
    try:
        act()
        reconcile(workspace.root, erasure_key=workspace.erasure_key)
        if workspace.store.state().stable(frame) is not None:
            confirm(workspace.root, frame=frame)
        follow_log(workspace)
    except expected() as error:
        if workspace.store.state().seq == before:
            raise
        raise CommandError(
            f"it is in the log, but Feast does not serve it yet: {error}: mend that and run "
            f"`marquee reconcile`, not {instead}"
        ) from error
    return workspace.store.state().seq > before


def _tell(console: Console, switch: Switch, *, is_new: bool) -> None:
    since = f"{switch.effective_at:%Y-%m-%d %H:%M:%S} UTC"
    console.print(
        f"stable of frame {switch.frame} is v{switch.number} from {since} on; nothing was "
        "recomputed"
        if is_new
        else f"stable of frame {switch.frame} is v{switch.number} already, since {since}: nothing "
        "was switched"
    )


def _instant_of_the_switch(workspace: Workspace, frame: int) -> datetime:
    """Return now; in a replayed world, the instant right after the last switch."""
    switches = workspace.store.state().stable_switches(frame)
    if workspace.config.is_replay and switches:
        return switches[-1].effective_at + timedelta(seconds=1)
    return datetime.now(UTC)
