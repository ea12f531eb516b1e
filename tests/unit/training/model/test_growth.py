from typing import Any

import torch

from training.model.growth import grow


def test_old_rows_keep_every_bit(scorer: Any) -> None:
    items = scorer.network.items
    rows, bias = items.id_rows.detach().clone(), items.id_bias.detach().clone()

    grow(scorer.network, vocabulary_size=14, seed=1)

    assert torch.equal(items.id_rows[:9], rows)
    assert torch.equal(items.id_bias[:9], bias)
    assert items.id_rows.shape[0] == items.id_bias.shape[0] == 14


def test_new_rows_lie_close_to_the_mean_but_apart(scorer: Any) -> None:
    items = scorer.network.items
    mean, spread = items.id_rows.detach().mean(dim=0), items.id_rows.detach().std()

    grow(scorer.network, vocabulary_size=14, seed=1)

    added = items.id_rows.detach()[9:]
    assert (added - mean).abs().max() < 0.1 * spread
    assert len(torch.unique(added, dim=0)) == 5


def test_other_weights_do_not_move(scorer: Any) -> None:
    before = {name: w.clone() for name, w in scorer.network.state_dict().items()}

    grow(scorer.network, vocabulary_size=14, seed=1)

    after = scorer.network.state_dict()
    assert all(
        torch.equal(before[name], after[name])
        for name in before
        if name not in {"items.id_rows", "items.id_bias", "items.log_count"}
    )


def test_growing_by_nothing_changes_nothing(scorer: Any) -> None:
    rows = scorer.network.items.id_rows.detach().clone()

    grow(scorer.network, vocabulary_size=9, seed=1)

    assert torch.equal(scorer.network.items.id_rows, rows)
