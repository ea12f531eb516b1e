import json

import pytest

from training.errors import ConfigError
from training.tokens.config import TokenizerConfig


def test_a_config_survives_json() -> None:
    config = TokenizerConfig(merge_gap_s=60, num_buckets=4)

    assert TokenizerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_what_an_earlier_release_wrote_still_opens() -> None:
    written = '{"format_version": 1, "merge_gap_s": 1800, "num_buckets": 16}'

    assert TokenizerConfig.from_json(json.loads(written)) == TokenizerConfig(
        merge_gap_s=1800, num_buckets=16
    )


@pytest.mark.parametrize("wrong", [{"merge_gap_s": -1}, {"num_buckets": 6}, {"num_buckets": 0}])
def test_a_config_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TokenizerConfig(**wrong)


@pytest.mark.parametrize("change", [{"format_version": 2}, {"more": 1}, {"num_buckets": None}])
def test_json_of_another_layout_is_refused(change: dict[str, object]) -> None:
    value = {**TokenizerConfig().to_json(), **change}
    if value["num_buckets"] is None:
        del value["num_buckets"]

    with pytest.raises(ConfigError, match="tokenizer config"):
        TokenizerConfig.from_json(value)
