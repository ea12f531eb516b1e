"""Who knows the truth is above everybody who has to learn it."""

from datetime import timedelta

import pytest

from benchmarks.quality.logs import source_log
from benchmarks.quality.oracle import NAME, oracle
from benchmarks.quality.systems import CHOSEN_BY
from benchmarks.quality.temporal import main, questions
from training.evaluation.comparison import NAMES
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters


def test_the_true_worth_ranks_what_was_chosen_first() -> None:
    world = SimulatedWorld(WorldParameters(num_users=60, num_titles=100))
    log = source_log(world.name, world)
    first = log.last_day
    asked = questions(log, first, 1)
    told = log.before(first + timedelta(days=1)).histories()

    score = oracle(world.truth, asked, told).fitted.score(asked)

    ranks = asked.rank(score, seen=None)
    backwards = asked.rank(lambda users: -score(users), seen=None)
    at = NAMES.index("mrr")
    found, worst = (float(asked.metrics(one)[:, at].mean()) for one in (ranks, backwards))
    chance = sum(1 / rank for rank in range(1, len(asked.candidates) + 1)) / len(asked.candidates)
    assert found > 1.5 * chance > chance > worst


def test_the_simulated_world_has_a_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--simulated", "60", "--days", "2"])

    printed = capsys.readouterr().out
    assert sum(line.startswith(f"| {NAME} | 1 |") for line in printed.splitlines()) == 2
    assert CHOSEN_BY in printed
