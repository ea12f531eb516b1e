import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lake.digests import digest_files, digest_json
from training.artifact import load_model, weights_digest
from training.checkpoint import Checkpoints
from training.config.optim import GuardConfig, OptimConfig, StoppingConfig
from training.config.targets import TargetConfig, UtilityConfig
from training.errors import ConfigError, DivergedError, NoDataError
from training.fine_tune import fine_tune
from training.pretrain import pretrain
from training.recipes import tiny
from training.state import State


def test_two_runs_give_the_same_bytes(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    pretrain(small_lake.data(small_lake.days[3]), tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_another_seed_gives_other_weights(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(tiny(), seed=2, num_epochs=1)
    pretrain(small_lake.data(small_lake.days[3]), config, tmp_path, tracker)

    digests = [digest_files(folder)["model.safetensors"] for folder in (tmp_path, trained)]
    assert digests[0] != digests[1]


def test_the_order_of_folders_changes_nothing(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = small_lake.data(small_lake.days[3])
    data = replace(data, token_folders=data.token_folders[::-1])
    pretrain(data, tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_later_days_are_not_seen(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = small_lake.data(small_lake.days[3])
    data = replace(data, token_folders=small_lake.data(small_lake.days[5]).token_folders)
    pretrain(data, tiny(), tmp_path, tracker)

    assert digest_files(tmp_path) == digest_files(trained)


def test_lineage_says_what_the_model_was_made_from(trained: Path, small_lake: Any) -> None:
    lineage = json.loads((trained / "lineage.json").read_text())

    assert lineage["kind"] == "pretrained"
    assert lineage["base"] is None
    assert lineage["as_of"] == small_lake.data(small_lake.days[3]).as_of.isoformat()
    assert len(lineage["data"]) == len(lineage["config"]) == 64


def test_the_model_knows_its_vocabulary_and_its_instant(trained: Path, small_lake: Any) -> None:
    data = small_lake.data(small_lake.days[3])
    model = load_model(trained)

    assert model.vocabulary.item_ids == data.vocabulary().item_ids
    assert model.as_of == data.as_of
    assert model.config == tiny()


def test_nothing_before_the_instant_is_refused(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    data = replace(small_lake.data(small_lake.days[0]), as_of=datetime(2020, 1, 1, tzinfo=UTC))

    with pytest.raises(NoDataError, match="no token before 2020-01-01"):
        pretrain(data, tiny(), tmp_path, tracker)


def test_a_run_that_was_cut_short_goes_on_and_leaves_nothing(
    trained: Path,
    small_lake: Any,
    tmp_path: Path,
    tracker: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, kept = small_lake.data(small_lake.days[3]), tmp_path / "checkpoints"
    config = replace(tiny(), guard=GuardConfig(snapshot_steps=2))
    whole, cut, resumed = (tmp_path / name for name in ("whole", "cut", "resumed"))
    for folder in (whole, cut, resumed):
        folder.mkdir()
    pretrain(data, config, whole, tracker)
    plain, steps = State.take_step, iter(range(5))

    def take_step(state: State, loss: float, *, step_size: float) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        plain(state, loss, step_size=step_size)

    with monkeypatch.context() as patch:
        patch.setattr(State, "take_step", take_step)
        patch.setattr(Checkpoints, "is_due", lambda _: True)  # by the clock it is not so soon
        with pytest.raises(KeyboardInterrupt):
            pretrain(data, config, cut, tracker, checkpoints_in=kept)
    assert len(list(kept.glob("*/*.json"))) == 2
    pretrain(data, config, resumed, tracker, checkpoints_in=kept)

    assert any(line.startswith("going on at step 4 of") for line in tracker.lines)
    assert digest_files(resumed) == digest_files(whole)
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("windows", ["slide", "mixed"])
def test_windows_that_slide_give_other_weights(
    small_lake: Any, tmp_path: Path, tracker: Any, windows: str
) -> None:
    digests = set()
    for choice in ("newest", windows):
        (tmp_path / choice).mkdir()
        model = replace(tiny().model, max_seq_len=4)
        config = replace(tiny(), model=model, windows=choice, num_epochs=2)
        pretrain(small_lake.data(small_lake.days[1]), config, tmp_path / choice, tracker)
        digests.add(digest_files(tmp_path / choice)["model.safetensors"])

    assert len(digests) == 2


def test_what_targets_are_worth_changes_what_is_learned(
    trained: Path, small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    base, tuned, plainly_tuned = (tmp_path / name for name in ("base", "tuned", "plainly"))
    for folder in (base, tuned, plainly_tuned):
        folder.mkdir()
    config = replace(tiny(), targets=TargetConfig(utility=UtilityConfig(log_minutes=1.0)))
    day, after = small_lake.days[4], small_lake.data(small_lake.days[4])

    pretrain(small_lake.data(small_lake.days[3]), config, base, tracker)
    fine_tune(trained, after, config, tuned, tracker, day=day)
    fine_tune(trained, after, tiny(), plainly_tuned, tracker, day=day)

    assert weights_digest(base) != weights_digest(trained)
    assert weights_digest(tuned) != weights_digest(plainly_tuned)


def test_an_action_that_the_log_has_not_is_refused(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(tiny(), targets=TargetConfig(utility=UtilityConfig(actions=(("buy", 2.0),))))

    with pytest.raises(ConfigError, match=r"utility: .* got 'buy'"):
        pretrain(small_lake.data(small_lake.days[3]), config, tmp_path, tracker)


def test_a_run_that_asks_nobody_when_to_stop_is_refused(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(tiny(), stopping=StoppingConfig(one_in=2**20))

    with pytest.raises(NoDataError, match="stopping: none of"):
        pretrain(small_lake.data(small_lake.days[3]), config, tmp_path, tracker)


def test_a_last_step_that_leaves_no_finite_weights_is_refused(
    small_lake: Any, tmp_path: Path, tracker: Any
) -> None:
    config = replace(
        tiny(), num_epochs=1, batch_tokens=10**6, optim=OptimConfig(learning_rate=1e38)
    )

    with pytest.raises(DivergedError, match="not finite after step 0, the last one"):
        pretrain(small_lake.data(small_lake.days[3]), config, tmp_path, tracker)


def test_a_log_of_other_roles_takes_up_no_checkpoint(
    small_lake: Any, tmp_path: Path, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    monkeypatch.setattr("training.setting.Checkpoints", lambda _root, run: runs.append(run))
    data = small_lake.data(small_lake.days[3])
    for schema in (data.schema(), replace(data.schema(), name="another")):
        monkeypatch.setattr(type(data), "schema", lambda _self, schema=schema: schema)
        (folder := tmp_path / schema.name).mkdir()
        pretrain(data, tiny(), folder, tracker, checkpoints_in=tmp_path / "checkpoints")

    assert digest_json(runs[0]) != digest_json(runs[1])
