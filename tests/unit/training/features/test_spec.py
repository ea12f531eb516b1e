import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from training.config.model import ModelConfig
from training.contracts import Histories
from training.errors import ConfigError
from training.features import spec as spec_module
from training.features.catalogue import Catalogue
from training.features.spec import FeatureSpec, build_spec, recode
from training.schema import EventSchema


@pytest.fixture
def spec(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> FeatureSpec:
    histories = make_histories({"ana": [("A", hour) for hour in range(5)]})
    histories = replace(
        histories,
        request_categories={"device": (("tv", "web"), np.array([1, 1, 0, -1, -1], np.int32))},
        request_numbers={"position": np.array([1.0, 3.0, np.nan, 1.0, 3.0])},
    )
    catalogue = make_catalogue(
        [
            {"item_id": "A", "kind": "movie", "genres": ["drama", "crime"]},
            {"item_id": "B", "kind": "movie", "genres": ["drama"]},
            {"item_id": "C", "kind": "game", "genres": None},
        ]
    )
    return build_spec(watching, histories, catalogue)


def test_categories_are_in_order_of_frequency(spec: FeatureSpec) -> None:
    assert spec.request_categories == {"device": ("web", "tv")}
    assert spec.item_categories["kind"] == ("movie", "game")
    assert spec.item_categories["maturity"] == ()
    assert spec.genres == ("drama", "crime")


def test_numbers_are_scaled_by_what_is_known(spec: FeatureSpec) -> None:
    assert spec.request_numbers == {"position": (2.0, 1.0)}


def test_json_gives_the_spec_back(spec: FeatureSpec) -> None:
    read = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))

    assert read == spec
    assert list(read.item_categories) == list(spec.item_categories)


@pytest.fixture
def whole(make_histories: Callable[..., Histories], make_catalogue: Callable[..., Catalogue],
          watching: EventSchema) -> FeatureSpec:  # fmt: skip
    """The spec of a model that reads everything of requests."""
    histories = make_histories({"ana": [("A", 24 * n) for n in (0, 2)], "bo": [("A", None)]})
    histories = replace(
        histories,
        request_sets={"tags": ((("x",), ("x", "y"), ()), np.array([0, 1, 1], np.int32))},
    )
    config = ModelConfig(request_facets="all", request_numbers="coded", request_calendar=True)
    return build_spec(watching, histories, make_catalogue([{"item_id": "A"}]), config)


def test_sets_instants_and_the_calendar_are_read_on_request(
    spec: FeatureSpec, whole: FeatureSpec
) -> None:
    assert whole.request_sets == {"tags": ("x", "y")}
    assert whole.request_instants == ("opened",)
    assert whole.is_coding_numbers
    noon = 20_514.5  # 2026-03-02 in days since 1970
    assert whole.trend == (noon + 1, 1.0)
    assert whole.num_number_columns == 2
    assert (spec.request_sets, spec.request_instants, spec.trend) == ({}, (), None)
    assert spec.code_sizes == (3, 25, 8)
    assert spec.num_number_columns == 2


def test_the_whole_spec_comes_back_from_json(whole: FeatureSpec) -> None:
    read = FeatureSpec.from_json(json.loads(json.dumps(whole.to_json(), sort_keys=True)))

    assert read == whole
    assert read.code_sizes == whole.code_sizes


def test_a_spec_of_an_earlier_release_opens(spec: FeatureSpec) -> None:
    value = spec.to_json()
    for name in ("request_sets", "request_instants", "is_coding_numbers", "trend"):
        del value[name]

    assert FeatureSpec.from_json(value) == spec


def test_damaged_json_is_refused(spec: FeatureSpec) -> None:
    value = spec.to_json()
    del value["genres"]

    with pytest.raises(ConfigError, match="genres"):
        FeatureSpec.from_json(value)


def test_a_category_that_the_spec_does_not_hold_is_unknown() -> None:
    codes = np.array([0, 1, 2, -1], dtype=np.int32)

    assert recode(["tv", "watch", "web"], codes, ["web", "tv"]).tolist() == [2, 0, 1, 0]


def test_only_the_most_frequent_categories_get_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec_module, "MAX_CATEGORIES", 2)

    assert spec_module._frequent(["a", "b", "c"], np.array([1, 3, 2])) == ("b", "c")
