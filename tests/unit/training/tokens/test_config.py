import json
from typing import Any

import pytest

from training.errors import ConfigError
from training.events.kuairand import KUAIRAND_SCHEMA
from training.schema import ActionRole, EventSchema
from training.tokens.config import TokenizerConfig


def test_a_config_survives_json() -> None:
    config = TokenizerConfig(
        merge_gap_s=60,
        num_buckets=4,
        roles=(ActionRole.TARGET, ActionRole.NEGATIVE),
        dropped_actions=("open",),
        strength=("play", "dislike"),
    )

    assert TokenizerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_what_an_earlier_release_wrote_still_opens() -> None:
    written = '{"format_version": 1, "merge_gap_s": 1800, "num_buckets": 16}'

    assert TokenizerConfig.from_json(json.loads(written)) == TokenizerConfig(
        merge_gap_s=1800, num_buckets=16
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"merge_gap_s": -1},
        {"num_buckets": 6},
        {"num_buckets": 0},
        {"merge_gap_s": float("inf")},
        {"merge_gap_s": "3600"},
        {"merge_gap_s": True},
        {"num_buckets": 8.0},
        {"roles": (ActionRole.CONTEXT,)},
        {"roles": tuple(ActionRole)},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TokenizerConfig(**wrong)


@pytest.mark.parametrize("change", [{"format_version": 3}, {"more": 1}, {"num_buckets": None}])
def test_json_of_another_layout_is_refused(change: dict[str, object]) -> None:
    value = {**TokenizerConfig().to_json(), **change}
    if value["num_buckets"] is None:
        del value["num_buckets"]

    with pytest.raises(ConfigError, match="tokenizer config"):
        TokenizerConfig.from_json(value)


def test_by_default_tokens_see_the_schema_as_it_is(schema: EventSchema) -> None:
    assert TokenizerConfig().schema_of_tokens(schema) == schema


def test_what_a_config_drops_is_ignored_in_the_schema_of_its_tokens(schema: EventSchema) -> None:
    no_context = TokenizerConfig(roles=(ActionRole.TARGET, ActionRole.NEGATIVE))
    no_dislike = TokenizerConfig(dropped_actions=("dislike",))

    assert no_context.schema_of_tokens(schema).token_actions == ("play", "dislike")
    assert no_dislike.schema_of_tokens(schema).token_actions == ("play", "open")
    narrowed = no_dislike.schema_of_tokens(schema)
    assert narrowed.actions_with(ActionRole.IGNORED) == ("shown", "dislike")
    assert (narrowed.facets, narrowed.exposure) == (schema.facets, "shown")
    assert no_dislike.schema_of_tokens(narrowed) == narrowed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dropped_actions": ("stare",)}, "'stare' is none of shown, play, open, dislike"),
        ({"dropped_actions": ("play",)}, "no action has the role 'target'"),
        ({"strength": ("play", "open")}, "strength: want play, open, dislike in some order"),
    ],
)
def test_a_config_that_does_not_fit_the_schema_is_refused(
    config: dict[str, Any], message: str, schema: EventSchema
) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenizerConfig(**config).schema_of_tokens(schema)


def test_a_negative_action_is_the_strongest_unless_the_config_says_otherwise(
    schema: EventSchema,
) -> None:
    stated = TokenizerConfig(strength=("open", "play", "dislike"))

    assert TokenizerConfig().strongest_first(schema) == ("dislike", "play", "open")
    assert TokenizerConfig().strongest_first(KUAIRAND_SCHEMA)[:3] == ("hate", "forward", "follow")
    assert stated.strongest_first(schema) == ("open", "play", "dislike")
