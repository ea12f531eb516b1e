"""What a run learns: the windows it reads and what each position is asked for.

The position of a target is asked for its own item and for the next few targets after it, with
less and less weight: the published vector has to answer for a day, not for one click.

::

    tokens      A   b   C   D        capitals are targets
    asked at A  A       C   D
    asked at b                       read, never asked
    asked at C          C   D

Legend: T tokens, K targets per position.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.config.run import WindowChoice
from training.config.targets import TargetConfig, UtilityConfig
from training.contracts import UNKNOWN_INSTANT, Histories, Int64
from training.errors import ConfigError, ContractError
from training.features.instants import HOUR_US
from training.features.items import ItemFeatures
from training.features.tokens import TokenFeatures
from training.packing import Windows, pack, slid_windows
from training.schema import EventSchema
from training.stopping import KeptBack
from training.tokens.targets import microseconds

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

_DAY_US = 24 * HOUR_US

MIXED_NEWEST_SHARE = 0.5
"""Of "mixed" windows: how often a long history is read at its end (arXiv:2409.14517 mixes too)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Windows to read, and what the position of each token is asked for."""

    items: ItemFeatures
    tokens: TokenFeatures
    windows: Windows
    """The newest of each history, or in ``of_epoch`` what that epoch reads, as long."""
    target_TK: Tensor
    """int64: rows of ``items``."""
    weight_TK: Tensor
    """float32: 0 = not asked."""
    kept_back: KeptBack | None = None
    """What some users are asked for while the others are learned from."""
    window_choice: WindowChoice = "newest"
    """Which part of a long history an epoch reads."""
    share_M: Tensor = field(init=False)
    """Each item's share of all targets, none 0: one is added to every count."""

    def __post_init__(self) -> None:
        """Count."""
        asked = self.target_TK[self.weight_TK > 0]
        counts = torch.bincount(asked, minlength=len(self.items.ids)) + 1.0
        object.__setattr__(self, "share_M", counts / counts.sum())

    @property
    def num_targets(self) -> int:
        """Pairs of a position in the windows and a target that it is asked for."""
        current = torch.from_numpy(pack(self.windows).current_P)
        return int((self.weight_TK[current] > 0).sum())

    @property
    def asks_anything(self) -> bool:
        """Whether a position is asked in some epoch: windows that slide reach every one."""
        if self.window_choice == "newest":
            return self.num_targets > 0
        return bool((self.weight_TK > 0).any())

    def of_epoch(self, epoch: int, *, seed: int) -> "Problem":
        """Return what an epoch learns from: as many windows in every epoch, each as long."""
        if self.window_choice == "newest":
            return self
        share = MIXED_NEWEST_SHARE if self.window_choice == "mixed" else 0.0
        offsets = self.tokens.offsets
        windows = slid_windows(self.windows, offsets, epoch=epoch, seed=seed, newest_share=share)
        return replace(self, windows=windows)


def age_weights(histories: Histories, config: TargetConfig, *, as_of: datetime) -> Float32:
    """Return what a target counts by its age, float32[T]; raises ContractError after ``as_of``."""
    is_timed = histories.first_at != UNKNOWN_INSTANT
    first_at = np.where(is_timed, histories.first_at, microseconds(as_of))
    if (first_at > microseconds(as_of)).any():
        raise ContractError(f"training: tokens begin after the data ends, at {as_of}")
    age_days = (microseconds(as_of) - first_at) / _DAY_US
    weights = np.where(is_timed, 0.5 ** (age_days / config.half_life_days), config.prefix_weight)
    return weights.astype(np.float32)


def worth(
    weights: Float32, histories: Histories, schema: EventSchema, config: UtilityConfig
) -> Float32:
    """Return ``weights`` times what each target is worth, in the mean over the targets one.

    Targets are where ``weights`` is above 0. Raises ConfigError where tokens count no such action.
    """
    if config == UtilityConfig():
        return weights
    names = [name for name, _ in config.actions]
    unknown = sorted(set(names) - set(schema.token_actions))
    if unknown:
        raise ConfigError(f"utility: want some of {schema.token_actions}, got {unknown[0]!r}")
    factor = 1.0 + config.log_minutes * np.log1p(histories.duration_ms / 60_000.0)
    if names:
        columns = [schema.token_actions.index(name) for name in names]
        holds = histories.action_counts[:, columns] > 0
        largest = np.where(holds, [of_action for _, of_action in config.actions], 0.0).max(axis=1)
        factor *= np.where(holds.any(axis=1), largest, 1.0)
    is_target = weights > 0
    mean = factor[is_target].sum() / max(1, is_target.sum())
    # where no target is worth anything, none is left to be asked for
    return (weights * factor / (mean or 1.0)).astype(np.float32)


def ask(
    histories: Histories,
    item_rows: Int64,
    weights: Float32,
    config: TargetConfig,
) -> tuple[Tensor, Tensor]:
    """Return the targets (rows of items) of every position and their weights, both ``[T, K]``.

    ``weights`` is 0 at tokens that are never asked for, by no position. Their own positions are not
    asked at all: on KuaiRand that is 40 % less work for equal quality.
    """
    T = histories.num_tokens
    user_end = np.repeat(histories.offsets[1:], np.diff(histories.offsets))
    is_target = weights > 0
    next_target = _next_at_or_after(is_target)
    position = np.arange(T)
    target_TK = np.zeros((T, config.num_targets), dtype=np.int64)
    weight_TK = np.zeros((T, config.num_targets), dtype=np.float32)
    at = position
    for k in range(config.num_targets):
        found = next_target[at]
        is_same_user = found < user_end
        found = np.where(is_same_user, found, 0)
        apart_us = _apart_us(histories, position, found)
        is_near = _is_near(position, found, apart_us, config)
        is_asked = is_target & is_same_user & is_near
        ahead = 0.5 ** (np.maximum(apart_us, 0) / (config.ahead_half_life_hours * HOUR_US))
        target_TK[:, k] = np.where(is_asked, item_rows[found], 0)
        weight_TK[:, k] = np.where(is_asked, weights[found] * config.decay**k * ahead, 0.0)
        at = np.where(is_same_user, found + 1, T)
    return torch.from_numpy(target_TK), torch.from_numpy(weight_TK)


def _next_at_or_after(is_target: Bool) -> Int64:
    """Return int64[T+1]: the first target at or after each token, T + 1 where there is none."""
    none = len(is_target) + 1
    position = np.where(is_target, np.arange(len(is_target)), none)
    following = np.minimum.accumulate(np.append(position, none)[::-1])[::-1]
    return np.ascontiguousarray(following)


def _apart_us(histories: Histories, position: Int64, found: Int64) -> Int64:
    """Return the time between the tokens, -1 where only the order is known."""
    here, there = histories.first_at[position], histories.first_at[found]
    is_timed = (here != UNKNOWN_INSTANT) & (there != UNKNOWN_INSTANT)
    apart: Int64 = np.where(
        is_timed, np.where(is_timed, there, 0) - np.where(is_timed, here, 0), -1
    )
    return apart


def _is_near(position: Int64, found: Int64, apart_us: Int64, config: TargetConfig) -> Bool:
    """Return whether each found target lies within the window, by time or, without, by order."""
    in_time = apart_us < config.window_hours * HOUR_US
    in_order = found - position < config.window_tokens
    near: Bool = (found == position) | np.where(apart_us >= 0, in_time, in_order)
    return near


def log_popularity(problem: Problem, *, num_rows: int) -> Tensor:
    """Return the logarithm of each weight row's share of the targets, centred, float32[num_rows].

    The bias of a softmax starts best at the log prior of its classes; one is added to every count.
    """
    counts = torch.bincount(
        problem.target_TK.flatten(),
        weights=problem.weight_TK.flatten().double(),
        minlength=num_rows,
    )[:num_rows]
    logarithm = torch.log1p(counts)
    return (logarithm - logarithm.mean()).float()
