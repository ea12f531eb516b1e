"""Which earlier positions each position looks at, how far back they lie and how long ago they were.

Shape suffixes: P positions of a batch, S of a group, B rows, L positions of a row, H heads, C
chunks, Q queries and M keys of a chunk (``reach.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.config.model import ModelConfig
from training.model.jagged import Group
from training.model.reach import Reach

NUM_ELAPSED_CODES = 35
"""Powers of two of seconds, the last one of 272 years, then unknown."""


@dataclass(frozen=True, slots=True)
class Instants:
    """Seconds since 1970 UTC of every position, NaN = unknown."""

    known_P: Tensor
    """float64: end of the token before, whose outcome the position reads.

    Where queries stand too, unless the request is part of what is known: what they see then says
    nothing of when the next token begins.
    """
    asked_P: Tensor
    """float64: the request that the position answers."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What queries see; B is 1 where it is the same in all rows."""

    hidden_BHCQM: Tensor
    """bool, H = 1: keys that the query must not look at."""
    distance_BCQM: Tensor
    """int64: positions between query and key, 0 where hidden."""
    elapsed_BCQM: Tensor | None
    """int64 codes of the time between query and key."""
    reach: Reach
    """How rows become queries and keys."""


def sights_of(
    config: ModelConfig, groups: Sequence[Group], instants: Instants
) -> list[Sight | None]:
    """Return what each group's rows see; None is all before, without a bias."""
    sizes = [len(group.real_S) for group in groups]
    known, asked = (torch.split(at, sizes) for at in (instants.known_P, instants.asked_P))
    return [
        _sight(config, group, Instants(*at))
        for group, *at in zip(groups, known, asked, strict=True)
    ]


def _sight(config: ModelConfig, group: Group, instants: Instants) -> Sight | None:
    reach = Reach.of(
        group.place_BL.shape[1], window=config.attention_window, num_global=config.attention_global
    )
    if _is_dense(config, reach):
        return None
    distance_CQM = reach.distance(group.place_BL.device)
    elapsed_BCQM = None
    if "time" in config.relative_bias:
        at_BLX = group.rows(torch.stack([instants.known_P, instants.asked_P], dim=1))
        known_B1L1, asked_B1L1 = (at_BL[:, None, :, None] for at_BL in at_BLX.unbind(-1))
        now_B1L1 = asked_B1L1 if config.request_time_known else known_B1L1
        elapsed_BHCQM = reach.queries(now_B1L1) - reach.keys(known_B1L1).mT
        elapsed_BCQM = codes_of(elapsed_BHCQM[:, 0])
    is_hidden_BHCQM = (distance_CQM < 0)[None, None]
    return Sight(is_hidden_BHCQM, distance_CQM.clamp(min=0)[None], elapsed_BCQM, reach)


def sight_of_newest(
    config: ModelConfig, at_U: Tensor, known_UM: Tensor, instants: Instants
) -> Sight:
    """Return what one position of each row sees: the one at ``at_U``, whose instants are given."""
    key_M = torch.arange(known_UM.shape[1], device=at_U.device)
    distance_UM = at_U[:, None] - key_M
    is_seen_UM = distance_UM >= 0
    if config.attention_window:
        is_near_UM = distance_UM < config.attention_window
        is_seen_UM &= is_near_UM | (key_M < config.attention_global)
    elapsed_UCQM = None
    if "time" in config.relative_bias:
        now_U = instants.asked_P if config.request_time_known else instants.known_P
        elapsed_UCQM = codes_of(now_U[:, None] - known_UM)[:, None, None]
    return Sight(
        ~is_seen_UM[:, None, None, None],
        distance_UM.clamp(min=0)[:, None, None],
        elapsed_UCQM,
        Reach(known_UM.shape[1], 0, 0),
    )


def _is_dense(config: ModelConfig, reach: Reach) -> bool:
    return config.block != "hstu" and not config.relative_bias and not reach.window


def codes_of(seconds: Tensor) -> Tensor:
    """Return the whole logarithm to base 2 of one second more, int64; NaN has the last code."""
    # a float's exponent is that logarithm, and NaN has the largest of all
    bits = seconds.clamp(min=0.0).add_(1.0).float().view(torch.int32)
    return (bits >> 23).sub_(127).clamp_(max=NUM_ELAPSED_CODES - 1).long()
