"""Vectors from a trained model, as they are served: no request, only the past and the instant."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import torch

from training.artifact import Model
from training.contracts import Histories, Int64
from training.cuts import newest_of_users
from training.features.catalogue import Catalogue
from training.features.items import ItemFeatures, build_item_features
from training.features.tokens import build_token_features
from training.model.batch import gather_batch
from training.packing import NOTHING, pack, query_windows
from training.shards import threads
from training.tokens.targets import microseconds

Float32 = npt.NDArray[np.float32]

POSITIONS_PER_FORWARD = 8192
"""Bounds memory: of a model of 64 dimensions so many positions peak at about 150 MB a thread."""


def item_features(model: Model, catalogue: Catalogue) -> ItemFeatures:
    """Return the features of all items that the model or the catalogue knows."""
    return build_item_features(model.vocabulary.item_ids, catalogue, model.spec)


@torch.inference_mode()
def item_vectors(model: Model, items: ItemFeatures) -> Float32:
    """Return ``[M, dim]`` in the order of ``items``."""
    encoding_MD, bias_M = model.network.items(items)
    vectors: Float32 = model.network.item_vectors(encoding_MD, bias_M).numpy()
    return vectors


def user_vectors(
    model: Model,
    items: ItemFeatures,
    histories: Histories,
    *,
    users: Sequence[str],
    as_of: datetime,
) -> Float32:
    """Return ``[len(users), dim]``: each user at ``as_of``; one without history has the default."""
    position = {user: at for at, user in enumerate(histories.user_ids)}
    chosen = np.array([position.get(user, NOTHING) for user in users], dtype=np.int64)
    vectors = np.empty((len(users), model.config.model.published_dim), dtype=np.float32)
    is_known = chosen != NOTHING
    if is_known.any():
        at_U = np.full(is_known.sum(), microseconds(as_of))
        vectors[is_known] = _query(model, items, histories, chosen[is_known], at_U)
    if not is_known.all():
        vectors[~is_known] = default_vector(model, items, histories, as_of=as_of)
    return vectors


def vectors_at(model: Model, items: ItemFeatures, histories: Histories, at_U: Int64) -> Float32:
    """Return ``[U, dim]``: of each history, also an empty one, at an instant of its own, µs UTC."""
    return _query(model, items, histories, np.arange(histories.num_users), at_U)


def default_vector(
    model: Model, items: ItemFeatures, like: Histories, *, as_of: datetime
) -> Float32:
    """Return ``[dim]``: the vector of a user without history; ``like`` fixes the columns."""
    at_U = np.array([microseconds(as_of)])
    vector: Float32 = vectors_at(model, items, _no_history(like), at_U)[0]
    return vector


def _no_history(like: Histories) -> Histories:
    return replace(
        like,
        user_ids=("",),
        offsets=np.zeros(2, dtype=np.int64),
        item_code=like.item_code[:0],
        first_at=like.first_at[:0],
        last_at=like.last_at[:0],
        duration_ms=like.duration_ms[:0],
        num_events=like.num_events[:0],
        action_counts=like.action_counts[:0],
        **like.requests_at(slice(0)),
    )


def _query(
    model: Model, items: ItemFeatures, histories: Histories, users: Int64, at_U: Int64
) -> Float32:
    """Return the vector at the query that ends each user's history, at that user's instant.

    Each forward has a thread of its own, so their number changes no bit.
    """
    network, max_len = model.network, model.config.model.max_seq_len
    with torch.inference_mode():
        encoding_MD, _ = network.items(items)
    rows = items.rows(histories.items).numpy().astype(np.int32)
    histories = replace(histories, items=items.ids, item_code=rows[histories.item_code])
    vectors = np.empty((len(users), model.config.model.published_dim), dtype=np.float32)

    def forward(chosen: Int64) -> None:
        # the first position reads the outcome of the token before, and nothing of those before that
        newest = newest_of_users(histories, users[chosen], max_len)
        tokens = build_token_features(newest, model.spec, items, as_of=at_U[chosen])
        windows = query_windows(tokens.offsets, max_len=max_len, users=np.arange(len(chosen)))
        packed = pack(windows)
        with torch.inference_mode():  # a thread has its own
            hidden_WD = network.at_the_ends(encoding_MD, gather_batch(tokens, packed))
            of_queries = network.user_vectors(hidden_WD)
        vectors[chosen[packed.window_W]] = of_queries.numpy()

    # users of similar histories go together: little of a forward is padding then
    lengths = np.minimum(np.diff(histories.offsets)[users] + 1, max_len)
    order = np.argsort(lengths, kind="stable")
    share = np.cumsum(lengths[order]) // POSITIONS_PER_FORWARD
    with threads(model.config.num_threads) as each:
        each(forward, np.split(order, np.flatnonzero(np.diff(share)) + 1))
    return vectors
