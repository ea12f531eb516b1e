"""What fine-tuning forgets: the loss on older targets that its replay left out.

Asked before and after: the same targets among the same items, requests hidden as when vectors are
served. Legend: T tokens, M items, P positions, R asked ones, S score width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from training.config.run import RunConfig
from training.contracts import Int64
from training.features.items import ItemFeatures
from training.features.tokens import TokenFeatures
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.packing import Windows, newest_windows, pack

Bool = npt.NDArray[np.bool_]

NUM_USERS = 512
"""Users who are asked, drawn once; all of them, where there are fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSlice:
    """Windows that end before the day, and which of their targets are asked for."""

    windows: Windows
    is_asked_T: Bool


def old_slice(
    offsets: Int64, is_left_out_T: Bool, ends: Int64, *, max_len: int, seed: Sequence[int]
) -> OldSlice | None:
    """Return a sample of users with their older targets; None where every one was replayed.

    ``seed`` orders the users whatever was replayed, so the same ones are asked under any replay.

    Args:
        offsets: int64[U+1], tokens of each user.
        is_left_out_T: older targets that are not learned from.
        ends: int64[U], where the day begins in each history.
        max_len: positions of the longest window.
        seed: of the sample.
    """
    num_before = np.append(0, np.cumsum(is_left_out_T))
    starts = np.maximum(offsets[:-1], ends - max_len)
    is_askable = num_before[ends] > num_before[starts]
    order = np.random.default_rng(seed).permutation(len(ends))
    users = order[is_askable[order]][:NUM_USERS]
    if not len(users):
        return None
    windows = newest_windows(offsets, max_len=max_len, users=users, ends=ends[users])
    return OldSlice(windows=windows, is_asked_T=is_left_out_T)


@torch.inference_mode()
def old_loss(
    network: Recommender,
    items: ItemFeatures,
    tokens: TokenFeatures,
    old: OldSlice,
    config: RunConfig,
) -> float:
    """Return the mean cross-entropy of the slice's targets over all items, in nats."""
    encoding_MD, bias_M = network.items(items)
    item_MS = network.item_vectors(encoding_MD, bias_M)
    total, num_targets = 0.0, 0
    at_once = max(1, config.batch_tokens // config.model.max_seq_len)
    for start in range(0, len(old.windows), at_once):
        packed = pack(old.windows, np.arange(start, min(start + at_once, len(old.windows))))
        batch = gather_batch(tokens, packed)
        batch = batch.hide_requests(torch.ones(len(batch.item_P), dtype=torch.bool))
        places = torch.from_numpy(np.flatnonzero(old.is_asked_T[packed.current_P]))
        user_RS = network.user_vectors(network.hidden(encoding_MD, batch)[places])
        target_R = tokens.item_T[torch.from_numpy(packed.current_P)[places]]
        for part in torch.split(torch.arange(len(places)), config.chunk_targets):
            logit_CM = user_RS[part] @ item_MS.T
            total += float(F.cross_entropy(logit_CM, target_R[part], reduction="sum"))
        num_targets += len(places)
    return total / num_targets
