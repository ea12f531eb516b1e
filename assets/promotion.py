"""From a published version to the one that is served: on trial first, and back if it disappoints.

::

    log: canary ─► project, read back ─► tried out on look-ups ─► log: stable ─► project, read back
                                              │                                        │
                                     log: canary_withdrawn               log: version_rolled_back

Everything here can be killed anywhere and run again: the log decides, the rest is a projection.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from assets.acceptance import follow_log
from assets.consumer_registry import publisher_of, registered_consumers
from assets.errors import DisappointingVersionError, NotPublishedError
from assets.workspace import Workspace
from embedding_store.canary import Trial, disappointed, try_out
from embedding_store.client import EmbeddingClient
from embedding_store.entries import Alias
from embedding_store.errors import StableMovedError
from embedding_store.retention import beyond_online
from embedding_store.state import PublishedVersion
from feature_repo.errors import NotServedError, OnlineRowsError
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile

logger = logging.getLogger(__name__)

BY = "served_features"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of a version."""

    is_switched: bool
    """Whether ``stable`` was still to be switched to it."""
    trial: Trial | None
    """How it answered as ``canary``; None where it was not tried out now."""
    confirmed: dict[str, Any]
    """What consumers of ``stable`` get, read back."""
    note: str = ""
    """Of a version that was served and left: why, and what to do next. Empty otherwise."""


def serve(workspace: Workspace, version: PublishedVersion) -> Served:
    """Let the version be tried out, then served, and take online rows of old versions away.

    Raises DisappointingVersionError where somebody gets less than they ask for, or what is served
    does not read back as published: what was served before is served then.
    """
    _project(workspace)
    trial = _promote_in_turn(workspace, version)
    confirmed = _confirm_or_roll_back(workspace, version)
    _archive_old(workspace, version.frame)
    return Served(
        is_switched=trial is not None,
        trial=trial,
        confirmed=confirmed,
        note=_why_left(workspace, version),
    )


def _why_left(workspace: Workspace, version: PublishedVersion) -> str:
    state = workspace.store.state()
    stable = state.stable(version.frame)
    if version.number not in state.left or stable is None:
        return ""
    forward = f"`marquee promote {version.number}` goes forward to {version.name}, "
    return (
        f"{version.name} of {version.day} was rolled back from ({state.left[version.number]}) and "
        f"{stable.name} of {stable.day} is served: {'' if version.is_retired else forward}"
        f"`marquee republish {version.day}` makes another"
    )


def _promote_in_turn(workspace: Workspace, version: PublishedVersion) -> Trial | None:
    """Let ``canary``, then ``stable`` mean the version; None where that is not to be done.

    A version of an older day than what is served is published and not promoted: consumers never go
    back in time unless somebody rolls back.
    """
    state = workspace.store.state()
    stable = state.stable(version.frame)
    if version.number in {switch.number for switch in state.stable_switches(version.frame)}:
        return None
    if version.is_retired:
        logger.warning(
            "%s of %s is retired and stays so; `marquee republish %s` makes another version",
            version.name,
            version.day,
            version.day,
        )
        return None
    if stable is not None and version.day < stable.day:
        logger.warning(
            "%s of %s is published and not promoted: %s of %s is served; `marquee promote %d` "
            "serves it all the same",
            version.name,
            version.day,
            stable.name,
            stable.day,
            version.number,
        )
        return None
    if not state.is_same(version.judged_against, stable):
        raise StableMovedError(
            f"{version.name} of {version.day} was judged against another version than "
            f"{stable.name if stable else 'nothing'}, which is stable by now: `marquee republish "
            f"{version.day}` stabilises and gates the day again"
        )
    if version.withdrawn_because:
        raise _withdrawn(version, version.withdrawn_because)
    promote = partial(_promote, workspace, version)
    promote("canary", why="its online rows read back")
    confirm(workspace.root, frame=version.frame, alias="canary")
    trial = _tried_out(workspace, version, baseline=stable)
    promote("stable", why=f"the canary answers as published: {trial}")
    return trial


def _promote(workspace: Workspace, version: PublishedVersion, alias: Alias, *, why: str) -> None:
    publisher_of(workspace, by=BY).promote(
        alias,
        version.number,
        judged_against=version.judged_against,
        effective_at=switch_instant(workspace, version),
        why=why,
    )
    _project(workspace)


def _tried_out(
    workspace: Workspace, version: PublishedVersion, *, baseline: PublishedVersion | None
) -> Trial:
    """Return how the canary answers; ends its trial where a registered consumer gets too little."""
    features = open_features(workspace.feast_dir, frame=version.frame, alias="canary").pinned()
    client = EmbeddingClient(workspace.store.root)
    trial = try_out(
        features.users,
        client.pin_number(version.number),
        None if baseline is None else client.pin_number(baseline.number),
    )
    found = disappointed(registered_consumers(workspace), trial, frame=version.frame)
    if not found:
        return trial
    because = "; ".join(found)
    publisher_of(workspace, by=BY).withdraw(
        version.number,
        because=because,
        effective_at=switch_instant(workspace, version),
        why=f"automatic, after its trial: {trial}",
    )
    _project(workspace)
    follow_log(workspace)
    raise _withdrawn(version, because)


def _withdrawn(version: PublishedVersion, because: str) -> DisappointingVersionError:
    return DisappointingVersionError(
        f"{version.name} of {version.day} was tried out as canary and withdrawn: {because}. What "
        f"is served stays; `marquee promote {version.number}` serves it all the same, `marquee "
        f"republish {version.day}` makes another"
    )


def _confirm_or_roll_back(workspace: Workspace, version: PublishedVersion) -> dict[str, Any]:
    """Return what is read back of ``stable``; where it is the version and is not right, go back."""
    state = workspace.store.state()
    stable, previous = state.stable(version.frame), state.previous(version.frame)
    if stable is None:
        raise NotPublishedError(
            f"{version.name} of {version.day} is retired, and frame {version.frame} serves nothing "
            f"else: `marquee republish {version.day}` makes another version"
        )
    try:
        return confirm(workspace.root, frame=version.frame)
    except (NotServedError, OnlineRowsError) as error:
        if stable.number != version.number or previous is None:
            raise
        publisher_of(workspace, by=BY).rollback(
            version.frame,
            to=previous.number,
            effective_at=switch_instant(workspace, version),
            why=f"automatic, {version.name} did not read back as published: {error}",
        )
        _project(workspace)
        confirm(workspace.root, frame=version.frame)
        follow_log(workspace)
        raise DisappointingVersionError(
            f"{version.name} of {version.day} was served and rolled back from: {error}. "
            f"{previous.name} is served again; `marquee promote {version.number}` goes forward to "
            f"{version.name}"
        ) from error


def _archive_old(workspace: Workspace, frame: int) -> None:
    """Take the online rows of the frame's oldest versions away, as the workspace says."""
    publisher = publisher_of(workspace, by=BY)
    old = beyond_online(
        workspace.store.state(),
        frame,
        keep=workspace.config.online_versions,
        pinned=pinned_by_consumers(workspace, frame),
    )
    for version in old:
        publisher.archive(
            version.number,
            effective_at=workspace.store.state().stable_switches(frame)[-1].effective_at,
            why=f"the newest {workspace.config.online_versions} versions stay online",
        )
    if old:
        _project(workspace)


def pinned_by_consumers(workspace: Workspace, frame: int) -> frozenset[int]:
    """Return the numbers of the frame's versions that registered consumers read by number."""
    consumers = registered_consumers(workspace)
    return frozenset(one.pin for one in consumers if one.frame == frame and one.pin is not None)


def _project(workspace: Workspace) -> None:
    reconcile(workspace.root, erasure_key=workspace.erasure_key)


def switch_instant(workspace: Workspace, version: PublishedVersion) -> datetime:
    """Return from when on the version serves.

    In a replay that is a fixed delay after its day, or right after the last switch: what was served
    until then stays as it is.
    """
    if not workspace.config.is_replay:
        return datetime.now(UTC)
    switches = workspace.store.state().stable_switches(version.frame)
    earliest = [switches[-1].effective_at + timedelta(seconds=1)] if switches else []
    return max([workspace.served_at(version.day), *earliest])
