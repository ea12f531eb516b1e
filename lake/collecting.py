"""Collects what nothing in a lake needs any more: references that others replaced, and folders.

A partition is looked at under its builder's lock: one that is being built is passed over. A
reference goes before the folder that it names, so whoever is killed in between leaves a folder
without a name, which is collected later.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from lake.errors import WorkspaceBusyError
from lake.lake import Lake
from lake.refs import ArtifactRef


@dataclass(frozen=True, slots=True)
class Collected:
    """Something that was collected, or would be."""

    what: str
    """Its kind, for people."""
    name: str
    """Which one."""
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the lake must keep, whatever its age, and from when on it keeps everything."""

    is_needed: Callable[[ArtifactRef], bool]
    """Whether a reference that was replaced may have to stand again."""
    folders: Collection[str]
    """Folders that are named from outside the lake."""
    replaced_after: datetime
    """References that were replaced since are kept, with their folders."""
    unnamed_after: datetime
    """Folders without a reference that were written since are kept."""


def collect(lake: Lake, needs: Needs, *, is_rehearsal: bool) -> Iterator[Collected]:
    """Remove what nothing needs and yield each; a rehearsal only yields."""
    for asset, partition in lake.partitions():
        try:
            with lake.holding(asset, partition, is_waiting=False):
                yield from _of_partition(lake, asset, partition, needs, is_rehearsal=is_rehearsal)
        except WorkspaceBusyError:
            continue  # what is being built now is looked at the next time


def _of_partition(
    lake: Lake, asset: str, partition: str, needs: Needs, *, is_rehearsal: bool
) -> Iterator[Collected]:
    objects, folders = lake.storage.objects, lake.storage.folders
    current, references = lake.find(asset, partition), lake.references(asset, partition)
    standing = current.digest if current else None
    outdated = {
        key: ref
        for key, ref in references.items()
        if ref.digest != standing  # another work's of the same content tells that it is the same
        and not needs.is_needed(ref)
        and objects.written_at(key) < needs.replaced_after
    }
    kept = {ref.uri for key, ref in references.items() if key not in outdated}.union(needs.folders)
    unnamed = {ref.uri for ref in outdated.values()}
    for key in outdated:
        yield Collected("references that others replaced", key, len(objects.get(key)))
        if not is_rehearsal:
            objects.delete(key)
    for uri in folders.names(f"artifacts/{asset}/{partition}", depth=1):
        if uri in kept or not (uri in unnamed or folders.written_at(uri) < needs.unnamed_after):
            continue
        yield Collected("artifacts that nothing names", uri, folders.size(uri))
        if not is_rehearsal:
            folders.remove(uri)
