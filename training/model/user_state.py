"""A user's representation from the newest hidden states, not the last one alone.

    mean         of the newest R states
    attention    each weighed by its match with the last one, and by a learned number of its age

Shape suffixes: P positions, R newest states (the last one last), D model width. Source: one
hop of attention over a sequence's states (arXiv:1703.03130, sec. 2.1), asked by the last of them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig


def newest_of(state_PD: Tensor, count: int) -> Tensor:
    """Return ``[P, R, D]``: each position's state and those of the positions before it.

    Of a position with fewer before it, the first ones are another window's or zero.
    """
    return F.pad(state_PD, (0, 0, count - 1, 0)).unfold(0, count, 1).transpose(1, 2)


class NewestStates(nn.Module):
    """One vector of a user's newest states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count = config.user_state_newest
        self.has_attention = config.user_state == "attention"
        if self.has_attention:
            self.query = nn.Linear(config.model_dim, config.model_dim, bias=False)
            self.by_age = nn.Parameter(torch.zeros(self.count))

    def forward(self, newest_PRD: Tensor, length_P: Tensor) -> Tensor:
        """Return ``[P, D]``; ``length_P`` is how many states each position has, itself included."""
        age_R = torch.arange(self.count - 1, -1, -1, device=length_P.device)
        has_it_PR = age_R < length_P[:, None]
        if self.has_attention:
            query_PD = self.query(newest_PRD[:, -1])
            score_PR = (newest_PRD @ query_PD[:, :, None])[..., 0] / math.sqrt(query_PD.shape[1])
            score_PR = (score_PR + self.by_age[age_R]).masked_fill(~has_it_PR, -math.inf)
            share_PR = score_PR.softmax(dim=1)
        else:
            share_PR = has_it_PR / has_it_PR.sum(dim=1, keepdim=True)
        mixed_P1D: Tensor = share_PR[:, None] @ newest_PRD
        return mixed_P1D[:, 0]
