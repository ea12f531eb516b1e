"""A model with everything switched on goes through its whole life."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.artifact import load_model
from training.config.model import HeadsConfig
from training.config.run import RunConfig
from training.fine_tune import fine_tune
from training.inference import item_features, user_vectors
from training.pretrain import pretrain
from training.recipes import tiny


@pytest.fixture(params=["transformer", "sasrec", "hstu"])
def everything(request: pytest.FixtureRequest) -> RunConfig:
    shape = replace(
        tiny().model,
        block=request.param,
        num_layers=2,
        relative_bias=("position", "time"),
        request_time_known=True,
        heads=HeadsConfig(names=("action", "duration", "genres", "device"), hierarchical=True),
        attention_window=6,
        attention_global=2,
        user_state="attention",
        layer_mix=True,
        layer_loss=0.2,
        item_gate="age_and_count",
        request_facets="all",
        request_numbers="periodic",
        request_calendar=True,
    )
    return replace(tiny(), model=shape, num_threads=2, num_epochs=2)


def test_it_is_trained_saved_tuned_and_served(
    everything: RunConfig, small_lake: Any, tracker: Any, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("base", "same", "tuned")}
    for folder in folders.values():
        folder.mkdir()
    before, after = small_lake.data(small_lake.days[3]), small_lake.data(small_lake.days[4])

    pretrain(before, everything, folders["base"], tracker)
    pretrain(before, everything, folders["same"], tracker)
    fine_tune(folders["base"], after, everything, folders["tuned"], tracker, day=small_lake.days[4])

    weights = [(folders[name] / "model.safetensors").read_bytes() for name in ("base", "same")]
    assert weights[0] == weights[1]
    model = load_model(folders["tuned"])
    base = load_model(folders["base"])
    assert model.config == everything
    # every part learns: none is at what it began with
    for name in (
        "backbone.blocks.1.attention.bias.by_time",
        "items.gate_numbers.weight",
        "inputs.waves.bias_ND",
    ):
        assert model.network.get_parameter(name).abs().max() > 0
    for name in ("backbone.layer_mix", "pool.by_age", "heads.told.weight"):
        assert base.network.get_parameter(name).abs().max() > 0
    assert base.network.items.log_count.max() > 0
    histories = after.histories()
    users = histories.user_ids[:20]
    items = item_features(model, after.catalogue())
    vectors = user_vectors(model, items, histories, users=users, as_of=model.as_of)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) > 15
    model.network.heads.told.weight.data.zero_()
    untold = user_vectors(model, items, histories, users=users, as_of=model.as_of)
    assert (vectors != untold).any(axis=1).all()
