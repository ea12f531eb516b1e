"""Takes the rows of erased users out of a lake: other content of the same work.

An artifact is rewritten under its builder's lock: a folder with a new digest appears, references
let the same logical id mean it, one after the other, and the old folder goes. Whoever is killed in
between runs again: references that still name the old folder are followed once more, and a folder
with rows of erased users that no reference names is removed.

::

    erasures/open/<asset>.<partition>.<digest>.json   what was rewritten since the last certificate
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lake.digests import digest_folder
from lake.errors import ErasureError, MissingArtifactError
from lake.lake import Lake, folder_of
from lake.refs import ArtifactRef
from lake.tombstones import Tombstones
from lake.user_rows import copy_without, users_of

FORMAT_VERSION = 1

_OPEN = "erasures/open"
_MAX_PASSES = 5

Corrected = Callable[[ArtifactRef, Path, int], ArtifactRef]
"""Given a reference, the copy of its folder and how many rows it lost: the reference with the rows
and figures of the copy."""

Tidied = Callable[[str, Path], None]
"""Given an asset and the copy of a folder: puts right what its other files say of the rows."""


def _as_it_is(asset: str, folder: Path) -> None:
    """Leave the copy as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """One folder that held rows of erased users."""

    asset: str
    partition: str
    logical_ids: tuple[str, ...]
    """Of the references that named it; none named what a killed process left."""
    before: str
    """Digest that it had."""
    after: str | None
    """Digest of what took its place; None when nothing named it."""
    rows: int
    """Rows removed from its tables."""
    users: tuple[str, ...]
    """Their hashes."""


def erase_rows(lake: Lake, corrected: Corrected, tidied: Tidied = _as_it_is) -> Iterator[Rewritten]:
    """Rewrite whatever holds rows of users with a tombstone, until nothing does; yield each.

    A build that began before the tombstones were written is waited for, and so is what it makes.
    """
    for _ in range(_MAX_PASSES):
        is_clean = True
        for asset, partition in lake.partitions():
            with lake.holding(asset, partition):
                for one in _of_partition(lake, asset, partition, corrected, tidied):
                    is_clean = False
                    yield one
        if is_clean:
            return
    raise ErasureError(
        f"rows of erased users were still being written in {_MAX_PASSES} passes: stop what writes "
        "to this lake with an older release, and run the same command again"
    )


def rewritten_since(lake: Lake) -> dict[str, Rewritten]:
    """Return, by key, what was rewritten since the last certificate, also by killed processes."""
    objects = lake.storage.objects
    return {key: _read(objects.get(key)) for key in objects.list(_OPEN)}


def _of_partition(
    lake: Lake, asset: str, partition: str, corrected: Corrected, tidied: Tidied
) -> Iterator[Rewritten]:
    folders, tombstones = lake.storage.folders, lake.tombstones()
    references = lake.references(asset, partition)
    for uri in folders.names(f"artifacts/{asset}/{partition}", depth=1):
        named = {key: ref for key, ref in references.items() if ref.uri == uri}
        try:
            users = users_of(folders.files(uri))
        except MissingArtifactError:
            if named:
                raise
            folders.remove(uri)  # half removed already
            continue
        gone = frozenset(tombstones.among(users))
        if gone:
            yield _rewrite(lake, uri, named, gone, corrected=corrected, tidied=tidied)


def _rewrite(
    lake: Lake,
    uri: str,
    named: Mapping[str, ArtifactRef],
    gone: frozenset[str],
    *,
    corrected: Corrected,
    tidied: Tidied,
) -> Rewritten:
    folders = lake.storage.folders
    folder = folders.path(uri)
    _, asset, partition, _ = uri.split("/")
    with folders.staged() as staged:
        rows = copy_without(folder, gone, staged)
        tidied(asset, staged)
        after = digest_folder(staged)
        about_to_be = Rewritten(
            asset=asset,
            partition=partition,
            logical_ids=tuple(sorted({ref.logical_id for ref in named.values()})),
            before=digest_folder(folder),
            after=after if named else None,
            rows=rows,
            users=_hashes(lake.tombstones(), gone),
        )
        done = _recorded(lake, about_to_be)
        if named:
            place = folder_of(asset, partition, after)
            corrections = {
                key: replace(corrected(ref, staged, rows), digest=after, uri=place)
                for key, ref in named.items()
            }
            folders.commit(staged, place)
            for key, ref in corrections.items():
                lake.replace(key, named[key], ref)
    folders.remove(uri)
    return done


def _hashes(tombstones: Tombstones, users: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(map(tombstones.hash_of, users)))


def _recorded(lake: Lake, one: Rewritten) -> Rewritten:
    """Write down what is about to be done, beside what a killed process did of it; return both."""
    key = f"{_OPEN}/{one.asset}.{one.partition}.{one.before[:16]}.json"
    objects = lake.storage.objects
    with suppress(MissingArtifactError):
        begun = _read(objects.get(key))  # some references may already name what took its place
        named = sorted({*begun.logical_ids, *one.logical_ids})
        one = replace(one, logical_ids=tuple(named), after=one.after or begun.after)
    data = json.dumps({"format_version": FORMAT_VERSION, **asdict(one)}, indent=1, sort_keys=True)
    objects.put(key, data.encode())
    return one


def _read(data: bytes) -> Rewritten:
    fields: dict[str, Any] = json.loads(data)
    del fields["format_version"]
    lists = {name: tuple(fields[name]) for name in ("logical_ids", "users")}
    return Rewritten(**{**fields, **lists})
