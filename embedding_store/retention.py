"""Which versions leave the online stores, which are given up, and whose files are removed.

::

    beyond the newest N of a frame ─► archived: files, no online rows
    beyond the newest M            ─► retired ─► its files removed some days later

A version that an alias means, or that a registered consumer pins, is none of these. Files go some
days after the retirement, so whoever pinned a version by itself has that time to follow its alias.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from embedding_store.entries import VersionRetired
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore


def beyond_online(
    state: StoreState, frame: int, *, keep: int, pinned: Collection[int]
) -> list[PublishedVersion]:
    """Return the versions of the frame that shall have no online rows any more, oldest first."""
    return _beyond(state.online_versions(frame), state.named_versions(frame), keep, pinned)


def beyond_kept(
    state: StoreState, frame: int, *, keep: int, pinned: Collection[int]
) -> list[PublishedVersion]:
    """Return the versions of the frame that shall be given up, oldest first."""
    return _beyond(state.live_versions(frame), state.named_versions(frame), keep, pinned)


def _beyond(
    versions: tuple[PublishedVersion, ...],
    named: Collection[int],
    keep: int,
    pinned: Collection[int],
) -> list[PublishedVersion]:
    older = versions[: max(0, len(versions) - keep)]
    return [one for one in older if one.number not in named and one.number not in pinned]


def collect_versions(
    store: EmbeddingStore,
    *,
    retired_before: datetime,
    unnamed_before: datetime,
    is_rehearsal: bool,
) -> Iterator[tuple[str, int]]:
    """Remove the files of versions that nothing reads; yield each one's folder and bytes.

    Args:
        store: which one.
        retired_before: of retired versions, those whose retirement was recorded before go.
        unnamed_before: of those that the log never named (refused by a gate, or left by a kill),
            those that were written before go: a publisher may still work on a younger one.
        is_rehearsal: remove nothing.
    """
    state, retired_at = store.state(), _retired_at(store)
    of_digest = {version.digest: version for version in state.versions.values()}
    needed = {one.digest for one in state.versions.values() if not one.is_retired}
    for digest in store.stored_versions():
        version = of_digest.get(digest)
        if digest in needed or (version is None and digest in state.digests):
            continue  # of the latter, from before an erasure, `erase` is the owner
        if version is not None:  # one that was retired with its frame keeps its files
            is_due = retired_at.get(version.number, retired_before) < retired_before
        else:
            is_due = store.version_written_at(digest) < unnamed_before
        if is_due:
            yield f"versions/{digest}", store.version_size(digest)
            if not is_rehearsal:
                store.remove_version(digest)


def _retired_at(store: EmbeddingStore) -> Mapping[int, datetime]:
    """Return when each retirement was recorded: in a replayed world, its instant is another."""
    return {
        entry.body["number"]: datetime.fromisoformat(entry.recorded_at)
        for entry in store.log.entries()
        if entry.kind == VersionRetired.kind
    }
