"""Fresh user embeddings, written over those of a version that is served, until the next version.

::

    who acted a minute ago ─► encoded by the version's model ─► push_users(version="v3")
        ─► refused unless v3 is stable or canary ─► rows of v3, noted beside them

A push changes online rows alone: files, served history and the log stay as they are, so a rollback
and the next version read other rows, and a training frame has what the version published. What is
noted lets ``reconcile`` keep what was pushed, write it again, and take out who was erased.

Feast's own ``PushSource`` is not offered: ``FeatureStore.push`` of 0.67 writes to every view of the
source, whatever version the vectors are of, asks no erasure, and notes nothing, so that the next
``reconcile`` would find its rows damaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from embedding_store.contracts import (
    EmbeddingShard,
    Float32,
    asked_ids,
    embedding_table,
    strings,
)
from embedding_store.erasing import erased_among
from embedding_store.errors import ContractError, ErasedUsersError, MixedVersionsError
from embedding_store.state import StoreState
from embedding_store.store import EmbeddingStore
from feature_repo.errors import NotServedError
from feature_repo.folder import FeastFolder
from feature_repo.projection import workspace_identity
from feature_repo.registry import writing
from feature_repo.served import read_state
from lake.lock import exclusive_lock

if TYPE_CHECKING:
    from feature_repo.online_tables.table import OnlineTable


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push wrote."""

    version: str
    num_users: int


def push_users(
    workspace: Path,
    ids: Sequence[str],
    vectors: Float32,
    *,
    version: str,
    frame: int = 1,
    erasure_key: str = "",
) -> Pushed:
    """Let the online rows of ``version`` answer for users with these vectors, in all later reads.

    Users may be new to the version. All are written, or none.

    Args:
        workspace: whose Feast folder is written to; waits while another process applies.
        ids: users, each once.
        vectors: float32[users, dim], in the frame's coordinates: as the version's model makes
            them, then through the transform of its users.
        version: name of the version whose model made the vectors.
        frame: the version's frame.
        erasure_key: the secret under which users were erased.

    Raises MixedVersionsError unless the version is ``stable`` or ``canary``, ErasedUsersError when
    a user was erased, ContractError for ids or vectors that no version could have, NotServedError
    when the version has no online rows.
    """
    folder = FeastFolder.of(workspace)
    embeddings = EmbeddingStore(folder.store, erasure_key)
    with exclusive_lock(folder.lock, what=str(folder.path), is_waiting=True), writing(folder):
        state = read_state(embeddings)
        require_current(state, version, frame=frame)
        table = _table(
            folder, workspace_identity(embeddings), f"user_embedding__f{frame}__{version}"
        )
        shard = _shard(ids, vectors, table.layout.dim)
        users = strings(shard.ids)
        if state.erasures and (erased := erased_among(embeddings, state, users)):
            raise ErasedUsersError(
                f"{len(erased)} of the {len(users)} users were erased: push the others alone"
            )
        table.push(table.layout.keys(users), table.layout.values(shard.vectors))
    return Pushed(version, len(users))


def require_current(state: StoreState, version: str, *, frame: int) -> None:
    """Raise MixedVersionsError unless the version is what an alias of the frame means now."""
    meant = [one.name for one in (state.stable(frame), state.canary(frame)) if one is not None]
    if version not in meant:
        raise MixedVersionsError(
            f"vectors of {version} cannot be pushed: frame {frame} serves "
            f"{' and '.join(meant) or 'nothing'} now; encode the users with its model"
        )


def _shard(ids: Sequence[str], vectors: Float32, dim: int) -> EmbeddingShard:
    asked = asked_ids(ids)
    if vectors.dtype != np.float32 or vectors.shape != (len(asked), dim):
        raise ContractError(
            f"pushed vectors: want float32[{len(asked)}, {dim}], got "
            f"{vectors.dtype}{list(vectors.shape)}"
        )
    names = strings(asked)
    if "" in names:
        raise ContractError("pushed users: want ids, got an empty one, which stands for nobody")
    order = sorted(range(len(names)), key=lambda row: names[row].encode())
    table = embedding_table("user", asked.take(pa.array(order, pa.int64())), vectors[order])
    return EmbeddingShard(table, "user", dim)


def _table(folder: FeastFolder, workspace: str, view: str) -> "OnlineTable":
    from feature_repo.apply import registered_views
    from feature_repo.online_tables.layout import layout_of
    from feature_repo.online_tables.opening import open_table
    from feature_repo.online_tables.owner import claim
    from feature_repo.registry import open_for_applying

    if folder.has_registry():
        store = open_for_applying(folder)
        found = registered_views(store).get(view)
        if found is not None:
            claim(store, workspace)
            table = open_table(store, view, layout_of("user", found.tags))
            if table.count() is not None:
                return table
    raise NotServedError(f"{view} has no online rows: run `marquee reconcile`")
