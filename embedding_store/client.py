"""How a consumer opens a store: in a folder or a bucket, by an alias, a number or an instant."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embedding_store.errors import (
    ContractError,
    CorruptVersionError,
    NoVersionError,
    RetiredVersionError,
    UnknownEntryError,
    UnreachableStoreError,
)
from embedding_store.indexes import find_index
from embedding_store.pinned import PinnedVersion
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.store import EmbeddingStore
from lake.digests import digest_bytes
from lake.errors import CorruptArtifactError, LakeError, UnknownFormatError
from lake.s3 import SCHEME
from lake.storage import locate

Alias = Literal["stable", "canary", "previous"]


@dataclass(frozen=True)
class EmbeddingClient:
    """A reader of the store at ``root``; needs no more than numpy and pyarrow, and boto3 for S3.

    Whatever goes wrong is a StoreError, whose class says what helps.
    """

    root: Path

    @classmethod
    def at(cls, place: str | Path, *, cache: Path | None = None) -> "EmbeddingClient":
        """Return a reader of the store in a folder or at ``s3://bucket/prefix``.

        Args:
            place: the store; credentials for a bucket come from the environment.
            cache: folder for what is read from a bucket; default: below ``$XDG_CACHE_HOME``.
        """
        url = str(place)
        if not url.startswith(SCHEME):
            if "://" in url:
                raise UnreachableStoreError(
                    f"{url}: want the folder of a store, or s3://bucket/prefix"
                )
            return cls(Path(place))
        root = cache or _cache_of(url)
        try:
            locate(root, url)
        except OSError as error:
            raise UnreachableStoreError(
                f"what is read from {url} cannot be kept in {root} ({error.strerror}): name a "
                "folder that can be written to, as `cache` or by XDG_CACHE_HOME"
            ) from error
        except LakeError as error:
            raise UnreachableStoreError(str(error)) from error
        return cls(root)

    @cached_property
    def store(self) -> EmbeddingStore:
        """The store."""
        return EmbeddingStore(self.root)

    def pin(
        self,
        alias: Alias = "stable",
        frame: int | None = None,
        *,
        as_of: datetime | None = None,
    ) -> PinnedVersion:
        """Return what an alias means now, or meant at ``as_of``.

        ``frame`` may be left out while only one has a ``stable`` version. Raises NoVersionError.
        """
        if as_of is not None and as_of.tzinfo is None:
            raise ContractError(f"as_of: want an instant with a time zone, got {as_of!r}")
        with _as_store_errors(self.root):
            state = self.store.state(as_of)
            _require_published(state, self.store.url, frame)
            chosen = _only_frame(state) if frame is None else frame
            version = _named(state, alias, chosen)
            if as_of is not None:
                return self._open(version)
            return replace(self._open(version), follow=partial(self._follow, alias))

    def pin_number(self, number: int) -> PinnedVersion:
        """Return a published version by its number; raises NoVersionError."""
        with _as_store_errors(self.root):
            version = self.store.state().version(number)
            if version.is_retired:
                raise RetiredVersionError(
                    f"{version.name} is retired: pin an alias, or an instant at which it served"
                )
            return self._open(version)

    def served_at(
        self, instants: Sequence[datetime] | Any, frame: int | None = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], PinnedVersion]]:
        """Yield (rows, version) for each version that was ``stable`` at some of the instants.

        What a model learns from must be what was served then: later vectors know later events. Rows
        from before the first switch are left out: nothing was served to them.

        Args:
            instants: with a time zone; anything that Arrow reads as timestamps.
            frame: may be left out while only one has a ``stable`` version.
        """
        asked = _microseconds(instants)
        with _as_store_errors(self.root):
            state = self.store.state()
            _require_published(state, self.store.url, frame)
            chosen = _only_frame(state) if frame is None else frame
            switches = state.served(chosen)
            began = _microseconds([at for at, _ in switches])
            numbers = np.array([version.number for _, version in switches], dtype=np.int64)
            switch = np.searchsorted(began, asked, side="right") - 1
            rows = np.flatnonzero(switch >= 0)
            served = numbers[switch[rows]]
            for number in np.unique(served):
                yield rows[served == number], self._open(state.version(int(number)))

    def _follow(self, alias: Alias, pinned: PinnedVersion) -> PinnedVersion:
        with _as_store_errors(self.root):
            now = _named(self.store.state(), alias, pinned.frame)
            # one that is published again has the bytes of the one before, and a name of its own
            if (now.number, now.digest) == (pinned.number, pinned.digest):
                return pinned
            return replace(self._open(now), follow=pinned.follow)

    def _open(self, version: PublishedVersion) -> PinnedVersion:
        try:
            opened = self.store.open(version)
        except CorruptVersionError as error:
            if not self.store.is_collected(version.number):
                raise
            raise RetiredVersionError(
                f"{version.name} was given up and its files were collected: pin an alias; what it "
                "served is still found by point-in-time joins where the features are served"
            ) from error
        successor = _as_store_errors(self.root)(opened.successor)  # is asked when a read needs it
        readable = replace(opened, successor=successor)
        return PinnedVersion(
            version, readable, find_index=partial(find_index, self.store, readable)
        )


@contextmanager
def _as_store_errors(root: Path) -> Iterator[None]:
    """Turn what the storage reports into errors of this package, by what the consumer can do."""
    try:
        yield
    except UnknownFormatError as error:
        raise UnknownEntryError(str(error)) from error
    except CorruptArtifactError as error:
        raise CorruptVersionError(str(error)) from error
    except LakeError as error:
        raise UnreachableStoreError(str(error)) from error
    except OSError as error:
        raise UnreachableStoreError.of(error, root) from error


def _cache_of(url: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "marquee" / digest_bytes(url.encode())[:16]


def _microseconds(instants: Any) -> npt.NDArray[np.int64]:
    """Return int64[N] since 1970, UTC; raises ContractError for instants without a time zone."""
    wanted = "instants: want timestamps with a time zone"
    try:
        array = pa.array(instants) if len(instants) else pa.array([], pa.timestamp("us", "UTC"))
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise ContractError(f"{wanted} ({error})") from error
    if not pa.types.is_timestamp(array.type) or array.type.tz is None:
        raise ContractError(f"{wanted}, got {array.type}")
    if array.null_count:
        raise ContractError(f"{wanted}, got {array.null_count} nulls")
    exact = array.cast(pa.timestamp("us", "UTC"), safe=False)  # nanoseconds are of no use here
    return exact.cast(pa.int64()).to_numpy()


def _named(state: StoreState, alias: Alias, frame: int) -> PublishedVersion:
    meaning = {"stable": state.stable, "canary": state.canary, "previous": state.previous}
    if alias not in meaning:
        raise ContractError(f"alias: want one of {', '.join(meaning)}, got {alias!r}")
    version = meaning[alias](frame)
    if version is None and state.is_retired(frame):
        raise RetiredVersionError(
            f"frame {frame} is retired: read frame {state.served_frame}, or pin an instant at "
            "which it served"
        )
    if version is None:
        raise NoVersionError(f"frame {frame} has no {alias} version")
    return version


def _require_published(state: StoreState, url: str, frame: int | None) -> None:
    if frame is not None and not isinstance(frame, int):
        raise ContractError(f"frame: want a number such as 1, got {frame!r}")
    if not state.frames:
        raise NoVersionError(
            f"nothing is published in {url}: want the folder of an embedding store, such as "
            "<workspace>/store, or a day that is published first"
        )


def _only_frame(state: StoreState) -> int:
    # one that is only on trial serves nobody yet, so that nobody means it without its number
    frames = [one for one in state.frames if state.stable(one)] or state.live_frames
    if len(frames) > 1:
        names = ", ".join(str(one) for one in frames)
        raise NoVersionError(
            f"the store has the frames {names}, whose vectors must not be mixed: name one"
        )
    return frames[0]
