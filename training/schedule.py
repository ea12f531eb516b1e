"""The step size over a run, and the optimizer that it drives."""

import math
from collections.abc import Collection

import torch
from torch import nn

from training.config.optim import OptimConfig


def step_size(step: int, num_steps: int, optim: OptimConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then what ``optim.schedule`` says."""
    warmup = max(1, round(optim.warmup_share * num_steps))
    if step < warmup:
        return optim.learning_rate * (step + 1) / warmup
    if optim.schedule == "constant":
        return optim.learning_rate
    if optim.schedule == "inverse_sqrt":
        return optim.learning_rate * math.sqrt(warmup / (step + 1))
    progress = (step - warmup) / max(1, num_steps - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return optim.learning_rate * (optim.final_share + (1.0 - optim.final_share) * cosine)


def make_optimizer(weights: Collection[nn.Parameter], optim: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only."""
    matrices = [weight for weight in weights if weight.ndim >= 2]
    others = [weight for weight in weights if weight.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": optim.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=optim.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
