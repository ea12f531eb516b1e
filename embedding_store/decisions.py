"""What may follow in the log, decided on one fold of it.

Pure functions of the state: when somebody else appended meanwhile, they are asked again with the
new fold. Each returns the version to act on, or None where the log holds the act already, and
raises what forbids it. That files and gate records bear it out is for the publisher to prove.
"""

from collections.abc import Collection
from datetime import datetime

from embedding_store.entries import ALIASES, Alias, ConsumerRegistered
from embedding_store.errors import (
    AlreadyPublishedError,
    NoVersionError,
    PublicationRefusedError,
    StableMovedError,
)
from embedding_store.manifest import Origin
from embedding_store.state import Frame, PublishedVersion, StoreState
from embedding_store.transform import Opening, Stabilisation


def held_publication(
    state: StoreState, origin: Origin, *, republish: bool
) -> PublishedVersion | None:
    """Return the day's version of the same work; refuse another one unless asked for.

    Work whose version was retired is held too, so that running its day again does not bring it
    back; only ``republish`` does.
    """
    newest = state.version_of_day(origin.day)
    if newest is not None and newest.logical_id == origin.logical_id:
        return newest
    if republish:
        return None
    retired = state.newest_of_day(origin.day, logical_id=origin.logical_id)
    if retired is not None:
        return retired
    if newest is not None:
        raise AlreadyPublishedError(
            f"{origin.day} is already published as {newest.name}, from other inputs: what is "
            f"published stays; `marquee republish {origin.day}` makes another version of that day"
        )
    return None


def check_stable(state: StoreState, frame: int, judged_against: str | None) -> None:
    """Raise StableMovedError unless ``stable`` is what was judged against."""
    stable = state.stable(frame)
    if not state.is_same(judged_against, stable):
        raise StableMovedError(
            f"stable of frame {frame} is {stable.name if stable else 'not set'}, this was judged "
            f"against {judged_against[:12] if judged_against else 'nothing'}: stabilise and gate "
            "again"
        )


def check_frame(state: StoreState, transform: Stabilisation, day: str) -> None:
    """Raise unless the vectors may be of their frame: it stands, or they may open it.

    Raises StableMovedError where the frames are others by now than those they were brought to, and
    PublicationRefusedError where the frame takes no such vectors.
    """
    frame = state.opened.get(transform.frame)
    if frame is None:
        _check_opening(state, transform, day)
        return
    if frame.is_retired:
        raise PublicationRefusedError(
            f"frame {frame.number} is retired: days go to frame {state.served_frame}"
        )
    if frame.dim not in {None, transform.dim}:
        raise PublicationRefusedError(
            f"frame {frame.number} has dim {frame.dim}, the vectors have dim {transform.dim}: give "
            f"it up with `marquee retire-frame {frame.number}` and run the day again"
        )
    if transform.reference is None and frame.beside is not None:
        _check_first(state, frame, transform.opens, day)


def _check_first(state: StoreState, frame: Frame, opens: Opening | None, day: str) -> None:
    """Raise unless the day that opened the frame goes on; for its first vectors alone."""
    if opens is None or (opens.beside, day) != (frame.beside, frame.day):
        raise StableMovedError(
            f"frame {frame.number} was opened meanwhile, by {frame.day}: stabilise and gate again"
        )
    check_stable(state, opens.beside, opens.judged_against)


def _check_opening(state: StoreState, transform: Stabilisation, day: str) -> None:
    opens, served = transform.opens, state.served_frame
    if opens is None:
        if state.opened:
            raise PublicationRefusedError(
                f"frame {transform.frame} is not open and the vectors do not say what they could "
                f"not be brought into: stabilise onto frame {served}"
            )
        return
    if (opens.beside, transform.frame) != (served, state.next_frame):
        raise StableMovedError(
            f"frame {transform.frame} would be opened beside frame {opens.beside}, but frame "
            f"{served} is served and {state.next_frame} the next one by now: stabilise and gate "
            "again"
        )
    check_stable(state, opens.beside, opens.judged_against)
    stable = state.stable(opens.beside)
    if stable is not None and day < stable.day:
        raise PublicationRefusedError(
            f"{day} opens no frame: {stable.name} of {stable.day} is served, and the days after it "
            f"go on in frame {opens.beside}"
        )


def frame_to_retire(
    state: StoreState, number: int, readers: Collection[str], effective_at: datetime
) -> Frame | None:
    """Return the frame that shall have no names any more; ``readers`` is who else reads it."""
    frame = state.opened.get(number)
    if frame is None:
        known = ", ".join(map(str, sorted(state.opened))) or "none"
        raise NoVersionError(f"no frame {number} is open (there is: {known})")
    if frame.is_retired:
        return None
    if number == (state.served_frame or number):
        raise PublicationRefusedError(
            f"frame {number} is the one that days go to: only a frame that another one took over "
            "from, or that never served, is retired"
        )
    logged = {name for name, one in state.consumers.items() if one.frame == number}
    if names := sorted(logged | set(readers)):
        raise PublicationRefusedError(
            f"frame {number} is read by {', '.join(names)}: when a service reads another one, "
            "register it for that or take it out with `marquee consumers remove NAME`"
        )
    if effective_at < frame.effective_at:
        raise PublicationRefusedError(
            f"frame {number} is open from {frame.effective_at.isoformat()} on, it cannot be "
            f"retired at {effective_at.isoformat()}"
        )
    return frame


def consumer_to_register(
    state: StoreState, consumer: ConsumerRegistered
) -> ConsumerRegistered | None:
    """Return the note that is to be made; nobody begins to read a retired frame."""
    if state.is_retired(consumer.frame):
        raise PublicationRefusedError(
            f"frame {consumer.frame} is retired: {consumer.name} may read frame "
            f"{state.served_frame}"
        )
    return None if state.consumers.get(consumer.name) == consumer else consumer


def version_to_promote(
    state: StoreState,
    alias: Alias,
    number: int,
    *,
    judged_against: str | None,
    effective_at: datetime,
    again: bool,
) -> PublishedVersion | None:
    """Return what ``alias`` shall mean.

    ``again`` is an operator's word: for a version that the alias meant before, or that was judged
    against another stable than today's.
    """
    if alias not in ALIASES:
        raise PublicationRefusedError(f"alias: want one of {ALIASES}, got {alias!r}")
    version = state.version(number)
    if _is_promoted(state, alias, version, again=again):
        return None
    if not again:
        check_stable(state, version.frame, judged_against)
        _check_trial(version)
    _check_promotable(state, version, effective_at)
    return version


def version_to_return_to(
    state: StoreState, frame: int, to: int | None, *, start: int | None, effective_at: datetime
) -> PublishedVersion | None:
    """Return what ``stable`` goes back to from version ``start``, by default the previous one."""
    current = state.stable(frame)
    if current is None:
        raise NoVersionError(f"frame {frame} has no stable version to roll back")
    if current.number != start:
        raise StableMovedError(
            f"stable of frame {frame} moved to {current.name} meanwhile: ask again"
        )
    target = _rollback_target(state, frame, to)
    if target.number == current.number:
        return None
    _check_after_last_switch(state, frame, effective_at)
    return target


def version_to_retire(state: StoreState, number: int) -> PublishedVersion | None:
    """Return what shall never be named again; a canary may be given up so, ``stable`` may not."""
    version = state.version(number)
    stable = state.stable(version.frame)
    if stable is not None and stable.number == number:
        raise PublicationRefusedError(
            f"{version.name} is stable of frame {version.frame}: let another version be that "
            "first, with `marquee rollback` or `marquee promote`"
        )
    return None if version.is_retired else version


def canary_to_withdraw(state: StoreState, number: int) -> PublishedVersion | None:
    """Return the version whose trial failed; refuses one that is ``stable``, which is rolled back.

    Its trial is over when another version took its place, so that counts as withdrawn too.
    """
    version = state.version(number)
    stable = state.stable(version.frame)
    if stable is not None and stable.number == number:
        raise PublicationRefusedError(
            f"{version.name} is stable of frame {version.frame}, no longer on trial: let another "
            "version be that first, with `marquee rollback`"
        )
    return None if version.withdrawn_because or version.is_retired else version


def version_to_archive(state: StoreState, number: int) -> PublishedVersion | None:
    """Return what shall have no online rows any more; one that has a name keeps them."""
    version = state.version(number)
    if number in state.named_versions(version.frame):
        raise PublicationRefusedError(
            f"{version.name} has a name in frame {version.frame}: its online rows are read"
        )
    return None if version.is_archived or version.is_retired else version


def _check_trial(version: PublishedVersion) -> None:
    if version.withdrawn_because:
        raise PublicationRefusedError(
            f"{version.name} was withdrawn after its trial as canary: {version.withdrawn_because}; "
            f"`marquee promote {version.number}` serves it all the same; from other "
            f"inputs, `marquee republish {version.day}` makes another"
        )


def _check_promotable(state: StoreState, version: PublishedVersion, effective_at: datetime) -> None:
    if version.is_retired:
        raise PublicationRefusedError(
            f"{version.name} is retired for good: choose another version, or run its day again"
        )
    if effective_at < version.effective_at:
        raise PublicationRefusedError(
            f"{version.name} is published from {version.effective_at.isoformat()} on, it cannot be "
            f"promoted at {effective_at.isoformat()}"
        )
    _check_after_last_switch(state, version.frame, effective_at)


def _check_after_last_switch(state: StoreState, frame: int, effective_at: datetime) -> None:
    """What was served does not change afterwards, and no two versions at one instant."""
    switches = state.stable_switches(frame)
    if switches and effective_at <= switches[-1].effective_at:
        raise PublicationRefusedError(
            f"frame {frame} switched at {switches[-1].effective_at.isoformat()}: what was served "
            f"until then stays as it is, choose an instant after it, not {effective_at.isoformat()}"
        )


def _is_promoted(
    state: StoreState, alias: Alias, version: PublishedVersion, *, again: bool
) -> bool:
    current = state.stable(version.frame) if alias == "stable" else state.canary(version.frame)
    if current is not None and current.number == version.number:
        return True
    return not again and any(
        (switch.alias, switch.number) == (alias, version.number) and not switch.is_rollback
        for switch in state.switches
    )


def _rollback_target(state: StoreState, frame: int, to: int | None) -> PublishedVersion:
    if to is None:
        previous = state.previous(frame)
        if previous is None:
            raise NoVersionError(
                f"frame {frame} has no version before the stable one to roll back to"
            )
        return previous
    stack = state.stacks.get(frame, ())
    target = state.version(to)
    if target.is_retired:
        raise PublicationRefusedError(f"{target.name} is retired for good: choose another version")
    if to not in stack:
        below = ", ".join(f"v{one}" for one in stack[:-1]) or "none"
        raise PublicationRefusedError(
            f"{target.name} is not among the versions that stable of frame {frame} rests on "
            f"({below}): `marquee promote {to}` goes forward to one that is not"
        )
    return target
