import json
from dataclasses import fields, replace
from typing import Any

import pytest

from training.config.model import HeadsConfig, ModelConfig
from training.config.optim import OptimConfig, StoppingConfig
from training.config.run import ReplayConfig, RunConfig
from training.config.targets import TargetConfig, UtilityConfig
from training.errors import ConfigError
from training.recipes import demo


def test_json_gives_the_config_back() -> None:
    shape = ModelConfig(
        relative_bias=("position", "time"),
        heads=HeadsConfig(names=("action", "genres"), hierarchical=True),
    )
    utility = UtilityConfig(actions=(("play", 2.0),), log_minutes=0.5)
    config = replace(demo(), model=shape, targets=TargetConfig(utility=utility))

    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_config_of_the_first_release_opens() -> None:
    value = RunConfig().to_json()
    later = {"block", "relative_bias", "request_time_known"}
    later |= {"attention_window", "attention_global"}
    later |= {
        "row_norm",
        "user_state",
        "user_state_newest",
        "layer_mix",
        "layer_loss",
        "item_gate",
        "item_text",
        "request_facets",
        "request_numbers",
        "request_calendar",
        "heads",
    }
    del value["targets"]["utility"]
    value["model"] = {name: of for name, of in value["model"].items() if name not in later}
    for name in ("windows", "new_items"):
        del value[name]

    assert RunConfig.from_json(value) == RunConfig()


def test_an_unknown_field_in_json_is_named() -> None:
    value = RunConfig().to_json()
    value["optim"]["momentum"] = 0.9

    with pytest.raises(ConfigError, match="momentum"):
        RunConfig.from_json(value)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        (ModelConfig, {"num_heads": 3}),
        (ModelConfig, {"num_layers": 0}),
        (ModelConfig, {"dropout": 1.0}),
        (ModelConfig, {"max_seq_len": 1}),
        (ModelConfig, {"block": "rnn"}),
        (ModelConfig, {"relative_bias": ("time",)}),
        (ModelConfig, {"request_time_known": True}),
        (ModelConfig, {"attention_window": -1}),
        (ModelConfig, {"attention_global": 1}),
        (ModelConfig, {"user_state_newest": 0}),
        (ModelConfig, {"layer_loss": -0.1}),
        (ModelConfig, {"row_norm": 0.0}),
        (ModelConfig, {"item_text": "l2_supercat_256", "item_metadata": False}),
        (ModelConfig, {"item_gate": "age_and_count", "item_metadata": False}),
        (ModelConfig, {"request_numbers": "binned"}),
        (ModelConfig, {"request_calendar": True, "input_facets": False}),
        (
            ModelConfig,
            {
                "request_time_known": True,
                "heads": HeadsConfig(names=("time_to_next",)),
                "relative_bias": ("position", "time"),
            },
        ),
        (HeadsConfig, {"names": ("action", "action")}),
        (HeadsConfig, {"weight": -0.1}),
        (HeadsConfig, {"hierarchical": True}),
        (TargetConfig, {"num_targets": 0}),
        (TargetConfig, {"decay": 0.0}),
        (TargetConfig, {"half_life_days": 0.0}),
        (UtilityConfig, {"actions": (("play", 1.0), ("skip", -0.5))}),
        (UtilityConfig, {"actions": (("play", 1.0), ("play", 2.0))}),
        (UtilityConfig, {"log_minutes": -1.0}),
        (OptimConfig, {"learning_rate": 0.0}),
        (OptimConfig, {"warmup_share": -0.1}),
        (ReplayConfig, {"older_share": -1.0}),
        (RunConfig, {"batch_tokens": 100}),
        (RunConfig, {"num_threads": 0}),
        (RunConfig, {"windows": "oldest"}),
        (RunConfig, {"stopping": StoppingConfig(one_in=2, every_epochs=3), "num_epochs": 2}),
        (RunConfig, {"new_items": "zero"}),
        (RunConfig, {"new_items": "metadata", "model": ModelConfig(item_metadata=False)}),
    ],
)
def test_a_contradiction_is_refused(part: type, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        part(**wrong)


def test_the_published_vector_has_one_dimension_more_than_the_scores() -> None:
    assert replace(ModelConfig(), score_dim=31).published_dim == 32


@pytest.mark.parametrize(
    "part",
    [HeadsConfig, ModelConfig, UtilityConfig, TargetConfig, OptimConfig, ReplayConfig, RunConfig],
)
def test_a_config_cannot_be_changed(part: type) -> None:
    config = part()
    with pytest.raises(AttributeError):
        setattr(config, fields(config)[0].name, 1)


@pytest.mark.parametrize(
    ("path", "wrong", "want"),
    [
        ("num_epochs", 1.5, "num_epochs: want int, got 1.5"),
        ("num_threads", True, "num_threads: want int, got True"),
        ("seed", -1, "want 0 to 2"),
        ("seed", 2**70, "want 0 to 2"),
        ("held_out_one_in", "8", "held_out_one_in: want int, got '8'"),
        ("held_out_one_in", 2**40, "want a power of two from 2"),
        ("model", None, "must be a mapping"),
        ("model.num_layers", 2.0, "num_layers: want int, got 2.0"),
        ("model.dropout", "much", "dropout: want float, got 'much'"),
        ("model.item_bias", 1, "item_bias: want bool, got 1"),
        ("model.relative_bias", 3, "relative_bias: want tuple, got 3"),
        ("model.heads.names", {"action": 1}, "names: want tuple"),
        ("optim.learning_rate", float("nan"), "learning_rate: want float, got nan"),
        ("stopping.one_in", 2.0, "one_in: want int, got 2.0"),
        ("stopping.one_in", 2**40, "want at most"),
        ("targets.utility.actions", ["play"], "want pairs of an action and its factor"),
        ("targets.half_life_days", float("inf"), "half_life_days: want float, got inf"),
    ],
)
def test_a_value_of_another_kind_is_named(path: str, wrong: Any, want: str) -> None:
    value = RunConfig().to_json()
    *parents, name = path.split(".")
    part = value
    for parent in parents:
        part = part[parent]
    part[name] = wrong

    with pytest.raises(ConfigError, match=want):
        RunConfig.from_json(value)


def test_parts_that_are_absent_have_the_values_of_a_run_without_them() -> None:
    assert RunConfig.from_json({}) == RunConfig()
