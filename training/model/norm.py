"""The norm before every branch. Source of RMSNorm: arXiv:1910.07467."""

from torch import nn

from training.config.model import ModelConfig


def norm_of(config: ModelConfig) -> nn.Module:
    """Return a norm over the model's width."""
    return (nn.RMSNorm if config.norm == "rms" else nn.LayerNorm)(config.model_dim)
