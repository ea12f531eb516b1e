import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lake.digests import digest_files
from training.artifact import load_model, save_model, weights_digest
from training.errors import ArtifactError, TrainingError


@pytest.fixture
def sealed_model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def copied(sealed_model: Path) -> Path:
    """As the first release wrote it: no file says what the others are."""
    path = sealed_model / "config.json"
    config = json.loads(path.read_text())
    del config["sha256"], config["files"]
    path.write_text(json.dumps(config))
    return sealed_model


@pytest.mark.parametrize(
    "name", ["model.safetensors", "vocabulary.parquet", "schema.json", "lineage.json"]
)
def test_a_changed_bit_in_any_file_is_seen(sealed_model: Path, name: str) -> None:
    data = bytearray((sealed_model / name).read_bytes())
    data[-9] ^= 1
    (sealed_model / name).write_bytes(data)

    with pytest.raises(ArtifactError, match=f"{name} is damaged"):
        load_model(sealed_model)


def test_a_changed_number_in_the_configuration_is_seen(sealed_model: Path) -> None:
    edit(sealed_model / "config.json", dim=7)

    with pytest.raises(ArtifactError, match=r"config\.json was changed"):
        load_model(sealed_model)


def test_a_model_of_the_first_release_loads(copied: Path) -> None:
    assert load_model(copied).num_parameters


def test_a_model_is_six_files_that_no_loader_executes(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "config.json",
        "lineage.json",
        "metrics.json",
        "model.safetensors",
        "schema.json",
        "vocabulary.parquet",
    ]


def test_saving_what_was_loaded_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    lineage = json.loads((trained / "lineage.json").read_text())
    metrics = json.loads((trained / "metrics.json").read_text())

    save_model(load_model(trained), tmp_path, lineage=lineage, metrics=metrics)

    assert digest_files(tmp_path) == digest_files(trained)


def test_the_weights_are_named_by_their_digest(trained: Path) -> None:
    assert weights_digest(trained) == digest_files(trained)["model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "schema.json", "vocabulary.parquet"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()

    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_model(copied)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_later_format_is_refused(copied: Path) -> None:
    edit(copied / "config.json", format_version=2)

    with pytest.raises(ArtifactError, match="read format 1, got 2"):
        load_model(copied)


def test_a_vocabulary_of_another_size_is_refused(copied: Path) -> None:
    edit(copied / "config.json", vocabulary_size=3)

    with pytest.raises(ArtifactError, match="states 3 items"):
        load_model(copied)


def test_a_schema_with_other_actions_is_refused(copied: Path) -> None:
    actions = json.loads((copied / "schema.json").read_text())["actions"]
    edit(copied / "schema.json", actions=[a for a in actions if a["name"] != "trailer"])

    with pytest.raises(ArtifactError, match="has actions"):
        load_model(copied)


def test_a_config_that_is_no_json_is_refused(copied: Path) -> None:
    (copied / "config.json").write_text("{")

    with pytest.raises(ArtifactError, match="no JSON"):
        load_model(copied)


def test_weights_of_another_shape_are_named(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["user_out.weight"] = torch.zeros(2, 2)
    save_file(weights, copied / "model.safetensors")

    with pytest.raises(ArtifactError, match=r"user_out\.weight: want shape \(15, 16\)"):
        load_model(copied)


def test_weights_that_are_not_finite_are_refused(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["user_out.weight"][0, 0] = float("inf")
    save_file(weights, copied / "model.safetensors")

    with pytest.raises(ArtifactError, match=r"user_out\.weight is not finite"):
        load_model(copied)


def test_a_truncated_file_of_weights_is_refused(copied: Path) -> None:
    data = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(data[: len(data) // 2])

    with pytest.raises(TrainingError, match=r"model\.safetensors"):
        load_model(copied)


@pytest.mark.parametrize("facets", ["name", [None], [7], {"a": 1}])
def test_a_schema_of_other_types_is_refused(copied: Path, facets: object) -> None:
    edit(copied / "schema.json", facets=facets)

    with pytest.raises(ArtifactError, match="model"):
        load_model(copied)
