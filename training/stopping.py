"""Users who are asked while a model learns, so that it can stop when it has learned enough.

The newest target of each is kept back: no position of theirs is asked for it while learning, and it
is what they are asked for. They see what is served: the past, and no request.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lake.hashing import salted_buckets
from training.contracts import Histories, Int64
from training.features.items import ItemFeatures
from training.features.tokens import TokenFeatures
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.packing import Windows, newest_windows, pack

_AT_ONE_TIME = 256
"""Users: bounds the scores that exist."""

_TOP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBack:
    """What was kept back of A users, and what they had seen before."""

    items: ItemFeatures
    tokens: TokenFeatures
    windows: Windows
    item_A: Int64
    """Rows of ``items``."""

    def ask(self, network: Recommender) -> float:
        """Return the mean NDCG@10 over all items, ties against the model.

        Asked without a gradient, but not in inference mode: what sharded weights are put together
        in is used again to learn.
        """
        encoding_MD, bias_M = network.items(self.items)
        item_MS = network.item_vectors(encoding_MD, bias_M)
        total = 0.0
        for start in range(0, len(self.item_A), _AT_ONE_TIME):
            end = min(start + _AT_ONE_TIME, len(self.item_A))
            packed = pack(self.windows, np.arange(start, end))
            batch = gather_batch(self.tokens, packed)
            batch = batch.hide_requests(torch.ones(len(batch.item_P), dtype=torch.bool))
            user_AS = network.user_vectors(network.at_the_ends(encoding_MD, batch))
            score_AM = user_AS @ item_MS.T
            own_A1 = score_AM.gather(1, torch.from_numpy(self.item_A[packed.window_W])[:, None])
            rank_A = (score_AM >= own_A1).sum(dim=1)  # 1 = first
            gain_A = torch.where(rank_A <= _TOP, 1.0 / torch.log2(rank_A + 1.0), 0.0)
            total += float(gain_A.sum())
        return total / len(self.item_A)


def newest_targets(histories: Histories, is_target: npt.NDArray[np.bool_], *, one_in: int) -> Int64:
    """Return the newest target of one user in ``one_in``, int64, sorted; the same ones always."""
    is_chosen = salted_buckets(histories.user_ids, one_in, salt="stopping") == 0
    user_of = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
    token = np.flatnonzero(is_target & is_chosen[user_of])
    _, last = np.unique(user_of[token][::-1], return_index=True)
    newest: Int64 = token[::-1][last]
    return newest


def keep_back(items: ItemFeatures, tokens: TokenFeatures, kept: Int64, *, max_len: int) -> KeptBack:
    """Return the question whose answers are the tokens ``kept``."""
    users = np.searchsorted(tokens.offsets, kept, side="right") - 1
    windows = newest_windows(tokens.offsets, max_len=max_len, users=users, ends=kept + 1)
    return KeptBack(items=items, tokens=tokens, windows=windows, item_A=tokens.item_T.numpy()[kept])
