from dataclasses import dataclass, replace

import numpy as np
import pytest

from benchmarks.quality.report import answers, report
from benchmarks.quality.systems import Family, Fitted, System, baseline
from training.contracts import UNKNOWN_INSTANT, Histories
from training.evaluation.asked import Asked
from training.evaluation.comparison import NAMES
from training.evaluation.leave_one_out import leave_one_out
from training.evaluation.ranking import Score
from training.features.catalogue import ITEM_CATEGORIES, Catalogue
from training.schema import Action, ActionRole, EventSchema

ITEMS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Config:
    is_right: bool


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Users of the tokens a b c d and b a d c: asked for d and for c."""
    nothing = np.zeros(8, dtype=np.int64)
    log = Histories(
        user_ids=("ann", "bob"),
        offsets=np.array([0, 4, 8]),
        items=ITEMS,
        item_code=np.array([0, 1, 2, 3, 1, 0, 3, 2], dtype=np.int32),
        first_at=nothing + UNKNOWN_INSTANT,
        last_at=nothing + UNKNOWN_INSTANT,
        duration_ms=nothing,
        num_events=np.ones(8, dtype=np.int32),
        action_counts=np.ones((8, 1), dtype=np.int32),
        request_categories={},
        request_numbers={},
    )
    catalogue = Catalogue(
        item_ids=ITEMS,
        categories={name: [None] * 4 for name in ITEM_CATEGORIES},
        genres=[()] * 4,
        age_days=np.full(4, np.nan),
        runtime_s=np.full(4, np.nan),
        valid_from=np.zeros(4, dtype=np.int64),
        valid_to=np.full(4, np.iinfo(np.int64).max),
    )
    play = Action(name="play", role=ActionRole.TARGET)
    schema = EventSchema(name="log", actions=(play,), facets=())
    return leave_one_out(log, schema=schema, catalogue=catalogue, ask="test")


def constant(*scores: float) -> Score:
    row = np.array(scores, dtype=np.float32)
    return lambda users: np.broadcast_to(row, (users.stop - users.start, len(row)))


def system(name: str, *scores: float, seed: int | None = None) -> System:
    return System(name=name, fitted=Fitted(score=lambda _: constant(*scores)), seed=seed)


def cells(lines: list[str], name: str) -> list[str]:
    row = next(line for line in lines if line.startswith(f"| {name} |"))
    return row.strip("| ").split(" | ")


def test_seeds_are_one_row_with_their_deviation_and_gain_over_the_best_baseline(
    asked: Asked,
) -> None:
    systems = [
        system("popularity", 0, 0, 1, 2),
        system("markov", 3, 2, 1, 0),
        system("ours", 0, 0, 2, 2, seed=1),  # both targets first, tied
        system("ours", 3, 2, 1, 0, seed=2),
    ]

    lines = list(report(asked, answers(asked, systems)["kept"]))

    log3, log4, log5 = np.log2([3, 4, 5])
    best = (1 + 1 / log3) / 2  # popularity: d first, c second
    seeds = [best, (1 / log4 + 1 / log5) / 2]
    at = 2 + NAMES.index("ndcg_at_10")
    assert any("ndcg_at_10 - popularity" in line for line in lines)
    assert cells(lines, "ours")[1] == "2"
    assert cells(lines, "ours")[at] == f"{np.mean(seeds):.4f} ± {np.std(seeds, ddof=1):.4f}"
    assert cells(lines, "popularity")[at].startswith(f"{best:.4f} (")
    gain = f"{np.mean(seeds) - best:+.4f} ("
    assert any(cell.startswith(gain) for cell in cells(lines, "ours"))


def test_what_was_seen_is_removed_under_one_rule_alone(asked: Asked) -> None:
    found = answers(asked, [system("markov", 3, 2, 1, 0)])

    mrr = NAMES.index("mrr")
    assert found["kept"][0].metrics[:, mrr] == pytest.approx([1 / 4, 1 / 3])
    assert found["removed"][0].metrics[:, mrr] == pytest.approx([1, 1])


def test_a_slice_of_few_users_has_no_figures(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers(asked, [system("markov", 3, 2, 1, 0)])["kept"]
    row = "| history of 0 to 4 tokens | 2 | 2 |"

    few = next(line for line in report(asked, found) if line.startswith(row))
    monkeypatch.setattr("benchmarks.quality.report.LEAST_USERS", 2)
    enough = next(line for line in report(asked, found) if line.startswith(row))

    assert few == f"{row}  |"
    assert enough != few


def test_a_baseline_is_chosen_by_the_validation_questions(asked: Asked) -> None:
    validation = replace(asked, histories=asked.learned)  # leaves c and d to both
    right = np.array([[0, 0, 0, 1], [0, 0, 1, 0]], dtype=np.float32)
    tried: list[bool] = []

    def fit(learned: object, config: Config) -> Fitted:
        tried.append(config.is_right)
        scores = right if config.is_right else -right
        return Fitted(score=lambda _: lambda users: scores[users])

    family = Family(name="one", grid=[Config(is_right=right) for right in (False, True)], fit=fit)

    found = baseline(family, validation=validation, asked=asked)

    assert found.configuration == {"is_right": True}
    assert tried == [False, True, True]
