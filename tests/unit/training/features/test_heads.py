from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
import torch

from training.config.model import HeadsConfig, ModelConfig
from training.contracts import Histories
from training.errors import ConfigError
from training.features.catalogue import Catalogue
from training.features.heads import NOT_ASKED, answer_of, chosen_heads, heads_of
from training.features.items import build_item_features
from training.features.spec import FeatureSpec, build_spec
from training.features.tokens import NUM_DURATION_CODES, build_token_features
from training.schema import EventSchema

AS_OF = datetime(2026, 3, 3, 12, tzinfo=UTC)
Answers = Callable[[str], list[object]]


@pytest.fixture
def histories(make_histories: Callable[..., Histories]) -> Histories:
    """Three tokens of one user: of a prefix, then an hour apart."""
    made = make_histories(
        {"ana": [("A", None), ("B", 0.0), ("C", 1.0)]},
        actions={("ana", 0): (0, 0, 0), ("ana", 1): (1, 2, 0), ("ana", 2): (1, 0, 0)},
    )
    device = (("tv", "web"), np.array([-1, 1, 0], dtype=np.int32))
    return replace(
        made,
        duration_ms=np.array([0, 7_000, 10**9]),
        request_categories={"device": device},
    )


@pytest.fixture
def catalogue(make_catalogue: Callable[..., Catalogue]) -> Catalogue:
    return make_catalogue(
        [
            {"item_id": "A", "genres": ["drama", "war"], "kind": "movie"},
            {"item_id": "B", "genres": [], "kind": "show", "release_date": date(2026, 2, 1)},
            {"item_id": "C", "genres": ["war"], "kind": "movie"},
        ]
    )


@pytest.fixture
def spec(histories: Histories, catalogue: Catalogue, watching: EventSchema) -> FeatureSpec:
    return build_spec(watching, histories, catalogue)


@pytest.fixture
def answers(histories: Histories, catalogue: Catalogue, spec: FeatureSpec) -> Answers:
    """What is right of each of the three tokens."""
    items = build_item_features(histories.items, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=AS_OF)

    def of(name: str) -> list[object]:
        every = torch.arange(3)
        return list(answer_of(heads_of(spec)[name], tokens, items, every, every).tolist())

    return of


def asking(*names: str, **changes: float) -> ModelConfig:
    return ModelConfig(heads=HeadsConfig(names=names), **changes)


def test_what_the_log_and_the_catalogue_hold_can_be_asked_for(spec: FeatureSpec) -> None:
    # nobody states a language, a country or a maturity here
    assert set(heads_of(spec)) == {
        "action",
        "device",
        "duration",
        "genres",
        "kind",
        "time_to_next",
    }


@pytest.mark.parametrize(
    ("name", "right"),
    [
        # counts become what there is; the first token has no action at all
        ("action", [[0, 0, 0], [1, 1, 0], [1, 0, 0]]),
        ("duration", [NOT_ASKED, 3, NUM_DURATION_CODES - 2]),
        # the first of a user, and the one behind a prefix, follow nothing of which the end is known
        ("time_to_next", [NOT_ASKED, NOT_ASKED, 11]),
        ("kind", [0, 1, 0]),
        ("genres", [[1, 1], [0, 0], [1, 0]]),  # war, the more frequent one, then drama
        ("device", [NOT_ASKED, 1, 0]),
    ],
)
def test_an_answer_is_of_the_token_and_unknown_is_none(
    name: str, right: Sequence[object], answers: Answers
) -> None:
    assert answers(name) == right


def test_a_head_that_nothing_can_answer_is_refused_by_name(spec: FeatureSpec) -> None:
    with pytest.raises(ConfigError, match=r"want some of \['action', .*'genres'.*got 'mood'"):
        chosen_heads(asking("action", "mood"), spec)


@pytest.mark.parametrize("name", ["device", "time_to_next"])
def test_what_a_position_always_reads_cannot_be_asked_of_it(name: str, spec: FeatureSpec) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*want request_dropout > 0"):
        chosen_heads(asking("genres", name, request_dropout=0.0), spec)

    unread = asking(name, request_dropout=0.0, input_facets=False)
    assert [head.name for head in chosen_heads(unread, spec)] == [name]


def test_the_catalogues_category_wins_over_a_requests_of_one_name(spec: FeatureSpec) -> None:
    both = replace(spec, request_categories={"kind": ("a", "b", "c")})

    assert heads_of(both)["kind"].source == "item"
