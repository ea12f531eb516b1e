from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from training.features.catalogue import Catalogue
from training.features.items import ItemFeatures, build_item_features
from training.model.growth import NUM_ALIKE, grow

WAYS = ("mean", "random", "metadata", "unknown")


@pytest.fixture
def items(scorer: Any, make_catalogue: Callable[..., Catalogue]) -> ItemFeatures:
    """Fourteen items, nine of them old; the last one is not in the catalogue."""
    names = [f"i{n}" for n in range(14)]
    catalogue = make_catalogue(
        [
            {"item_id": name, "runtime_s": 600 * (n % 20 + 1), "genres": [f"g{n % 3}"]}
            for n, name in enumerate(names[:-1])
        ]
    )
    return build_item_features(names, catalogue, scorer.spec)


def added(scorer: Any, items: ItemFeatures, new_items: Any = "mean") -> Tensor:
    """Return the rows of the five new items."""
    grow(scorer.network, items, seed=1, new_items=new_items)
    return scorer.network.items.id_rows.detach()[9:]


@pytest.mark.parametrize("new_items", WAYS)
def test_old_rows_keep_every_bit(scorer: Any, items: ItemFeatures, new_items: Any) -> None:
    encoder = scorer.network.items
    rows, bias = encoder.id_rows.detach().clone(), encoder.id_bias.detach().clone()

    grow(scorer.network, items, seed=1, new_items=new_items)

    assert torch.equal(encoder.id_rows[:9], rows)
    assert torch.equal(encoder.id_bias[:9], bias)
    assert encoder.id_rows.shape[0] == encoder.id_bias.shape[0] == 14
    assert encoder.id_rows.requires_grad
    assert torch.isfinite(encoder.id_rows).all()


@pytest.mark.parametrize("new_items", WAYS)
def test_no_two_new_rows_are_equal(scorer: Any, items: ItemFeatures, new_items: Any) -> None:
    assert len(torch.unique(added(scorer, items, new_items), dim=0)) == 5


@pytest.mark.parametrize("new_items", WAYS[:3])
def test_the_bias_of_a_new_item_is_close_to_the_mean(
    scorer: Any, items: ItemFeatures, new_items: Any
) -> None:
    bias = scorer.network.items.id_bias.detach().clone()

    grow(scorer.network, items, seed=1, new_items=new_items)

    found = scorer.network.items.id_bias.detach()[9:]
    assert (found - bias.mean()).abs().max() < 0.1 * bias.std()


def test_new_rows_lie_close_to_the_mean_but_apart(scorer: Any, items: ItemFeatures) -> None:
    old = scorer.network.items.id_rows.detach().clone()

    assert (added(scorer, items) - old.mean(dim=0)).abs().max() < 0.1 * old.std()


def test_random_rows_are_as_wide_as_those_of_a_model_that_begins(
    scorer: Any, items: ItemFeatures
) -> None:
    width = scorer.network.config.model_dim
    many = replace(items, num_vocabulary=4000)

    grow(scorer.network, many, seed=1, new_items="random")

    rows = scorer.network.items.id_rows.detach()[9:]
    assert rows.std().item() == pytest.approx(width**-0.5, rel=0.02)
    assert rows.mean().abs().item() < 0.01


def test_a_described_item_starts_between_the_old_ones_most_alike(
    scorer: Any, items: ItemFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.model.growth.NUM_ALIKE", 2)
    old = scorer.network.items.id_rows.detach().clone()
    with torch.no_grad():
        content = scorer.network.items.content(items)

    found = added(scorer, items, "metadata")

    for new, row in enumerate(found[:4], start=9):
        distance = (content[:9] - content[new]).norm(dim=1)
        between = old[distance.argsort()[:2]].mean(dim=0)
        assert (row - between).abs().max() < 0.1 * old.std()


def test_an_item_that_nothing_is_known_of_starts_at_the_mean(
    scorer: Any, items: ItemFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.model.growth.NUM_ALIKE", 2)
    old = scorer.network.items.id_rows.detach().clone()

    found = added(scorer, items, "metadata")

    assert (found[4] - old.mean(dim=0)).abs().max() < 0.1 * old.std()
    assert (found[:4] - old.mean(dim=0)).abs().amax(dim=1).min() > 0.1 * old.std()


def test_where_no_old_item_is_described_all_start_at_the_mean(
    scorer: Any, items: ItemFeatures, make_catalogue: Callable[..., Catalogue]
) -> None:
    old = scorer.network.items.id_rows.detach().clone()
    unknown = build_item_features(items.ids, make_catalogue([{"item_id": "i12"}]), scorer.spec)

    found = added(scorer, unknown, "metadata")

    assert (found - old.mean(dim=0)).abs().max() < 0.1 * old.std()


def test_a_small_vocabulary_has_fewer_items_alike(scorer: Any, items: ItemFeatures) -> None:
    old = scorer.network.items.id_rows.detach().clone()

    assert NUM_ALIKE > 9
    assert (added(scorer, items, "metadata") - old.mean(dim=0)).abs().max() < 0.1 * old.std()


@torch.no_grad()
def test_an_item_that_starts_as_an_unknown_one_is_read_as_before(
    scorer: Any, items: ItemFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.model.growth.NOISE_SHARE", 0.0)
    before = scorer.network.items(items)

    grow(scorer.network, items, seed=1, new_items="unknown")

    for one, other in zip(before, scorer.network.items(items), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("new_items", WAYS)
def test_other_weights_do_not_move(scorer: Any, items: ItemFeatures, new_items: Any) -> None:
    before = {name: w.clone() for name, w in scorer.network.state_dict().items()}

    grow(scorer.network, items, seed=1, new_items=new_items)

    after = scorer.network.state_dict()
    assert all(
        torch.equal(before[name], after[name])
        for name in before
        if name not in {"items.id_rows", "items.id_bias", "items.log_count"}
    )


@pytest.mark.parametrize("new_items", WAYS)
def test_growing_by_nothing_changes_nothing(scorer: Any, new_items: Any) -> None:
    rows = scorer.network.items.id_rows.detach().clone()

    grow(scorer.network, scorer.items, seed=1, new_items=new_items)

    assert torch.equal(scorer.network.items.id_rows, rows)
