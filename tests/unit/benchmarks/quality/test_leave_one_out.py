"""The command on a made-up MovieLens-1M: what it prints is checked where it is computed."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("implicit")

from benchmarks.quality.leave_one_out import main

NUM_USERS, NUM_FILMS = 40, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("movielens")
    draw = np.random.default_rng(0)
    pairs = [
        f"{user} {film}"
        for user in range(1, NUM_USERS + 1)
        for film in draw.permutation(NUM_FILMS)[:12] + 1
    ]
    films = [f"{film + 100}::Film {film} (1999)::Drama|War" for film in range(1, NUM_FILMS + 1)]
    (root / "ml-1m_sas.txt").write_text("\n".join(pairs) + "\n")
    (root / "movies.dat").write_text("\n".join(films) + "\n")
    people = [f"{user + 5}::F::{18 + user % 2}::1::00000" for user in range(1, NUM_USERS + 1)]
    (root / "users.dat").write_text("\n".join(people) + "\n")
    for name, shift, count in (("item", 100, NUM_FILMS), ("user", 5, NUM_USERS)):
        rows = [f"{number},{number + shift}" for number in range(1, count + 1)]
        (root / f"sas_{name}s.csv").write_text(f"sas_{name},{name}\n" + "\n".join(rows) + "\n")
    return root


def test_every_system_gets_a_row_under_both_rules(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "uses.jsonl"
    command = ["--data", str(folder), "--variant", "sas", "--recipes", "tiny", "--seeds", "1,2"]

    main([*command, "--ask", "test", "--log", str(log)])

    printed = capsys.readouterr().out
    for name in ("popularity", "markov", "item_knn", "als", "tiny"):
        # quality and lists, with seen items removed and kept
        assert sum(line.startswith(f"| {name} |") for line in printed.splitlines()) == 4
    assert "| tiny | 2 |" in printed
    assert "40 questions of 40 users" in printed
    assert "30 items" in printed
    assert "| age: 18 | 20 |" in printed
    uses = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(uses) == 2 * (4 + 2)
    assert len({use["use"] for use in uses}) == len(uses)
    assert {use["seen_items"] for use in uses} == {"removed", "kept"}
    assert "use 2 of" not in printed


def test_a_model_is_trained_once_and_asked_often(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = ["--data", str(folder), "--variant", "sas", "--recipes", "tiny"]
    command += ["--models", str(tmp_path / "models")]

    def asked() -> list[str]:
        main(command)
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if line.startswith("| tiny |")]

    with caplog.at_level("INFO"):
        first = asked()
        assert "trained before" not in caplog.text
        assert asked() == first
        assert "trained before" in caplog.text
        main([*command, "--seeds", "2"])
    assert len(list((tmp_path / "models").glob("*/model.safetensors"))) == 2


def test_the_test_events_are_not_asked_without_a_log(folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(folder), "--variant", "sas", "--ask", "test"])


def test_what_was_chosen_by_may_teach_before_the_test(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data", str(folder), "--variant", "sas", "--learn-validation"]

    command += ["--recipes", "tiny", "--change", "num_epochs=1"]
    main([*command, "--ask", "test", "--log", str(tmp_path / "uses.jsonl")])

    printed = capsys.readouterr().out
    assert "| tiny num_epochs=1 | 1 |" in printed
    assert "learned from all but the last events" in printed
    with pytest.raises(SystemExit):
        main(command)


def test_the_time_of_a_target_is_no_use_where_only_the_order_is_known(folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(folder), "--variant", "sas", "--target-time"])
