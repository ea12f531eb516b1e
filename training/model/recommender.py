"""The whole model: items, input, backbone, and the two vectors whose inner product is the logit.

    user vector = [ W h, 1 ]        item vector = [ P e, bias ]        logit = user . item

A tied output has no W and no P: the hidden state meets the very vectors that the input reads.
What hierarchical heads say is part of the user vector, so whoever makes one has it.
Legend: P positions, M items, R chosen positions, D model width, S score width.
"""

import torch
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.features.spec import FeatureSpec
from training.model.attention import Mix
from training.model.backbone import Backbone
from training.model.batch import Batch
from training.model.heads import Heads
from training.model.inputs import InputEmbedding
from training.model.items import ItemEncoder
from training.model.user_state import NewestStates, newest_of


def _out(config: ModelConfig) -> nn.Module:
    if config.tied_output:
        return nn.Identity()
    return nn.Linear(config.model_dim, config.score_dim, bias=False)


class Recommender(nn.Module):
    """Causal transformer over tokens, built from what the log declares."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.items = ItemEncoder(config, spec, vocabulary_size=vocabulary_size)
        self.inputs = InputEmbedding(config, spec)
        self.backbone = Backbone(config)
        self.pool = NewestStates(config) if config.user_state != "last" else None
        self.has_bias = config.item_bias
        self.user_out, self.item_out = _out(config), _out(config)
        # last: what is drawn for them changes no other weight
        self.heads = Heads(config, spec) if config.heads.names else None

    def hidden(
        self, encoding_MD: Tensor, batch: Batch, draw: torch.Generator | None = None
    ) -> Tensor:
        """Return hidden states ``[P, D]``; dropout draws from ``draw``, where there is one."""
        return self._pooled(self.states(encoding_MD, batch, draw), batch)

    def at_the_ends(self, encoding_MD: Tensor, batch: Batch) -> Tensor:
        """Return the hidden states of each window's last position, ``[W, D]``, without dropout.

        They are those of ``hidden`` but for rounding, for about two thirds of the work.
        """
        if self.pool is not None:
            return self.hidden(encoding_MD, batch)[batch.layout.lasts]
        x_PD = self.inputs(encoding_MD, batch)
        return self.backbone.at_the_ends(x_PD, batch.layout, batch.instants)

    def states(
        self,
        encoding_MD: Tensor,
        batch: Batch,
        draw: torch.Generator | None = None,
        *,
        mix: Mix | None = None,
    ) -> Tensor:
        """Return the backbone's states ``[P, D]``, which ``pool`` makes hidden states of."""
        x_PD = self.inputs(encoding_MD, batch, draw)
        state_PD: Tensor = self.backbone(x_PD, batch.layout, batch.instants, draw, mix=mix)
        return state_PD

    def taught(
        self, encoding_MD: Tensor, batch: Batch, draw: torch.Generator | None = None
    ) -> list[tuple[Tensor, float]]:
        """Return the hidden states that a loss is taken of, and how much each one counts.

        The first are those of ``hidden``, with weight 1; those of each layer before the last one
        follow, where they have a weight (deep supervision, arXiv:1409.5185, sec. 2).
        """
        x_PD = self.inputs(encoding_MD, batch, draw)
        layers = self.backbone.layers(x_PD, batch.layout, batch.instants, draw)
        taught = [(self._pooled(self.backbone.served(layers), batch), 1.0)]
        if self.config.layer_loss:
            taught += [
                (self._pooled(self.backbone.norm(layer_PD), batch), self.config.layer_loss)
                for layer_PD in layers[:-1]
            ]
        return taught

    def _pooled(self, state_PD: Tensor, batch: Batch) -> Tensor:
        if self.pool is None:
            return state_PD
        newest_PRD = newest_of(state_PD, self.pool.count)
        pooled_PD: Tensor = self.pool(newest_PRD, batch.layout.position_P + 1)
        return pooled_PD

    def user_vectors(self, hidden_RD: Tensor) -> Tensor:
        """Return ``[R, S + 1]``, or ``[R, S]`` of a model without biases."""
        if self.heads is not None:
            hidden_RD = self.heads.informed(hidden_RD)
        projected_RS: Tensor = self.user_out(hidden_RD)
        if not self.has_bias:
            return projected_RS
        return torch.cat([projected_RS, torch.ones_like(projected_RS[:, :1])], dim=1)

    def item_vectors(self, encoding_MD: Tensor, bias_M: Tensor) -> Tensor:
        """Return ``[M, S + 1]``, or ``[M, S]`` of a model without biases."""
        projected_MS: Tensor = self.item_out(encoding_MD)
        return torch.cat([projected_MS, bias_M[:, None]], dim=1) if self.has_bias else projected_MS
