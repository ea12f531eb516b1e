"""Which earlier positions each position looks at, how far back they lie and how long ago they were.

A row of L positions is cut into C chunks of Q queries, which meet M keys each. Dense attention has
one chunk, of all positions::

    dense    queries 0 1 2 3 4 5    keys 0 1 2 3 4 5

Shape suffixes: P positions of a batch, S of a group, B rows, H heads, K head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config import ModelConfig
from training.model.jagged import Group

NUM_ELAPSED_CODES = 35
"""Powers of two of seconds, the last one of 272 years, then unknown."""


@dataclass(frozen=True, slots=True)
class Instants:
    """Seconds since 1970 UTC of every position, NaN = unknown."""

    known_P: Tensor
    """float64: end of the token before, whose outcome the position reads."""
    asked_P: Tensor
    """float64: the request that the position answers."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What queries see; B is 1 where it is the same in all rows."""

    hidden_BHCQM: Tensor
    """bool, H = 1: keys that the query must not look at."""
    distance_CQM: Tensor
    """int64: positions between query and key, 0 where hidden."""
    elapsed_BCQM: Tensor | None
    """int64 codes of the time between query and key."""

    def queries(self, x_BHLK: Tensor) -> Tensor:
        """Return ``[B, H, C, Q, K]``."""
        return x_BHLK[:, :, None]

    def keys(self, x_BHLK: Tensor) -> Tensor:
        """Return ``[B, H, C, M, K]``."""
        return x_BHLK[:, :, None]

    def rows(self, x_BHCQK: Tensor) -> Tensor:
        """Return ``[B, H, L, K]`` of what each query got."""
        return x_BHCQK[:, :, 0]


def sights_of(
    config: ModelConfig, groups: Sequence[Group], instants: Instants
) -> list[Sight | None]:
    """Return what each group's rows see; None is all before, without a bias."""
    if not config.relative_bias and config.block == "transformer":
        return [None] * len(groups)
    sizes = [len(group.real_S) for group in groups]
    known, asked = (torch.split(at, sizes) for at in (instants.known_P, instants.asked_P))
    return [
        _sight(config, group, Instants(*at))
        for group, *at in zip(groups, known, asked, strict=True)
    ]


def _sight(config: ModelConfig, group: Group, instants: Instants) -> Sight:
    at_L = torch.arange(group.place_BL.shape[1], device=group.place_BL.device)
    distance_CQM = (at_L[:, None] - at_L)[None]
    elapsed_BCQM = None
    if "time" in config.relative_bias:
        at_BLX = group.rows(torch.stack([instants.known_P, instants.asked_P], dim=1))
        elapsed_BCQM = elapsed_codes(config, *at_BLX[:, None].unbind(-1))
    return Sight((distance_CQM < 0)[None, None], distance_CQM.clamp(min=0), elapsed_BCQM)


def elapsed_codes(config: ModelConfig, known_BCM: Tensor, asked_BCQ: Tensor) -> Tensor:
    """Return int64 ``[B, C, Q, M]``: the time from what each key knows to the query.

    A query stands at its request where that is part of what is known, else at the token before
    it: what it sees then says nothing of when the next token begins.
    """
    now_BCQ = asked_BCQ if config.request_time_known else known_BCM
    return codes_of(now_BCQ[..., None] - known_BCM[:, :, None])


def codes_of(seconds: Tensor) -> Tensor:
    """Return the whole logarithm to base 2 of one second more, int64; NaN has the last code."""
    # a float's exponent is that logarithm, and NaN has the largest of all
    bits = seconds.clamp(min=0.0).add_(1.0).float().view(torch.int32)
    return (bits >> 23).sub_(127).clamp_(max=NUM_ELAPSED_CODES - 1).long()
