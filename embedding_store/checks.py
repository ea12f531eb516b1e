"""Is the store what its log says? Every problem and its remedy, as a sentence; none raises."""

from collections.abc import Iterator
from itertools import zip_longest

from embedding_store.contracts import SIDES
from embedding_store.errors import StoreError
from embedding_store.gates import published_record
from embedding_store.history import is_part_of, part_path
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore
from lake.errors import LakeError
from lake.log import CommitLog


def check(store: EmbeddingStore) -> list[str]:
    """Return what is wrong: missing folders, checksums, gate records, history against the log."""
    try:
        state = store.state()
    except (LakeError, StoreError) as error:
        return [f"the log cannot be folded: {error}"]
    problems = list(_of_log(store.log)) + [
        problem
        for version in state.versions.values()
        if not version.is_retired
        for problem in _of_version(store, state, version)
    ]
    return problems + list(_of_erasures(store, state)) + list(_of_history(store, state))


def _of_log(log: CommitLog) -> Iterator[str]:
    """The state may rest on a checkpoint: here each entry is read, and each checkpoint is."""
    try:
        slots = log.slots()
    except LakeError as error:
        yield f"{error}; a checkpoint has a copy of it, see docs/commit-log.md"
        return
    for number in log.checkpoints.newest_first():
        where = log.checkpoints.where(number)
        try:
            entries = log.checkpoint(number)
        except LakeError as error:
            yield f"a checkpoint of the log cannot be read: {error}: remove {where}, a copy"
            continue
        pairs = enumerate(zip_longest(entries, slots[:number]), 1)
        differing = next((seq for seq, (copy, slot) in pairs if copy != slot), None)
        if differing is not None:
            yield (
                f"{where} is not what the log says from entry {differing} on: find out which of "
                "them is right, see docs/commit-log.md"
            )


def _of_version(
    store: EmbeddingStore, state: StoreState, version: PublishedVersion
) -> Iterator[str]:
    stable = state.stable(version.frame)
    is_stable = stable is not None and stable.number == version.number
    instead = "rollback" if is_stable else f"retire {version.number}"
    try:
        store.open(version).verify()
    except StoreError as error:
        yield f"{version.name}: {error}, or run `marquee {instead}`"
    try:
        record = published_record(store, version)
        if not record.is_passed:
            yield f"{version.name}: its gate record did not pass: run `marquee {instead}`"
    except StoreError as error:
        yield f"{version.name}: {error}"


def _of_erasures(store: EmbeddingStore, state: StoreState) -> Iterator[str]:
    if not state.erasures:
        return
    replaced = set(state.digests) - {version.digest for version in state.versions.values()}
    for digest in sorted(replaced.intersection(store.stored_versions())):
        yield (
            f"{store.url}/versions/{digest} holds users who were erased: run `marquee erase`, "
            "which removes it"
        )


def _of_history(store: EmbeddingStore, state: StoreState) -> Iterator[str]:
    for frame in state.frames:
        for side in SIDES:
            switches = state.stable_switches(frame)
            wanted = {part_path(store, switch, side): switch for switch in switches}
            for path, switch in wanted.items():
                version = state.version(switch.number)
                is_there = is_part_of(path, switch, version)
                if not is_there and not store.is_collected(version.number):
                    yield (
                        f"history of frame {frame}: {path} is missing or not of its switch: run "
                        "`marquee reconcile`"
                    )
            folder = store.history_folder(frame, side)
            found = set(folder.glob("*")) if folder.is_dir() else set()
            for path in sorted(found - set(wanted)):
                yield (
                    f"history of frame {frame}: {path} is not of any switch in the log: run "
                    "`marquee reconcile`, which removes it"
                )
