"""What one step minimises: the loss of the targets that packed windows ask for.

The item's loss is of all targets of a position; what its heads say is of the first one, which is
its own token.
Legend: P positions, R asked positions, K targets per position, M items, D model width, S score
width.
"""

import torch
from torch import Tensor

from training.config.model import ModelConfig
from training.config.run import RunConfig
from training.model.batch import Batch, gather_batch
from training.model.heads import Unread
from training.model.loss import cross_entropy
from training.model.recommender import Recommender
from training.model.sampled import Asked, sampled_loss
from training.packing import Packed
from training.problem import Problem

NO_GAP_SHARE = 0.5
"""Of the positions whose request is hidden, where a head is asked for the time to the next token:
whose gap is hidden too. The others are read as in service, where the gap is known."""


def loss_of(
    network: Recommender,
    problem: Problem,
    packed: Packed,
    config: RunConfig,
    hidden_M: Tensor,
    draw: torch.Generator,
) -> Tensor:
    """Return the weighted sum of the losses of all targets of packed windows.

    Some requests and the item ids in ``hidden_M`` are hidden, as they will be in service.
    """
    batch, unread_P = read_in_training(problem, packed, config.model, draw)
    encoding_MD, bias_M = network.items(problem.items, hidden_M)
    # only positions whose token is a target are asked
    current = torch.from_numpy(packed.current_P)
    weight_PK = problem.weight_TK[current]
    places = weight_PK.sum(dim=1).nonzero()[:, 0]
    token_R, weight_RK = current[places], weight_PK[places]
    target_RK = problem.target_TK[token_R]
    item_MS = network.item_vectors(encoding_MD, bias_M)
    heads, right = network.heads, list[Tensor]()
    if heads is not None:
        unread_R = {source: mask_P[places] for source, mask_P in unread_P.items()}
        right = heads.answers(problem.tokens, problem.items, token_R, target_RK[:, 0], unread_R)
    total = item_MS.new_zeros(())
    for hidden_PD, share in network.taught(encoding_MD, batch, draw):
        hidden_RD = hidden_PD[places]
        asked = Asked(network.user_vectors(hidden_RD), item_MS, target_RK, weight_RK)
        loss = _item_loss(asked, problem, config, draw)
        if heads is not None:
            of_heads = heads.loss(hidden_RD, right, weight_RK[:, 0])
            loss = loss + config.model.heads.weight * of_heads
        total = total + share * loss
    return total


def read_in_training(
    problem: Problem, packed: Packed, config: ModelConfig, draw: torch.Generator
) -> tuple[Batch, Unread]:
    """Return what the network reads of packed windows, and what it does not, bool[P] each.

    Where a head is asked for the time to the next token, that time is hidden with some requests.
    """
    batch = gather_batch(problem.tokens, packed)
    if not config.input_facets:
        nothing_P = torch.ones(len(batch.item_P), dtype=torch.bool)
        return batch, {"request": nothing_P, "time_to_next": nothing_P}
    drawn_P = torch.rand(len(batch.item_P), generator=draw)
    no_request_P = drawn_P < config.request_dropout
    no_gap_P = drawn_P < config.request_dropout * NO_GAP_SHARE
    batch = batch.hide_requests(no_request_P)
    if "time_to_next" in config.heads.names:
        batch = batch.hide_gaps(no_gap_P)
    return batch, {"request": no_request_P, "time_to_next": no_gap_P}


def _item_loss(asked: Asked, problem: Problem, config: RunConfig, draw: torch.Generator) -> Tensor:
    if config.loss.kind != "full":
        return sampled_loss(asked, config=config.loss, share_M=problem.share_M, draw=draw)
    return cross_entropy(
        asked.user_RS,
        asked.item_MS,
        asked.target_RK,
        asked.weight_RK,
        chunk=config.chunk_targets,
    )
