"""The whole model: items, input, backbone, and the two vectors whose inner product is the logit.

    user vector = [ W h, 1 ]        item vector = [ P e, bias ]        logit = user . item

Legend: B rows, L positions, M items, R chosen positions, D model width, S score width.
"""

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.features.spec import FeatureSpec
from training.model.backbone import Backbone
from training.model.batch import Batch
from training.model.inputs import InputEmbedding
from training.model.items import ItemEncoder


class Recommender(nn.Module):
    """Causal transformer over tokens, built from what the log declares."""

    def __init__(self, config: ModelConfig, spec: FeatureSpec, *, vocabulary_size: int) -> None:
        super().__init__()
        self.items = ItemEncoder(config, spec, vocabulary_size=vocabulary_size)
        self.inputs = InputEmbedding(config, spec)
        self.backbone = Backbone(config)
        self.user_out = nn.Linear(config.model_dim, config.score_dim, bias=False)
        self.item_out = nn.Linear(config.model_dim, config.score_dim, bias=False)

    def hidden(self, encoding_MD: Tensor, batch: Batch) -> Tensor:
        """Return hidden states ``[B, L, D]``."""
        x_BLD = self.inputs(encoding_MD, batch)
        hidden_BLD: Tensor = self.backbone(x_BLD, batch.segment_BL, batch.position_BL)
        return hidden_BLD

    def user_vectors(self, hidden_RD: Tensor) -> Tensor:
        """Return ``[R, S + 1]``."""
        projected_RS = self.user_out(hidden_RD)
        return torch.cat([projected_RS, torch.ones_like(projected_RS[:, :1])], dim=1)

    def item_vectors(self, encoding_MD: Tensor, bias_M: Tensor) -> Tensor:
        """Return ``[M, S + 1]``."""
        return torch.cat([self.item_out(encoding_MD), bias_M[:, None]], dim=1)
