"""A model as a folder: weights and JSON, nothing that a loader executes, no times, no run ids.

::

    model.safetensors    weights
    config.json          RunConfig, FeatureSpec, sizes, as_of, format_version
    schema.json          EventSchema
    vocabulary.parquet   item ids by weight row
    lineage.json         what it was made from
    metrics.json         what its training says of itself
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lake.digests import digest_file, digest_files
from lake.sealed import SEAL, json_object, sealed, unsealed
from training.config.run import RunConfig
from training.errors import ArtifactError, ConfigError
from training.features.spec import FeatureSpec
from training.model.recommender import Recommender
from training.schema import EventSchema
from training.vocabulary import VOCABULARY_FILE, Vocabulary

FORMAT_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
SCHEMA_FILE = "schema.json"
LINEAGE_FILE = "lineage.json"
METRICS_FILE = "metrics.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained model with everything that its weights mean."""

    network: Recommender
    config: RunConfig
    spec: FeatureSpec
    schema: EventSchema
    vocabulary: Vocabulary
    as_of: datetime
    """End of the data that it has seen, exclusive."""

    @property
    def num_parameters(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def save_model(
    model: Model, folder: Path, *, lineage: Mapping[str, Any], metrics: Mapping[str, Any]
) -> None:
    """Write the model; equal models give equal bytes."""
    weights = {name: w.detach().contiguous() for name, w in model.network.state_dict().items()}
    (folder / WEIGHTS_FILE).write_bytes(save(weights))
    model.vocabulary.write(folder / VOCABULARY_FILE)
    _write_json(folder / SCHEMA_FILE, model.schema.to_json())
    _write_json(folder / LINEAGE_FILE, {"format_version": FORMAT_VERSION, **lineage})
    _write_json(folder / METRICS_FILE, {"format_version": FORMAT_VERSION, **metrics})
    config = {
        "format_version": FORMAT_VERSION,
        "as_of": model.as_of.isoformat(),
        "dim": model.config.model.published_dim,
        "vocabulary_size": len(model.vocabulary),
        "run": model.config.to_json(),
        "features": model.spec.to_json(),
    }
    _write_json(folder / CONFIG_FILE, sealed({**config, "files": digest_files(folder)}))


def load_model(folder: Path) -> Model:
    """Read what ``save_model`` wrote; raises ArtifactError naming what does not fit."""
    config = _read_json(folder / CONFIG_FILE)
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(f"model {folder}: read format {FORMAT_VERSION}, got {version!r}")
    _check_files(folder, config)
    try:
        run = RunConfig.from_json(config["run"])
        spec = FeatureSpec.from_json(config["features"])
        schema = EventSchema.from_json(_read_json(folder / SCHEMA_FILE))
        as_of = datetime.fromisoformat(config["as_of"])
        size = int(config["vocabulary_size"])
    except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"model {folder}: {error}") from error
    if spec.actions != schema.token_actions:
        raise ArtifactError(
            f"model {folder}: {CONFIG_FILE} has actions {spec.actions}, "
            f"{SCHEMA_FILE} has {schema.token_actions}"
        )
    vocabulary = Vocabulary.from_parquet(_present(folder / VOCABULARY_FILE))
    if len(vocabulary) != size:
        raise ArtifactError(
            f"model {folder}: {CONFIG_FILE} states {size} items, "
            f"{VOCABULARY_FILE} holds {len(vocabulary)}"
        )
    network = Recommender(run.model, spec, vocabulary_size=size)
    _load_weights(network, folder / WEIGHTS_FILE)
    return Model(
        network=network.eval(),
        config=run,
        spec=spec,
        schema=schema,
        vocabulary=vocabulary,
        as_of=as_of,
    )


def _check_files(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ArtifactError unless every file is as it was saved; older models do not say."""
    if SEAL not in config:
        return
    try:
        files = unsealed(config)["files"]
    except ValueError as error:
        raise ArtifactError(f"model: {folder / CONFIG_FILE} was changed: {error}") from error
    for name, want in files.items():
        if digest_file(_present(folder / name)) != want:
            raise ArtifactError(f"model: {folder / name} is damaged: want sha256 {want}")


def weights_digest(folder: Path) -> str:
    """Return the digest of a model's weights: its name in the lineage of what follows it."""
    return digest_file(_present(folder / WEIGHTS_FILE))


def _load_weights(network: Recommender, path: Path) -> None:
    try:
        weights = load_file(_present(path))
    except SafetensorError as error:
        raise ArtifactError(f"model weights {path}: {error}") from error
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        want = tuple(expected[name].shape) if name in expected else None
        got = tuple(weights[name].shape) if name in weights else None
        if want != got:
            raise ArtifactError(f"model weights {path}: {name}: want shape {want}, got {got}")
        if not torch.isfinite(weights[name]).all():
            raise ArtifactError(f"model weights {path}: {name} is not finite")
    network.load_state_dict(weights)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json_object(_present(path).read_bytes())
    except ValueError as error:
        raise ArtifactError(f"model: {path} is no JSON: {error}") from error


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ArtifactError(f"model: {path} is missing, so this is no model folder")
    return path
