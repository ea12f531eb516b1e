import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.digests import digest_files
from training.artifact import load_model, weights_digest
from training.config.run import ReplayConfig
from training.contracts import Histories
from training.errors import ArtifactError, ConfigError, NoDataError
from training.fine_tune import choose_targets, fine_tune
from training.held_out import is_held_out
from training.pretrain import pretrain
from training.recipes import tiny
from training.tokens.targets import starts_on

DAY = date(2026, 3, 2)


@pytest.fixture
def histories(make_histories: Callable[..., Histories]) -> Histories:
    """Forty users with two older tokens and two of the day."""
    return make_histories(
        {
            f"user {n}": [(f"i{n % 7}", -40), ("x", -30), (f"i{n % 5}", 0), ("y", 2)]
            for n in range(40)
        }
    )


def test_targets_of_held_out_users_are_neither_learned_nor_read(histories: Histories) -> None:
    may_ask = np.ones(histories.num_tokens, dtype=bool)
    config = replace(tiny(), replay=ReplayConfig(older_share=5.0))
    chosen, users, ends = choose_targets(histories, may_ask, day=DAY, config=config)

    held_out = is_held_out(histories.user_ids, DAY, one_in=8)
    user_of = np.repeat(np.arange(40), 4)
    on_day = starts_on(histories, DAY)
    assert held_out.any()
    assert not (chosen & on_day & held_out[user_of]).any()
    assert (chosen & on_day).sum() == 2 * (~held_out).sum()
    whole = histories.offsets[users + 1]
    assert np.isin(np.flatnonzero(held_out), users).any(), "a held-out user may be replayed"
    assert (ends == whole - 2 * held_out[users]).all()


def test_replay_is_a_share_of_the_days_targets(histories: Histories) -> None:
    may_ask = np.ones(histories.num_tokens, dtype=bool)
    on_day = starts_on(histories, DAY)

    def older(share: float) -> int:
        config = replace(tiny(), replay=ReplayConfig(older_share=share))
        chosen, _, _ = choose_targets(histories, may_ask, day=DAY, config=config)
        return int((chosen & ~on_day).sum())

    assert older(0.0) == 0
    assert 15 < older(0.5) < 55
    assert older(0.5) < older(1.0)


def test_a_day_without_targets_is_refused(histories: Histories) -> None:
    nothing = np.zeros(histories.num_tokens, dtype=bool)

    with pytest.raises(NoDataError, match="no target on 2026-03-02"):
        choose_targets(histories, nothing, day=DAY, config=tiny())


def test_held_out_targets_cannot_reach_the_weights(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = small_lake.days[4]
    data = small_lake.data(day)
    honest, other = tmp_path / "honest", tmp_path / "other"
    honest.mkdir()
    other.mkdir()
    fine_tune(trained, data, tiny(), honest, tracker, day=day)

    whole = data.histories()
    user_of = np.repeat(np.arange(whole.num_users), np.diff(whole.offsets))
    withheld = starts_on(whole, day) & is_held_out(whole.user_ids, day, one_in=8)[user_of]
    assert withheld.any()
    lied = replace(
        whole,
        item_code=np.where(withheld, (whole.item_code + 1) % len(whole.items), whole.item_code),
        duration_ms=np.where(withheld, 1, whole.duration_ms),
    )
    monkeypatch.setattr(type(data), "histories", lambda _self, **_kwargs: lied)
    fine_tune(trained, data, tiny(), other, tracker, day=day)

    assert weights_digest(honest) == weights_digest(other)


def test_two_runs_give_the_same_bytes_and_name_their_base(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day = small_lake.days[4]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        fine_tune(trained, small_lake.data(day), tiny(), folder, tracker, day=day)

    assert digest_files(folders[0]) == digest_files(folders[1])
    lineage = json.loads((folders[0] / "lineage.json").read_text())
    assert lineage["base"] == weights_digest(trained)
    assert lineage["day"] == str(day)


def test_the_vocabulary_grows_to_the_days(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day = small_lake.days[4]  # a Monday: titles launch
    written = fine_tune(trained, small_lake.data(day), tiny(), tmp_path, tracker, day=day)

    base, tuned = load_model(trained), load_model(tmp_path)
    old = base.vocabulary.item_ids
    assert len(tuned.vocabulary) > len(old)
    assert tuned.vocabulary.item_ids[: len(old)] == old
    assert written.figures["items"] == len(tuned.vocabulary)


def test_a_vocabulary_that_was_reordered_is_refused(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day = small_lake.days[4]
    data = small_lake.data(day)
    moved = tmp_path / "vocabulary"
    moved.mkdir()
    vocabulary = data.vocabulary()
    replace(vocabulary, table=vocabulary.table.take(list(range(len(vocabulary)))[::-1])).write(
        moved / "vocabulary.parquet"
    )

    with pytest.raises(ArtifactError, match="rows may be added, never moved"):
        fine_tune(
            trained, replace(data, vocabulary_folder=moved), tiny(), tmp_path, tracker, day=day
        )


def test_another_shape_than_the_bases_is_refused(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(tiny(), model=replace(tiny().model, num_layers=2))

    with pytest.raises(ConfigError, match="num_layers=1"):
        fine_tune(
            trained,
            small_lake.data(small_lake.days[4]),
            config,
            tmp_path,
            tracker,
            day=small_lake.days[4],
        )


def test_a_day_after_the_data_is_refused(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    with pytest.raises(NoDataError, match="ends after the data"):
        fine_tune(
            trained,
            small_lake.data(small_lake.days[4]),
            tiny(),
            tmp_path,
            tracker,
            day=small_lake.days[5],
        )


def test_a_day_reads_the_newest_windows_whatever_pretraining_read(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day, digests = small_lake.days[4], set()
    base = replace(tiny(), model=replace(tiny().model, max_seq_len=4), num_epochs=1)
    (tmp_path / "base").mkdir()
    pretrain(small_lake.data(small_lake.days[3]), base, tmp_path / "base", tracker)
    for windows in ("newest", "slide"):
        (tmp_path / windows).mkdir()
        config = replace(base, windows=windows)
        data = small_lake.data(day)
        fine_tune(tmp_path / "base", data, config, tmp_path / windows, tracker, day=day)
        digests.add(weights_digest(tmp_path / windows))

    assert len(digests) == 1


def test_where_new_items_start_is_chosen_in_the_config(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day, digests = small_lake.days[4], set()
    for way in ("mean", "random", "metadata", "unknown"):
        (tmp_path / way).mkdir()
        config = replace(tiny(), new_items=way)
        fine_tune(trained, small_lake.data(day), config, tmp_path / way, tracker, day=day)
        digests.add(weights_digest(tmp_path / way))

    assert len(digests) == 4


def old_losses(
    base: Path, small_lake: Any, folder: Path, tracker: Any, *, older_share: float
) -> tuple[float, float]:
    """Fine-tune with a high rate; return the loss on older targets before and after."""
    day, config = small_lake.days[4], tiny()
    config = replace(
        config,
        fine_tune_optim=replace(config.fine_tune_optim, learning_rate=3e-2),
        fine_tune_epochs=6,
        replay=ReplayConfig(older_share=older_share),
    )
    folder.mkdir()
    figures = fine_tune(base, small_lake.data(day), config, folder, tracker, day=day).figures
    return figures["old_loss_before"], figures["old_loss_after"]


def test_older_targets_are_forgotten_and_a_replay_keeps_them(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    before, alone = old_losses(trained, small_lake, tmp_path / "0", tracker, older_share=0.0)
    before_too, with_replay = old_losses(
        trained, small_lake, tmp_path / "2", tracker, older_share=2.0
    )

    assert alone > before + 0.1
    assert with_replay - before_too < 0.5 * (alone - before)


def test_what_was_forgotten_reaches_metrics_and_tracker(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    day = small_lake.days[4]
    written = fine_tune(trained, small_lake.data(day), tiny(), tmp_path, tracker, day=day)

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("old_loss_before", "old_loss_after"):
        assert metrics[name] == written.figures[name]
        assert [of[name] for _, of in tracker.metrics if name in of] == [metrics[name]]
