"""Pretraining: a model from scratch on everything before an instant."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from lake.digests import digest_json
from lake.lake import Written
from training.artifact import Model, save_model
from training.config.run import RunConfig
from training.contracts import Histories
from training.data import TrainingData
from training.errors import NoDataError
from training.features.items import ItemFeatures, build_item_features
from training.features.spec import build_spec
from training.features.tokens import TokenFeatures, build_token_features
from training.fingerprint import fingerprint
from training.loop import Trained, deterministic, train
from training.model.recommender import Recommender
from training.packing import newest_windows
from training.problem import Problem, age_weights, ask, log_popularity, worth
from training.processes import ALONE, Processes
from training.schema import EventSchema
from training.setting import Setting, checkpoints_of
from training.stopping import keep_back, newest_targets
from training.tokens.targets import is_target
from training.tracker import Tracker


def pretrain(
    data: TrainingData,
    config: RunConfig,
    folder: Path,
    tracker: Tracker,
    *,
    checkpoints_in: Path | None = None,
    processes: Processes = ALONE,
) -> Written:
    """Write a model trained on ``data`` into the empty ``folder``.

    Raises NoDataError where nothing can be learned and DivergedError; deterministic but for the
    number of threads, which ``config`` states. A run that was killed goes on from what it left in
    ``checkpoints_in``.
    """
    schema, histories = data.schema(), data.histories()
    if histories.num_tokens == 0:
        raise NoDataError(f"pretraining: no token before {data.as_of}")
    catalogue, vocabulary = data.catalogue(), data.vocabulary()
    spec = build_spec(schema, histories, catalogue, config.model)
    items = build_item_features(vocabulary.item_ids, catalogue, spec)
    tokens = build_token_features(histories, spec, items, as_of=data.as_of)
    problem = _problem(items, tokens, histories, schema, config, as_of=data.as_of)
    run = {
        "kind": "pretrained",
        "as_of": data.as_of.isoformat(),
        "data": fingerprint(histories),
        "schema": schema.to_json(),
    }
    checkpoints = checkpoints_of(checkpoints_in, run, config, items)
    setting = Setting(tracker=tracker, processes=processes, checkpoints=checkpoints)
    tracker.log_parameters(config.to_json())
    tracker.log_line(
        f"pretraining on {histories.num_tokens} tokens of {histories.num_users} users, "
        f"{len(vocabulary)} items, {problem.num_targets} targets"
    )
    with deterministic(config.num_threads):
        torch.manual_seed(config.seed)
        network = Recommender(config.model, spec, vocabulary_size=len(vocabulary))
        network.items.start_at(log_popularity(problem, num_rows=len(vocabulary)))
        trained = train(
            network,
            problem,
            config,
            optim=config.optim,
            num_epochs=config.num_epochs,
            setting=setting,
        )
    model = Model(
        network=network,
        config=config,
        spec=spec,
        schema=schema,
        vocabulary=vocabulary,
        as_of=data.as_of,
    )
    written = write_trained(
        model,
        folder,
        trained=trained,
        histories=histories,
        lineage={"kind": "pretrained", "base": None},
    )
    setting.forget()
    return written


def _problem(
    items: ItemFeatures,
    tokens: TokenFeatures,
    histories: Histories,
    schema: EventSchema,
    config: RunConfig,
    *,
    as_of: datetime,
) -> Problem:
    """Return the targets of all histories, but for those that are kept back to ask for."""
    weights = age_weights(histories, config.targets, as_of=as_of)
    may_ask = is_target(histories, schema)
    kept_back, max_len = None, config.model.max_seq_len
    if config.stopping.one_in:
        kept = newest_targets(histories, may_ask, one_in=config.stopping.one_in)
        if not len(kept):
            raise NoDataError(
                f"stopping: none of {histories.num_users} users is asked, want less than "
                f"one_in={config.stopping.one_in}"
            )
        kept_back = keep_back(items, tokens, kept, max_len=max_len)
        may_ask = may_ask & ~np.isin(np.arange(histories.num_tokens), kept)
    weights = worth(weights * may_ask, histories, schema, config.targets.utility)
    target_TK, weight_TK = ask(histories, tokens.item_T.numpy()[:-1], weights, config.targets)
    return Problem(
        items=items,
        tokens=tokens,
        windows=newest_windows(tokens.offsets, max_len=max_len),
        target_TK=target_TK,
        weight_TK=weight_TK,
        kept_back=kept_back,
        window_choice=config.windows,
    )


def write_trained(
    model: Model,
    folder: Path,
    *,
    trained: Trained,
    histories: Histories,
    lineage: dict[str, Any],
    measured: Mapping[str, float] = MappingProxyType({}),
) -> Written:
    """Save a freshly trained model; return its figures, ``measured`` among them."""
    metrics = {
        **trained.to_json(),
        **measured,
        "tokens": histories.num_tokens,
        "users": histories.num_users,
    }
    made_of = {
        "as_of": model.as_of.isoformat(),
        "config": digest_json(model.config.to_json()),
        "data": fingerprint(histories),
        "seed": model.config.seed,
    }
    save_model(model, folder, lineage={**made_of, **lineage}, metrics=metrics)
    figures = {"parameters": model.num_parameters, "items": len(model.vocabulary), **metrics}
    return Written(model.num_parameters, figures)
