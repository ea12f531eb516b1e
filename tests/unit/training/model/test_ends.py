"""The vectors that are served cost less than a forward, and are those of a forward."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.model.conftest import AS_OF, CONFIG, SHAPES
from training.contracts import Histories
from training.features.tokens import build_token_features
from training.model.batch import gather_batch
from training.packing import pack, query_windows
from training.schema import EventSchema


@pytest.mark.parametrize("block", ["transformer", "sasrec", "hstu"])
@pytest.mark.parametrize("switched", SHAPES)
@torch.inference_mode()
def test_the_ends_of_windows_are_those_of_a_whole_forward(
    make_scorer: Callable[..., Any],
    histories: Histories,
    watching: EventSchema,
    block: str,
    switched: str,
) -> None:
    config = replace(CONFIG, num_layers=3, **{"block": block} | SHAPES[switched])
    scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
    tokens = build_token_features(histories, scorer.spec, scorer.items, as_of=AS_OF)
    packed = pack(query_windows(tokens.offsets, max_len=16, users=np.arange(histories.num_users)))
    batch = gather_batch(tokens, packed)
    encoding_MD, _ = scorer.network.items(scorer.items)

    found_WD = scorer.network.at_the_ends(encoding_MD, batch)

    hidden_PD = scorer.network.hidden(encoding_MD, batch)
    expected_WD = hidden_PD[torch.from_numpy(packed.lasts)]
    torch.testing.assert_close(found_WD, expected_WD, rtol=0, atol=1e-5)
    assert expected_WD.std(dim=0).max() > 0.01  # they differ by more than the tolerance
