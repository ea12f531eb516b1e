from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tests.unit.training.model.conftest import AS_OF, CONFIG
from training.config.model import ModelConfig
from training.contracts import Histories
from training.features.tokens import build_token_features
from training.model.batch import gather_batch
from training.model.recommender import Recommender
from training.model.user_state import NewestStates, newest_of
from training.packing import newest_windows, pack
from training.schema import EventSchema

SHAPE = ModelConfig(model_dim=4, num_heads=2, user_state_newest=3)
STATES_PD = torch.tensor([[2.0, 0], [4, 0], [0, 9], [0, 3], [0, 0], [8, 0]]).repeat(1, 2)
LENGTH_P = torch.tensor([1, 2, 1, 2, 3, 4])  # two windows: of two and of four positions


def test_the_mean_is_of_the_newest_states_of_the_own_window() -> None:
    pool = NewestStates(replace(SHAPE, user_state="mean"))

    found = pool(newest_of(STATES_PD, 3), LENGTH_P)

    expected = [[2, 0], [3, 0], [0, 9], [0, 6], [0, 4], [8 / 3, 1]]
    torch.testing.assert_close(found[:, :2], torch.tensor(expected))


def test_attention_weighs_by_match_and_age() -> None:
    pool = NewestStates(replace(SHAPE, user_state="attention"))
    torch.nn.init.normal_(pool.query.weight)
    torch.nn.init.normal_(pool.by_age)

    found = pool(newest_of(STATES_PD, 3), LENGTH_P)

    last, own = STATES_PD[5], STATES_PD[3:6]
    match = own @ (pool.query.weight @ last) / 2.0
    share = (match + pool.by_age.flip(0)).softmax(dim=0)
    torch.testing.assert_close(found[5], share @ own)
    torch.testing.assert_close(found[2], STATES_PD[2])


def test_each_layer_is_taught_as_if_it_were_the_last(
    make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema
) -> None:
    config = replace(CONFIG, num_layers=2, layer_loss=0.25)
    scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
    tokens = build_token_features(histories, scorer.spec, scorer.items, as_of=AS_OF)
    batch = gather_batch(tokens, pack(newest_windows(tokens.offsets, max_len=16)))
    with torch.no_grad():
        encoding_MD, _ = scorer.network.items(scorer.items)
        taught = scorer.network.taught(encoding_MD, batch)

        cut = Recommender(replace(config, num_layers=1), scorer.spec, vocabulary_size=9)
        cut.load_state_dict(scorer.network.state_dict(), strict=False)
        scorer.network.config = replace(config, layer_loss=0.0)
        (served,) = scorer.network.taught(encoding_MD, batch)
        assert torch.equal(served[0], taught[0][0])
        assert [weight for _, weight in taught] == [1.0, 0.25]
        assert torch.equal(taught[0][0], scorer.network.hidden(encoding_MD, batch))
        assert torch.equal(taught[1][0], cut.hidden(encoding_MD, batch))
