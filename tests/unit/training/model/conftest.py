from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config.model import HeadsConfig, ModelConfig
from training.contracts import Histories
from training.features.catalogue import Catalogue
from training.features.items import ItemFeatures, build_item_features
from training.features.spec import FeatureSpec, build_spec
from training.features.tokens import build_token_features
from training.model.batch import gather_batch
from training.model.jagged import Layout
from training.model.recommender import Recommender
from training.packing import newest_windows, pack
from training.schema import EventSchema

AS_OF = datetime(2026, 3, 4, tzinfo=UTC)
CONFIG = ModelConfig(
    model_dim=16, score_dim=7, num_heads=2, hidden_dim=24, facet_dim=4, max_seq_len=16
)
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "sasrec": {"block": "sasrec"},
    "hstu": {"block": "hstu"},
    "window": {"attention_window": 4, "attention_global": 2, "relative_bias": ("position",)},
    "mean": {"user_state": "mean", "user_state_newest": 3},
    "attention": {"user_state": "attention", "user_state_newest": 5, "layer_mix": True},
    "counted": {"item_gate": "age_and_count"},
    "time": {"relative_bias": ("position", "time")},
    "heads": {"heads": HeadsConfig(names=("action", "genres", "device"), hierarchical=True)},
    "request time": {"relative_bias": ("position", "time"), "request_time_known": True},
    "facets": {"request_facets": "all", "request_numbers": "coded", "request_calendar": True},
    "waves": {"request_facets": "all", "request_numbers": "periodic"},
}


@dataclass(frozen=True)
class Scorer:
    """A model with random weights over some items."""

    network: Recommender
    spec: FeatureSpec
    items: ItemFeatures

    @torch.no_grad()
    def hidden_of_tokens(self, histories: Histories, *, together: float = 1.25) -> Tensor:
        """Return the hidden state of the position of every token, ``[T, D]``."""
        tokens = build_token_features(histories, self.spec, self.items, as_of=AS_OF)
        packed = pack(newest_windows(tokens.offsets, max_len=16))
        encoding_MD, _ = self.network.items(self.items)
        layout = Layout.of(packed.lengths_W, together=together)
        hidden_PD = self.network.hidden(encoding_MD, gather_batch(tokens, packed, layout))
        hidden_TD = torch.empty_like(hidden_PD)
        hidden_TD[packed.current_P] = hidden_PD
        return hidden_TD

    @torch.no_grad()
    def scores_of_tokens(self, histories: Histories) -> Tensor:
        """Return the score of every item at the position of every token, ``[T, M]``."""
        user_TS = self.network.user_vectors(self.hidden_of_tokens(histories))
        return user_TS @ self.network.item_vectors(*self.network.items(self.items)).T


@pytest.fixture
def histories(make_histories: Callable[..., Histories]) -> Histories:
    """Users of every length up to the window, one with a prefix."""
    draw = np.random.default_rng(3)
    return make_histories(
        {
            f"user {n:02d}": [(f"i{draw.integers(9)}", float(hour)) for hour in range(n)]
            for n in range(1, 17)
        }
        | {"with prefix": [("i1", None), ("i2", None), ("i3", 1.0), ("i4", 30.0)]}
    )


@pytest.fixture
def make_scorer(make_catalogue: Callable[..., Catalogue]) -> Callable[..., Scorer]:
    """Build a model for some histories; the last two of its items have no weight row."""

    def make(
        histories: Histories,
        schema: EventSchema,
        items: Sequence[str],
        config: ModelConfig = CONFIG,
    ) -> Scorer:
        catalogue = make_catalogue(
            [
                {"item_id": item, "runtime_s": 600 * (n % 20 + 1), "genres": [f"g{n % 3}"]}
                for n, item in enumerate(items)
            ]
        )
        spec = build_spec(schema, histories, catalogue, config)
        vocabulary = items[:-2]
        torch.manual_seed(0)
        network = Recommender(config, spec, vocabulary_size=len(vocabulary)).eval()
        for parameter in network.parameters():  # no zero hides a dependency
            torch.nn.init.normal_(parameter, std=0.3)
        return Scorer(network, spec, build_item_features(vocabulary, catalogue, spec))

    return make


@pytest.fixture(params=SHAPES)
def scorer(
    request: pytest.FixtureRequest,
    histories: Histories,
    make_scorer: Callable[..., Scorer],
    watching: EventSchema,
) -> Scorer:
    config = replace(CONFIG, **SHAPES[request.param])
    return make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
