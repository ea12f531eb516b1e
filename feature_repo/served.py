"""What Feast must show: the online versions of every frame, and which one each alias means."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from embedding_store.contracts import SIDES, Side
from embedding_store.errors import CorruptVersionError, StoreError
from embedding_store.manifest import Manifest
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version
from feature_repo.errors import RenderingError
from lake.errors import LakeError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """One live version: what the log says of it, and its files."""

    published: PublishedVersion
    files: Version

    @property
    def manifest(self) -> Manifest:
        """What the version says about itself."""
        return self.files.manifest

    def view(self, side: Side) -> str:
        """Return the name of the view that holds the version's rows of one side."""
        return f"{side}_embedding__f{self.published.frame}__{self.published.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFrame:
    """One coordinate system: its live versions, its aliases, and what ``stable`` meant when."""

    number: int
    versions: tuple[ServedVersion, ...]
    aliases: Mapping[str, ServedVersion]
    switches: tuple[tuple[datetime, str], ...]
    """Instant and version name of every switch of ``stable``, in order."""


def service_name(frame: int, alias: str, side: Side | None = None) -> str:
    """Return the name that consumers know: of both sides, or of users or items alone."""
    return f"embeddings_f{frame}_{alias}" + (f"_{side}" if side else "")


@dataclass(frozen=True, slots=True)
class DamagedVersion:
    """A live version whose files are not what the log recorded, which no alias needs."""

    published: PublishedVersion
    fault: str

    def __str__(self) -> str:
        """Return what it is, what follows, and what to do."""
        return (
            f"{self.published.name} is damaged and its views are left out: {self.fault} and run "
            f"`marquee reconcile`, or give it up with `marquee retire {self.published.number}`"
        )


@dataclass(frozen=True, slots=True)
class Served:
    """The frames with a live version, without the versions that are damaged.

    A damaged version that is neither ``stable`` nor ``canary`` is left out with its views: without
    its files nothing proves its online rows, and whoever pinned it is told so, not served. The
    rest is served on. Raises RenderingError when that is nothing, or when an alias needs it.
    """

    state: StoreState
    frames: tuple[ServedFrame, ...]
    damaged: tuple[DamagedVersion, ...] = ()

    def __post_init__(self) -> None:
        """Raise RenderingError when nothing is left to serve, but for the damaged."""
        if self.damaged and not self.frames:
            raise RenderingError("; ".join(str(one) for one in self.damaged))

    def proven(self, prove: Callable[[ServedVersion, Side], None]) -> "Served":
        """Return what remains when both sides of every version went through ``prove``."""
        damaged: dict[int, DamagedVersion] = {}
        for version, side in live_sides(self.frames):
            try:
                prove(version, side)
            except CorruptVersionError as error:
                damaged[version.published.number] = _damaged(self.state, version.published, error)
        frames = [_without(frame, damaged) for frame in self.frames]
        return Served(
            self.state,
            tuple(frame for frame in frames if frame.versions),
            (*self.damaged, *damaged.values()),
        )


def _without(frame: ServedFrame, numbers: Collection[int]) -> ServedFrame:
    return replace(
        frame,
        versions=tuple(one for one in frame.versions if one.published.number not in numbers),
        aliases={
            alias: one
            for alias, one in frame.aliases.items()
            if one.published.number not in numbers
        },
    )


def _damaged(
    state: StoreState, version: PublishedVersion, error: CorruptVersionError
) -> DamagedVersion:
    needed = {"stable": state.stable(version.frame), "canary": state.canary(version.frame)}
    for alias, one in needed.items():
        if one is not None and one.number == version.number:
            remedy = "rollback" if alias == "stable" else f"retire {version.number}"
            raise RenderingError(
                f"{version.name} is {alias} of frame {version.frame}, but cannot be read: "
                f"{error}, or run `marquee {remedy}`"
            ) from error
    return DamagedVersion(version, str(error))


def live_sides(frames: Sequence[ServedFrame]) -> list[tuple[ServedVersion, Side]]:
    """Return every live version with each of its sides."""
    return [(version, side) for frame in frames for version in frame.versions for side in SIDES]


def served_frames(store: EmbeddingStore, state: StoreState) -> Served:
    """Return what Feast must show, of versions whose manifests are as the log recorded them."""
    frames: list[ServedFrame] = []
    damaged: list[DamagedVersion] = []
    for number in state.frames:
        live: dict[int, ServedVersion] = {}
        for version in state.online_versions(number):
            try:
                live[version.number] = _opened(store, version)
            except CorruptVersionError as error:
                damaged.append(_damaged(state, version, error))
        if live:
            frames.append(_frame(state, number, live))
    return Served(state, tuple(frames), tuple(damaged))


def _frame(state: StoreState, number: int, live: Mapping[int, ServedVersion]) -> ServedFrame:
    named = {
        "stable": state.stable(number),
        "canary": state.canary(number),
        "previous": state.previous(number),
    }
    return ServedFrame(
        number=number,
        versions=tuple(live.values()),
        aliases={
            alias: live[version.number]
            for alias, version in named.items()
            if version is not None and version.number in live
        },
        switches=tuple((at, version.name) for at, version in state.served(number)),
    )


def read_state(store: EmbeddingStore) -> StoreState:
    """Return the fold of the log; raises RenderingError when it cannot be read or is empty."""
    try:
        state = store.state()
    except (LakeError, StoreError, OSError) as error:
        raise RenderingError(f"the log in {store.url}/log cannot be read: {error}") from error
    if not state.seq:
        raise RenderingError(
            f"the log in {store.url}/log is empty: nothing was ever published; if something "
            "was, restore it from a copy"
        )
    return state


def _opened(store: EmbeddingStore, version: PublishedVersion) -> ServedVersion:
    return ServedVersion(published=version, files=store.open(version))
