"""The command on made-up MovieTweetings: what it prints is checked where it is computed."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.logs import DatedLog, published_log
from benchmarks.quality.temporal import main, questions
from lake.days import start_of
from training.tokens.targets import microseconds

FIRST, NUM_DAYS, NUM_USERS, NUM_FILMS = date(2013, 3, 1), 12, 30, 20
NEW_FILM, NEW_DAY = NUM_FILMS, 10  # rated on the last days alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("movietweetings")
    draw = np.random.default_rng(0)
    midnight = int(datetime(2013, 3, 1, tzinfo=UTC).timestamp())
    rows = []
    for day in range(NUM_DAYS):
        for user in range(NUM_USERS):
            film = NEW_FILM if day >= NEW_DAY and user % 3 == 0 else draw.integers(NUM_FILMS)
            at = midnight + day * 86_400 + 3_600 * (user % 20) + user
            rows.append(f"u{user}::m{film}::{8 - 5 * (user % 7 == 6)}::{at}")
    films = [f"m{film}::Film {film} (2012)::Drama|War" for film in range(NUM_FILMS + 1)]
    (root / "ratings.dat").write_text("\n".join(rows) + "\n")
    (root / "movies.dat").write_text("\n".join(films) + "\n")
    return root


@pytest.fixture(scope="module")
def log(folder: Path) -> DatedLog:
    return published_log("movietweetings", folder)


def test_what_is_learned_ends_before_the_day(log: DatedLog) -> None:
    day = FIRST + timedelta(days=NEW_DAY)

    learned = log.before(day)

    assert log.last_day == FIRST + timedelta(days=NUM_DAYS - 1)
    assert learned.histories().last_at.max() < microseconds(start_of(day))
    assert f"m{NEW_FILM}" not in learned.vocabulary().item_ids
    # of a catalogue of that day it has no description
    assert f"m{NEW_FILM}" not in learned.histories().items
    assert f"m{NEW_FILM}" in log.before(day + timedelta(days=1)).vocabulary().item_ids


def test_the_last_days_are_asked_among_all_films(log: DatedLog) -> None:
    asked = questions(log, FIRST + timedelta(days=NEW_DAY), 2)

    assert f"m{NEW_FILM}" in {asked.candidates[target] for target in asked.target_Q}
    assert len(asked.candidates) == NUM_FILMS + 1
    # who disliked is no target; a new film twice in a row continues
    assert len(asked.target_Q) <= 2 * NUM_USERS
    assert asked.at_Q.min() >= microseconds(start_of(FIRST + timedelta(days=NEW_DAY)))
    assert (asked.histories.last_at < np.repeat(asked.at_Q, np.diff(asked.histories.offsets))).all()


def test_every_system_gets_a_row_at_each_delay(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("implicit")
    uses = tmp_path / "uses.jsonl"
    command = ["--source", "movietweetings", "--data", str(folder), "--days", "2"]

    main([*command, "--recipes", "tiny", "--ask", "test", "--log", str(uses)])

    lines = capsys.readouterr().out.splitlines()
    for name in ("recent_popularity", "popularity", "markov", "item_knn", "als", "tiny"):
        # quality, lists and delays, with seen items removed and kept
        assert sum(line.startswith(f"| {name} |") for line in lines) == 6
    assert sum(line.startswith("| tiny - markov |") for line in lines) == 2
    assert (
        sum(line.startswith("| item unseen in training |") for line in lines) == 4
    )  # by two figures, seen items removed and kept
    logged = [json.loads(line) for line in uses.read_text().splitlines()]
    assert len(logged) == 6 * 4 * 2
    assert {one["delay_hours"] for one in logged} == {0, 1, 24, 48}


def test_the_last_days_are_not_asked_without_a_log(folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--source", "movietweetings", "--data", str(folder), "--ask", "test"])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (["--days", "0"], "want at least 1, got 0"),
        (["--days", "100"], "is empty before 2012-"),
        (["--recipes", ":tiny"], "want package.module:function"),
        (["--recipes", "tiny", "--models", "/proc/nothing"], "/proc/nothing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    folder: Path, wrong: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("implicit")

    with pytest.raises(SystemExit) as refused:
        main(["--source", "movietweetings", "--data", str(folder), "--days", "2", *wrong])

    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
