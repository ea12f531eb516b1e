"""Feast as a projection of the log: rebuilt from it, and confirmed by reading it back.

::

    log ──fold──► state ──► history parts ──► online rows, read back ──► one apply ──► confirm

After an erasure, what the log no longer means is removed: old files, rows, and their traces.

Nothing here decides anything; whatever a crash leaves behind, the next ``reconcile`` completes.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, SIDES, Float32, Side
from embedding_store.erasing import erased_among, remove_erased_versions
from embedding_store.history import rebuild
from embedding_store.store import EmbeddingStore
from feature_repo.errors import NotServedError, OnlineRowsError
from feature_repo.folder import FeastFolder
from feature_repo.forgetting import forget, is_due
from feature_repo.lookup import open_features
from feature_repo.served import (
    Served,
    ServedVersion,
    live_sides,
    read_state,
    served_frames,
    service_name,
)
from lake.digests import digest_bytes
from lake.lock import exclusive_lock

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.rendering import Rendering

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a reconciliation found and did."""

    log_seq: int
    history: tuple[str, ...]
    """Parts of the served history that were written."""
    live_views: tuple[str, ...]
    written: dict[str, int]
    """Online rows written, by view; empty when every row was there."""
    is_applied: bool
    """Whether the registry had to change."""
    damaged: tuple[str, ...]
    """What is lost or left out, since a version's files are not those published; with remedy."""
    seconds: float

    @property
    def is_noop(self) -> bool:
        """Whether Feast already showed what the log holds."""
        return not (self.history or self.written or self.is_applied)


def reconcile(workspace: Path, *, erasure_key: str = "") -> Reconciled:
    """Make the workspace's Feast folder show what its log holds; a second call changes nothing.

    A damaged version that no alias needs does not stop it: see ``served.Served``.

    Raises RenderingError when the log cannot be read, is empty, or holds less than the registry,
    or when ``stable`` or ``canary`` is damaged; OnlineRowsError when rows do not read back. While
    another process applies this one waits, and then mostly finds nothing to do. ``erasure_key`` is
    the secret under which users were erased; another one is refused where it is needed.
    """
    folder = FeastFolder.of(workspace)
    embeddings = EmbeddingStore(folder.store, erasure_key)
    started = time.perf_counter()
    what = f"the feature registry in {folder.path}"
    from feature_repo.registry import writing

    with exclusive_lock(folder.lock, what=what, is_waiting=True), writing(folder) as session:
        state = read_state(embeddings)
        readable = served_frames(embeddings, state)
        folder.prepare()
        store, rendering = _opened(folder, readable)
        from feature_repo.online_tables.owner import claim

        identity = workspace_identity(embeddings)
        claim(store, identity)
        if session is not None:
            session.claim(store, identity)
        history = rebuild(embeddings)
        has_erased = is_due(folder, len(state.erasures))
        erased = partial(erased_among, embeddings, state) if has_erased else None
        served, written = _write_online(store, rendering, readable, erased)
        from feature_repo.apply import apply_rendering
        from feature_repo.online_tables.opening import forget_retired
        from feature_repo.permissions import readers_of
        from feature_repo.rendering import render

        rendering = render(served.frames, log_seq=state.seq, readers=readers_of(state))
        live = [version.view(side) for version, side in live_sides(served.frames)]
        forget_retired(store, set(live))
        is_applied = apply_rendering(store, rendering, live=live, session=session)
        logger.info("step registry-applied: %s", is_applied)
        if has_erased:
            remove_erased_versions(embeddings, state)
            forget(folder, live, len(state.erasures))
    report = Reconciled(
        log_seq=state.seq,
        history=tuple(path.relative_to(embeddings.root).as_posix() for path in history.written),
        live_views=tuple(rendering.views),
        written=written,
        is_applied=is_applied,
        damaged=(*(str(one) for one in served.damaged), *history.lost),
        seconds=time.perf_counter() - started,
    )
    logger.info("reconciled Feast with the log at entry %d: %s", state.seq, report)
    for damage in report.damaged:
        logger.warning("%s", damage)
    return report


def require_covering_log(workspace: Path) -> None:
    """Raise RenderingError when the registry was rendered from a longer log than there is.

    To be asked before a person's change is appended: behind a log that lost its end, the change
    would take the place of what was lost.
    """
    from feature_repo.apply import registered_log_seq, registered_views
    from feature_repo.registry import open_for_reading
    from feature_repo.rendering import check_log_covers

    folder = FeastFolder.of(workspace)
    if not folder.has_registry():
        return
    store = open_for_reading(folder)
    tags = [view.tags for view in registered_views(store).values()]
    state = read_state(EmbeddingStore(folder.store))
    check_log_covers(state, tags, log_seq=registered_log_seq(store))


def confirm(workspace: Path, *, frame: int = 1, alias: str = "stable") -> dict[str, Any]:
    """Return what consumers of ``alias`` get, once it is proven to be what the log says.

    Reads as consumers do, with our library and with nothing but Feast, through the FeatureService,
    and compares with the version's files bit by bit. Raises OnlineRowsError.
    """
    from feature_repo.online import OnlineRows, sample_rows
    from feature_repo.registry import open_for_reading

    folder = FeastFolder.of(workspace)
    embeddings = EmbeddingStore(folder.store)
    served = served_frames(embeddings, read_state(embeddings))
    version = next((one.aliases.get(alias) for one in served.frames if one.number == frame), None)
    if version is None:
        raise NotServedError(
            f"the log gives {alias} of frame {frame} no version: promote one first"
        )
    confirmed: dict[str, Any] = {
        "service": service_name(frame, alias),
        "version": version.published.name,
        "digest": version.published.digest,
    }
    features = open_features(folder.path, frame=frame, alias=alias).pinned()
    if features.version != version.published.name:
        raise OnlineRowsError(
            f"{alias} of frame {frame} is {version.published.name}, but Feast serves "
            f"{features.version}: run `marquee reconcile`"
        )
    store = open_for_reading(folder)
    look_up = {"user": features.users, "item": features.items}
    for side in SIDES:
        ids, vectors = sample_rows(version, side)
        view = store.get_feature_view(version.view(side))
        rows = OnlineRows(store=store, version=version, side=side, view=view)
        got = look_up[side](ids)  # first: it knows what to say of lost rows
        vectors = rows.over(ids, vectors)
        plain = _plainly(folder, service_name(frame, alias, side), side, ids)
        if not (np.array_equal(got.vectors, vectors) and np.array_equal(plain, vectors)):
            raise OnlineRowsError(
                f"{alias} of frame {frame}: {side} embeddings do not read back as those of "
                f"{version.published.name}: run `marquee reconcile`"
            )
        confirmed[f"{side} rows"] = version.manifest.rows(side)
        confirmed[f"{side} rows read back"] = len(ids)
    return confirmed


def _plainly(folder: FeastFolder, service: str, side: Side, ids: Sequence[str]) -> Float32:
    """Return what a consumer with nothing but Feast gets, in a store opened for it alone."""
    from feature_repo.registry import open_plainly

    store = open_plainly(folder)
    answer = store.get_online_features(
        features=store.get_feature_service(service),
        entity_rows={ID_COLUMNS[side]: list(ids)},
        full_feature_names=True,
    ).to_dict()
    vectors = answer[f"{side}_embedding__{EMBEDDING}"]
    return np.array([one for one in vectors if one is not None], dtype=np.float32)


def _opened(folder: FeastFolder, served: Served) -> "tuple[FeatureStore, Rendering]":
    from feature_repo.apply import registered_log_seq, registered_views
    from feature_repo.permissions import readers_of
    from feature_repo.registry import open_for_applying
    from feature_repo.rendering import check_log_covers, render

    store = open_for_applying(folder)
    tags = [view.tags for view in registered_views(store).values()]
    check_log_covers(served.state, tags, log_seq=registered_log_seq(store))
    readers = readers_of(served.state)
    return store, render(served.frames, log_seq=served.state.seq, readers=readers)


def workspace_identity(embeddings: EmbeddingStore) -> str:
    """Return a name of the workspace that no other has, wherever it is moved: its log's start."""
    first = next(iter(embeddings.log.entries()))
    return digest_bytes(f"{first.entry_id} {first.recorded_at}".encode())[:16]


def _write_online(
    store: "FeatureStore",
    rendering: "Rendering",
    served: Served,
    erased: Callable[[list[str]], Collection[str]] | None,
) -> tuple[Served, dict[str, int]]:
    """Bring every live version's rows online and read them back, before any service names them.

    Returns what is proven, and the number of rows written by view.
    """
    from feature_repo.online import OnlineRows

    written: dict[str, int] = {}
    were_served = {name for frame in served.frames for _, name in frame.switches}

    def complete(version: ServedVersion, side: Side) -> None:
        view = rendering.views[version.view(side)]
        rows = OnlineRows(store=store, version=version, side=side, view=view)
        if erased is not None:
            rows.remove_others(erased if side == "user" else lambda _: ())
        was_served = version.published.name in were_served
        if num_rows := rows.complete(was_served=was_served):
            written[view.name] = num_rows

    return served.proven(complete), written
