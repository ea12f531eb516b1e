from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
import torch

from training.features.catalogue import Catalogue
from training.features.items import ItemFeatures, build_item_features
from training.features.spec import FeatureSpec

SPEC = FeatureSpec(
    actions=("play",),
    request_categories={},
    request_numbers={},
    item_categories={"kind": ("movie", "series")},
    genres=("drama", "crime"),
)


@pytest.fixture
def items(make_catalogue: Callable[..., Catalogue]) -> ItemFeatures:
    catalogue = make_catalogue(
        [
            {"item_id": "A", "title": "first", "kind": "series", "genres": ["drama", "crime"]},
            {
                "item_id": "B",
                "title": "second",
                "kind": "opera",
                "genres": ["ballet"],
                "runtime_s": None,
            },
            {
                "item_id": "C",
                "title": "third",
                "kind": "movie",
                "genres": None,
                "release_date": None,
            },
        ]
    )
    return build_item_features(["C", "gone", "A"], catalogue, SPEC)


def test_the_vocabulary_comes_first_and_the_rest_of_the_catalogue_follows(
    items: ItemFeatures,
) -> None:
    assert items.ids == ("C", "gone", "A", "B")
    assert items.num_vocabulary == 3
    assert items.rows(["A", "B"]).tolist() == [2, 3]


def test_what_the_spec_does_not_know_is_unknown(items: ItemFeatures) -> None:
    assert items.codes_MK.tolist() == [[1], [0], [2], [0]]
    assert items.genres_MG.tolist() == [[0, 0], [0, 0], [0.5, 0.5], [0, 0]]


def test_missing_numbers_are_marked(items: ItemFeatures) -> None:
    has_runtime, log_hours, has_age = items.numbers_MN[:, :3].T.tolist()

    assert has_runtime == [1, 0, 1, 0]
    assert log_hours == [0, 0, 0, 0]  # an hour
    assert has_age == [0, 0, 1, 1]
    assert not items.numbers_MN[1].any()
    assert torch.isfinite(items.numbers_MN).all()


def test_a_title_before_its_release_counts_as_released_today(
    make_catalogue: Callable[..., Catalogue],
) -> None:
    rows = [{"item_id": "A", "release_date": datetime(2026, 3, 2, tzinfo=UTC).date()}]
    before = make_catalogue(rows, as_of=datetime(2026, 3, 1, tzinfo=UTC))
    on_the_day = make_catalogue(rows, as_of=datetime(2026, 3, 2, tzinfo=UTC))

    one, other = (build_item_features([], c, SPEC).numbers_MN for c in (before, on_the_day))

    assert torch.equal(one, other)


def test_each_item_has_its_own_text(items: ItemFeatures) -> None:
    assert items.texts == ("third", None, "first", "second")


def test_an_item_is_described_by_anything_beside_its_id(
    make_catalogue: Callable[..., Catalogue],
) -> None:
    nothing = {"kind": "", "genres": [], "release_date": None, "runtime_s": None}
    catalogue = make_catalogue(
        [
            {"item_id": "kind", **nothing, "kind": "movie"},
            {"item_id": "genre", **nothing, "genres": ["drama"]},
            {"item_id": "release", **nothing, "release_date": date(2026, 1, 1)},
            {"item_id": "runtime", **nothing, "runtime_s": 60},
            {"item_id": "text", **nothing, "title": "A title"},
        ]
    )
    items = build_item_features(["unheard of"], catalogue, SPEC)

    assert items.is_described.tolist() == [False, True, True, True, True, True]
