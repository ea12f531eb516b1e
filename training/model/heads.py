"""Auxiliary heads: what a hidden state says of the next token beside its item.

::

    flat            hidden -----------------------> user vector -> item
                      '--> action, genres, ...
    hierarchical    hidden ----------------- + ---> user vector -> item
                      '--> action, genres, ..'      what they say, projected

Hierarchical heads are asked first and the item is scored with what they say, as in FM-Intent (Oh et
al., arXiv:2408.05353, sec. 4, which weighs its projections; here they are added).
Legend: R positions, D model width, C classes of one head, X classes of all heads side by side.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config.model import ModelConfig
from training.features.heads import NOT_ASKED, Source, answer_of, chosen_heads
from training.features.items import ItemFeatures
from training.features.spec import FeatureSpec
from training.features.tokens import TokenFeatures

Unread = Mapping[Source, Tensor]
"""bool[R], of "request" and "time_to_next": where nothing that a position reads tells of it."""


class Heads(nn.Module):
    """One linear map per head, all of them in one matrix."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec) -> None:
        """Raise ConfigError where a log has not what a head is asked for."""
        super().__init__()
        self.chosen = chosen_heads(config, spec)
        self.sizes = [head.num_classes for head in self.chosen]
        self.out = nn.Linear(config.model_dim, sum(self.sizes))
        self.told: nn.Linear | None = None
        if config.heads.hierarchical:
            self.told = nn.Linear(sum(self.sizes), config.model_dim, bias=False)
            nn.init.zeros_(self.told.weight)  # to begin with, the item is told nothing

    def forward(self, hidden_RD: Tensor) -> list[Tensor]:
        """Return the logits of every head, ``[R, C]`` each."""
        return list(self.out(hidden_RD).split(self.sizes, dim=1))

    def informed(self, hidden_RD: Tensor) -> Tensor:
        """Return hidden states with what hierarchical heads say of them."""
        if self.told is None:
            return hidden_RD
        says_RX = torch.cat(
            [
                logit_RC.sigmoid() if head.is_set else logit_RC.softmax(dim=1)
                for head, logit_RC in zip(self.chosen, self(hidden_RD), strict=True)
            ],
            dim=1,
        )
        informed_RD: Tensor = hidden_RD + self.told(says_RX)
        return informed_RD

    def answers(
        self,
        tokens: TokenFeatures,
        items: ItemFeatures,
        token_R: Tensor,
        item_R: Tensor,
        unread: Unread,
    ) -> list[Tensor]:
        """Return the answers of every head: of what a position may read, where it does not."""
        found = []
        for head in self.chosen:
            answer = answer_of(head, tokens, items, token_R, item_R)
            if head.is_of_request:
                answer = answer.masked_fill(~unread[head.source], NOT_ASKED)
            found.append(answer)
        return found

    def loss(self, hidden_RD: Tensor, right: Sequence[Tensor], weight_R: Tensor) -> Tensor:
        """Return the weighted sum of minus the log-likelihood of what is right, of all heads.

        Of a set it is the mean over its classes. Their sum is the larger the more classes there
        are, and drowns the item: 24 genres kept a small model from learning more than popularity.
        """
        total = hidden_RD.new_zeros(())
        for head, logit_RC, answer in zip(self.chosen, self(hidden_RD), right, strict=True):
            if head.is_set:
                of_class_RC = F.binary_cross_entropy_with_logits(logit_RC, answer, reduction="none")
                loss_R = of_class_RC.mean(dim=1) * (answer > 0).any(dim=1)
            else:
                loss_R = F.cross_entropy(logit_RC, answer, ignore_index=NOT_ASKED, reduction="none")
            total = total + (loss_R * weight_R).sum()
        return total
