"""What users' pasts left in the layers, kept so that a new token costs one position.

::

    layer 1   keys  . . . .      values  . . . .        a row per user, filled from the left
    layer 2   keys  . . . .      values  . . . .

``encode`` fills it from windows, ``append`` adds a position to every user and changes it in place,
``ask`` answers a request without adding it. There is room for ``max_seq_len`` positions. A full
state is encoded again from the user's newest tokens: a model that no longer sees the first ones
also reads the later ones differently.
Shape suffixes: P positions of windows, N steps, U users, M room, H heads, K head width, D model
width, R newest
states, X several of them side by side. Sources: keys and values kept per layer (arXiv:2211.05102,
sec. 2); HSTU's (arXiv:2402.17152, sec. 3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.config.model import ModelConfig
from training.errors import TrainingError
from training.model.attention import Attention
from training.model.batch import Batch
from training.model.recommender import Recommender
from training.model.sight import sight_of_newest
from training.model.user_state import newest_of


class NoRoomError(TrainingError):
    """A cached history is as long as the model reads: encode its newest part again."""


@dataclass(frozen=True, slots=True)
class UserStates:
    """Cached layers of some users, changed in place."""

    keys: tuple[Tensor, ...]
    """Of each layer, float32[U, H, M, K]."""
    values: tuple[Tensor, ...]
    known_UM: Tensor
    """float64: ``Instants.known_P`` of the keys."""
    newest_URD: Tensor
    """The newest states, which a user's representation pools; none where it is the last one."""
    length_U: Tensor
    """int64: positions of each user."""

    @property
    def room(self) -> int:
        """Positions that may still be appended to all users."""
        return self.known_UM.shape[1] - int(self.length_U.max())


@torch.inference_mode()
def encode(network: Recommender, encoding_MD: Tensor, batch: Batch) -> UserStates:
    """Return the states of the users of a batch's windows, in their order."""
    config, layout = network.config, batch.layout
    num_users = sum(len(group.place_BL) for group in layout.groups)
    states = _empty(config, num_users)
    window_P = torch.cumsum(layout.position_P == 0, dim=0) - 1
    layers = iter(range(config.num_layers))
    sights = network.backbone.sights(layout, batch.instants)

    def mix(attention: Attention, qkv_PX: Tensor) -> Tensor:
        layer = next(layers)
        _, key_PHK, value_PHK = _heads(qkv_PX, config)
        states.keys[layer][window_P, :, layout.position_P] = key_PHK
        states.values[layer][window_P, :, layout.position_P] = value_PHK
        return layout.in_groups(qkv_PX, attention, sights)

    state_PD = network.states(encoding_MD, batch, mix=mix)
    states.known_UM[window_P, layout.position_P] = batch.instants.known_P
    states.length_U.copy_(torch.bincount(window_P, minlength=num_users))
    if network.pool is not None:
        last_U = states.length_U.cumsum(0) - 1
        states.newest_URD.copy_(newest_of(state_PD, network.pool.count)[last_U])
    return states


@torch.inference_mode()
def append(
    network: Recommender, encoding_MD: Tensor, states: UserStates, steps: Sequence[Batch]
) -> Tensor:
    """Add steps of one position per user each; return hidden states ``[N, U, D]``.

    They are those of a forward over all positions of each user. Raises NoRoomError, changing
    nothing.
    """
    if len(steps) > states.room:
        raise NoRoomError(f"there is room for {states.room} positions, got {len(steps)}")
    hidden = []
    for step in steps:
        hidden_UD, newest_URD = _next(network, encoding_MD, states, step)
        states.newest_URD.copy_(newest_URD)
        states.length_U.add_(1)
        hidden.append(hidden_UD)
    return torch.stack(hidden)


@torch.inference_mode()
def ask(network: Recommender, encoding_MD: Tensor, states: UserStates, step: Batch) -> Tensor:
    """Return hidden states ``[U, D]`` at one more position per user, which is not kept."""
    if states.room < 1:
        raise NoRoomError("there is no room for a request")
    return _next(network, encoding_MD, states, step)[0]


def _empty(config: ModelConfig, num_users: int) -> UserStates:
    num_newest = 0 if config.user_state == "last" else config.user_state_newest
    shape = (num_users, config.num_heads, config.max_seq_len, config.head_dim)
    return UserStates(
        keys=tuple(torch.zeros(shape) for _ in range(config.num_layers)),
        values=tuple(torch.zeros(shape) for _ in range(config.num_layers)),
        newest_URD=torch.zeros(num_users, num_newest, config.model_dim),
        known_UM=torch.zeros(num_users, config.max_seq_len, dtype=torch.float64),
        length_U=torch.zeros(num_users, dtype=torch.int64),
    )


def _heads(qkv_PX: Tensor, config: ModelConfig) -> tuple[Tensor, ...]:
    return qkv_PX.view(-1, 3, config.num_heads, config.head_dim).unbind(1)


def _next(
    network: Recommender, encoding_MD: Tensor, states: UserStates, step: Batch
) -> tuple[Tensor, Tensor]:
    """Return a step's hidden states and the newest states that they are of.

    The step's keys and values lie after the kept ones then, where the next step's will.
    """
    config, length_U = network.config, states.length_U
    longest, user_U = int(length_U.max()) + 1, torch.arange(len(length_U))
    states.known_UM[user_U, length_U] = step.instants.known_P
    sight = sight_of_newest(config, length_U, states.known_UM[:, :longest], step.instants)
    layers = iter(range(config.num_layers))

    def mix(attention: Attention, qkv_UX: Tensor) -> Tensor:
        layer = next(layers)
        query_UHK, key_UHK, value_UHK = _heads(qkv_UX, config)
        keys_UHMK, values_UHMK = states.keys[layer], states.values[layer]
        keys_UHMK[user_U, :, length_U] = key_UHK
        values_UHMK[user_U, :, length_U] = value_UHK
        mixed_UHCQK = attention.attend(
            query_UHK[:, :, None, None],
            keys_UHMK[:, :, None, :longest],
            values_UHMK[:, :, None, :longest],
            sight,
        )
        return mixed_UHCQK.flatten(1)

    placed = replace(step, layout=replace(step.layout, position_P=length_U.clone()))
    state_UD = network.states(encoding_MD, placed, mix=mix)
    if network.pool is None:
        return state_UD, states.newest_URD
    newest_URD = torch.cat([states.newest_URD[:, 1:], state_UD[:, None]], dim=1)
    return network.pool(newest_URD, length_U + 1), newest_URD
