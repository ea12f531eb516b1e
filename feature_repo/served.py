"""What Feast must show: the live versions of every frame, and which one each alias means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from embedding_store.contracts import Side
from embedding_store.errors import StoreError
from embedding_store.manifest import Manifest
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version, open_version
from feature_repo.errors import RenderingError
from lake.errors import LakeError

SIDES: tuple[Side, ...] = ("user", "item")
ALIASES = ("stable", "canary", "previous")


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


def live_sides(frames: Sequence[ServedFrame]) -> list[tuple[ServedVersion, Side]]:
    """Return every live version with each of its sides."""
    return [(version, side) for frame in frames for version in frame.versions for side in SIDES]


def served_frames(store: EmbeddingStore, state: StoreState) -> tuple[ServedFrame, ...]:
    """Return the frames with a live version; raises RenderingError when files cannot be read."""
    frames = []
    for number in state.frames:
        live = {
            version.number: _served_version(store, version)
            for version in state.live_versions(number)
        }
        if not live:
            continue
        named = {
            "stable": state.stable(number),
            "canary": state.canary(number),
            "previous": state.previous(number),
        }
        frames.append(
            ServedFrame(
                number=number,
                versions=tuple(live.values()),
                aliases={
                    alias: live[version.number]
                    for alias, version in named.items()
                    if version is not None and version.number in live
                },
                switches=tuple((at, version.name) for at, version in state.served(number)),
            )
        )
    return tuple(frames)


def read_state(store: EmbeddingStore) -> StoreState:
    """Return the fold of the log; raises RenderingError when it cannot be read or is empty."""
    try:
        state = store.state()
    except (LakeError, StoreError, OSError) as error:
        raise RenderingError(f"the log below {store.root} cannot be read: {error}") from error
    if not state.seq:
        raise RenderingError(f"the log below {store.root} is empty: nothing was ever published")
    return state


def _served_version(store: EmbeddingStore, version: PublishedVersion) -> ServedVersion:
    try:
        files = open_version(
            store.version_folder(version.digest), manifest_sha256=version.manifest_sha256
        )
    except StoreError as error:
        raise RenderingError(f"{version.name} is live, but cannot be read: {error}") from error
    return ServedVersion(published=version, files=files)
