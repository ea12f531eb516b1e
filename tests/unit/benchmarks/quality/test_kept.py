"""What is trained once, and what is not the same."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.quality.blanks import Without
from benchmarks.quality.kept import trained_model
from benchmarks.quality.logs import source_log
from training.data import TrainingData
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.recipes import tiny

CONFIG = replace(tiny(), num_epochs=1)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    log = source_log("simulated", SimulatedWorld(WorldParameters(num_users=40)))
    return log.before(log.last_day)  # type: ignore[return-value]


def test_a_model_is_trained_once(data: TrainingData, tmp_path: Path) -> None:
    _, spent = trained_model(CONFIG, data, tmp_path)
    _, spent_again = trained_model(CONFIG, data, tmp_path)

    assert spent_again == spent
    (figures,) = tmp_path.glob("*.json")
    assert json.loads(figures.read_text()) == spent


@pytest.mark.parametrize("facet", ["device", "genres"])
def test_other_data_have_a_model_of_their_own(
    data: TrainingData, tmp_path: Path, facet: str
) -> None:
    trained_model(CONFIG, data, tmp_path)
    trained_model(CONFIG, Without(data=data, facet=facet), tmp_path)

    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("damage", [None, b"{", b"{}"])
def test_a_model_outlives_the_loss_of_what_it_cost(
    data: TrainingData, tmp_path: Path, damage: bytes | None
) -> None:
    trained_model(CONFIG, data, tmp_path)
    (figures,) = tmp_path.glob("*.json")
    figures.unlink()
    if damage is not None:
        figures.write_bytes(damage)

    _, spent = trained_model(CONFIG, data, tmp_path)

    assert all(math.isnan(seconds) for seconds in spent.values())
