"""Fine-tuning: one more day on top of a base, with a replay of older days.

learned     the day's targets of users who are not held out + a sample of older targets
withheld    the day's targets of held-out users: neither asked for nor read
left out    the other older targets: some are asked before and after, to see what was forgotten
"""

from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lake.days import end_of
from lake.lake import Written
from training.artifact import Model, load_model, weights_digest
from training.config.run import RunConfig
from training.contracts import Histories, Int64
from training.data import TrainingData
from training.errors import ArtifactError, ConfigError, NoDataError
from training.features.items import ItemFeatures, build_item_features
from training.features.tokens import TokenFeatures, build_token_features
from training.fingerprint import fingerprint
from training.forgetting import OldSlice, old_loss, old_slice
from training.held_out import is_held_out
from training.loop import deterministic, train
from training.model.growth import grow
from training.packing import newest_windows
from training.pretrain import write_trained
from training.problem import Problem, ask, worth
from training.processes import ALONE, Processes
from training.schema import EventSchema
from training.setting import Setting, checkpoints_of
from training.tokens.targets import is_target, starts_on
from training.tracker import Tracker
from training.vocabulary import Vocabulary

Bool = npt.NDArray[np.bool_]

_SAMPLE = 1
"""The draw of the old slice; that of the replay has the seed and the day alone."""


def fine_tune(  # noqa: PLR0913 - pretraining's, a base and a day
    base: Path,
    data: TrainingData,
    config: RunConfig,
    folder: Path,
    tracker: Tracker,
    *,
    day: date,
    checkpoints_in: Path | None = None,
    processes: Processes = ALONE,
) -> Written:
    """Write the model of ``base`` trained on ``day`` into the empty ``folder``.

    ``data`` ends after ``day``. Raises NoDataError when the day has no target to learn from,
    ArtifactError when the vocabulary is no extension of the base's, and DivergedError. A run that
    was killed goes on from what it left in ``checkpoints_in``.
    """
    model = load_model(base)
    as_of = end_of(day)
    if data.as_of < as_of:
        raise NoDataError(f"fine-tuning: {day} ends after the data, which ends at {data.as_of}")
    schema, histories, vocabulary = data.schema(), data.histories(as_of=as_of), data.vocabulary()
    _check_fits(model, config, vocabulary)
    if schema != model.schema:
        raise ArtifactError(f"fine-tuning: {base} was trained on another schema than {schema.name}")
    items = build_item_features(vocabulary.item_ids, data.catalogue(as_of=as_of), model.spec)
    tokens = build_token_features(histories, model.spec, items, as_of=as_of)
    problem, old = _problem(items, tokens, histories, schema, config, day=day)
    lineage = {"kind": "fine_tuned", "base": weights_digest(base), "day": day.isoformat()}
    run = {**lineage, "data": fingerprint(histories), "schema": schema.to_json()}
    checkpoints = checkpoints_of(checkpoints_in, run, config, items)
    setting = Setting(tracker=tracker, processes=processes, checkpoints=checkpoints)
    tracker.log_parameters(config.to_json())
    tracker.log_line(
        f"fine-tuning on {day}: {problem.num_targets} targets in histories of "
        f"{len(problem.windows)} users, {len(vocabulary) - len(model.vocabulary)} new items"
    )

    def measured(name: str, *, step: int) -> dict[str, float]:
        if old is None:
            return {}
        figure = {name: old_loss(model.network, items, tokens, old, config)}
        tracker.log_metrics(figure, step=step)
        return figure

    with deterministic(config.num_threads):
        forgotten = measured("old_loss_before", step=0)
        torch.manual_seed(config.seed)
        grow(model.network, items, seed=config.seed, new_items=config.new_items)
        trained = train(
            model.network,
            problem,
            config,
            optim=config.fine_tune_optim,
            num_epochs=config.fine_tune_epochs,
            setting=setting,
        )
        forgotten |= measured("old_loss_after", step=trained.num_steps)
    tuned = Model(
        network=model.network,
        config=config,
        spec=model.spec,
        schema=schema,
        vocabulary=vocabulary,
        as_of=as_of,
    )
    written = write_trained(
        tuned, folder, trained=trained, histories=histories, lineage=lineage, measured=forgotten
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
    day: date,
) -> tuple[Problem, OldSlice | None]:
    """Return the day's targets with the replay, and a sample of what the replay left out."""
    may_ask = is_target(histories, schema)
    chosen, users, ends = choose_targets(histories, may_ask, day=day, config=config)
    weights = worth(chosen.astype(np.float32), histories, schema, config.targets.utility)
    target_TK, weight_TK = ask(histories, tokens.item_T.numpy()[:-1], weights, config.targets)
    max_len = config.model.max_seq_len
    problem = Problem(
        items=items,
        tokens=tokens,
        windows=newest_windows(tokens.offsets, max_len=max_len, users=users, ends=ends),
        target_TK=target_TK,
        weight_TK=weight_TK,
    )
    return problem, _left_out(histories, may_ask & ~chosen, day=day, config=config)


def choose_targets(
    histories: Histories, may_ask: Bool, *, day: date, config: RunConfig
) -> tuple[Bool, Int64, Int64]:
    """Return which tokens are learned, the users to read, and where each one's history ends.

    Returns:
        bool[T] targets, int64[users] sorted, int64[users] end of what is read of each.
    """
    user_of = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
    on_day = starts_on(histories, day)
    held_out = is_held_out(histories.user_ids, day, one_in=config.held_out_one_in)
    new = may_ask & on_day & ~held_out[user_of]
    if not new.any():
        raise NoDataError(f"fine-tuning: no target on {day} beside those of held-out users")

    draw = np.random.default_rng([config.seed, day.toordinal()])
    older = may_ask & ~on_day
    older_users = np.unique(user_of[older])
    new_users = np.unique(user_of[new])
    num_replayed = min(round(config.replay.older_share * len(new_users)), len(older_users))
    replayed = draw.choice(older_users, num_replayed, replace=False)
    users = np.union1d(new_users, replayed)

    readable = np.isin(user_of, users) & older
    share = config.replay.older_share * new.sum() / max(1, readable.sum())
    chosen = new | (readable & (draw.random(histories.num_tokens) < share))
    # what a held-out user did on the day is not even read, but for a session that began before it
    withheld = np.bincount(user_of[on_day & held_out[user_of]], minlength=histories.num_users)
    ends = histories.offsets[1:] - withheld
    return chosen, users, ends[users]


def _left_out(
    histories: Histories, is_left_out: Bool, *, day: date, config: RunConfig
) -> OldSlice | None:
    """Return a sample of the targets before the day that are not learned, to be asked again."""
    on_day = starts_on(histories, day)
    num_on_day = np.bincount(
        np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))[on_day],
        minlength=histories.num_users,
    )
    return old_slice(
        histories.offsets,
        is_left_out & ~on_day,
        histories.offsets[1:] - num_on_day,
        max_len=config.model.max_seq_len,
        seed=(config.seed, _SAMPLE, day.toordinal()),
    )


def _check_fits(model: Model, config: RunConfig, vocabulary: Vocabulary) -> None:
    if config.model != model.config.model:
        raise ConfigError(
            f"fine-tuning: the base has the shape {model.config.model}, got {config.model}"
        )
    old, grown = model.vocabulary.item_ids, vocabulary.item_ids
    if grown[: len(old)] != old:
        raise ArtifactError(
            f"fine-tuning: the vocabulary of {len(grown)} items does not begin with the base's "
            f"{len(old)}: rows may be added, never moved"
        )
