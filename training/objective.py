"""What one step minimises: the loss of the targets that packed windows ask for.

Legend: P positions, R asked positions, K targets per position, M items, D model width, S score
width.
"""

import torch
from torch import Tensor

from training.config import RunConfig
from training.model.batch import gather_batch
from training.model.loss import cross_entropy
from training.model.recommender import Recommender
from training.model.sampled import Asked, sampled_loss
from training.packing import Packed
from training.problem import Problem


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
    batch = gather_batch(problem.tokens, packed)
    if config.model.input_facets:
        hidden_P = torch.rand(len(batch.item_P), generator=draw) < config.model.request_dropout
        batch = batch.hide_requests(hidden_P)
    encoding_MD, bias_M = network.items(problem.items, hidden_M)
    # only positions whose token is a target are asked
    current = torch.from_numpy(packed.current_P)
    weight_PK = problem.weight_TK[current]
    places = weight_PK.sum(dim=1).nonzero()[:, 0]
    item_MS = network.item_vectors(encoding_MD, bias_M)
    total = item_MS.new_zeros(())
    for hidden_PD, share in network.taught(encoding_MD, batch, draw):
        asked = Asked(
            network.user_vectors(hidden_PD[places]),
            item_MS,
            problem.target_TK[current[places]],
            weight_PK[places],
        )
        if config.loss.kind == "full":
            loss = cross_entropy(
                asked.user_RS,
                asked.item_MS,
                asked.target_RK,
                asked.weight_RK,
                chunk=config.chunk_targets,
            )
        else:
            loss = sampled_loss(asked, config=config.loss, share_M=problem.share_M, draw=draw)
        total = total + share * loss
    return total
