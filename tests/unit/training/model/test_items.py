from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.training.model.conftest import CONFIG
from training.contracts import Histories
from training.features import text
from training.model.growth import grow
from training.model.items import ItemEncoder
from training.schema import EventSchema


@pytest.fixture
def counted(make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema) -> Any:
    """A model of nine items and two without rows, of which the first was seen twice as a target."""
    config = replace(CONFIG, item_gate="age_and_count")
    scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
    scorer.network.items.start_at(torch.log1p(torch.tensor([2.0, *[0.0] * 8])) - 0.3)
    return scorer


@torch.no_grad()
def encodings(scorer: Any, hidden_M: Tensor | None = None) -> Tensor:
    encoding_MD: Tensor = scorer.network.items(scorer.items, hidden_M)[0]
    return encoding_MD


def test_the_gate_is_its_formula_written_out(counted: Any) -> None:
    encoder, numbers_MN = counted.network.items, counted.items.numbers_MN
    hidden_M = torch.arange(11) == 4

    found_MD = encodings(counted, hidden_M)

    with torch.no_grad():
        id_MD = torch.cat([encoder.id_rows, encoder.unknown_row.expand(2, -1)])
        id_MD[4] = encoder.unknown_row
        metadata_MD = encoder.content(counted.items)
        count_M1 = torch.zeros(11, 1)
        count_M1[0] = torch.log(torch.tensor(3.0)) / 8.0
        gate_MD = torch.sigmoid(
            encoder.gate(torch.cat([id_MD, metadata_MD], dim=1))
            + torch.cat([numbers_MN[:, 2:], count_M1], dim=1) @ encoder.gate_numbers.weight.T
        )
    torch.testing.assert_close(found_MD, gate_MD * id_MD + (1 - gate_MD) * metadata_MD)


def test_a_hidden_item_was_never_seen(counted: Any) -> None:
    hidden_M = torch.arange(11) == 0
    before, hidden = encodings(counted), encodings(counted, hidden_M)

    counted.network.items.log_count[0] += 1.0

    assert torch.equal(encodings(counted, hidden_M), hidden)
    changed = (encodings(counted) != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [0]


def test_an_item_without_a_count_is_new(counted: Any) -> None:
    grow(counted.network, replace(counted.items, num_vocabulary=11), seed=1)

    log_count = counted.network.items.log_count
    torch.testing.assert_close(log_count[0], torch.log(torch.tensor(3.0)))
    assert log_count[1:].tolist() == [0.0] * 10


def test_a_gate_that_was_told_nothing_yet_is_the_one_without_numbers(
    counted: Any, make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema
) -> None:
    plain = make_scorer(histories, watching, [f"i{n}" for n in range(11)])
    plain.network.load_state_dict(counted.network.state_dict(), strict=False)
    torch.nn.init.zeros_(counted.network.items.gate_numbers.weight)

    torch.testing.assert_close(encodings(counted), encodings(plain))


def test_a_text_moves_its_own_item_only(
    make_scorer: Callable[..., Any],
    histories: Histories,
    watching: EventSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Letters:
        """Word vectors that count letters."""

        def embed(self, texts: list[str]) -> np.ndarray:
            return np.array([np.bincount([*one.encode()], minlength=256) for one in texts])

    monkeypatch.setattr(text, "_encoder", Letters)
    config = replace(CONFIG, item_text="l2_supercat_256")
    scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)], config)
    before = encodings(scorer)

    texts = list(scorer.items.texts)
    texts[3] = "two friends bake cakes"
    told = replace(scorer, items=replace(scorer.items, texts=tuple(texts)))

    changed = (encodings(told) != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("row_norm", [1.0, 0.2])
def test_rows_begin_as_long_as_the_config_says(
    make_scorer: Callable[..., Any], histories: Histories, watching: EventSchema, row_norm: float
) -> None:
    scorer = make_scorer(histories, watching, [f"i{n}" for n in range(11)])
    config = replace(CONFIG, row_norm=row_norm)
    encoder = ItemEncoder(config, scorer.spec, vocabulary_size=500)

    lengths = encoder.id_rows.detach().norm(dim=1)
    assert lengths.mean() == pytest.approx(row_norm, rel=0.05)
