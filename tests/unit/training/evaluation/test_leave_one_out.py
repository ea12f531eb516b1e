from collections.abc import Callable

import numpy as np
import pytest

from training.contracts import Histories
from training.errors import ContractError, NoDataError
from training.evaluation.asked import CUTS, Asked
from training.evaluation.leave_one_out import Ask, leave_one_out
from training.evaluation.ranking import metric_names
from training.features.catalogue import Catalogue
from training.schema import EventSchema

USERS = {
    "ann": [("c", 0.0), ("a", 1.0), ("b", 2.0), ("d", 3.0)],
    "bob": [("d", 0.0), ("c", 1.0), ("a", 2.0)],
    "cy": [("e", 0.0), ("a", 1.0)],
}


@pytest.fixture
def asked(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> Callable[[Ask], Asked]:
    log = make_histories(USERS)
    films = make_catalogue([{"item_id": item} for item in "abcde"])
    ages = {"age": {"ann": "young"}}
    return lambda ask: leave_one_out(log, schema=watching, catalogue=films, ask=ask, groups=ages)


def items(asked: Asked, histories: Histories) -> dict[str, list[str]]:
    found = {}
    for at, user in enumerate(histories.user_ids):
        own = slice(histories.offsets[at], histories.offsets[at + 1])
        found[user] = [histories.items[code] for code in histories.item_code[own]]
    return found


def test_the_test_question_is_the_last_token_behind_all_others(
    asked: Callable[[Ask], Asked],
) -> None:
    test = asked("test")

    assert [test.candidates[target] for target in test.target_Q] == ["d", "a"]
    assert items(test, test.histories) == {"ann": ["c", "a", "b"], "bob": ["d", "c"]}
    assert items(test, test.learned) == {"ann": ["c", "a"], "bob": ["d"]}
    assert test.candidates == ("a", "b", "c", "d", "e")
    assert test.groups["age"] == ("young", "unknown")


def test_the_validation_question_is_the_token_before_and_learns_from_the_same(
    asked: Callable[[Ask], Asked],
) -> None:
    validation = asked("validation")

    assert [validation.candidates[target] for target in validation.target_Q] == ["b", "c"]
    assert items(validation, validation.histories) == {"ann": ["c", "a"], "bob": ["d"]}
    assert items(validation, validation.learned) == {"ann": ["c", "a"], "bob": ["d"]}


def test_what_was_chosen_by_can_teach_who_is_asked_for_the_test_token(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> None:
    films = make_catalogue([{"item_id": one} for one in "abcd"])
    log = make_histories({"ann": [(one, float(at)) for at, one in enumerate("abcd")]})
    of = {"schema": watching, "catalogue": films}

    test = leave_one_out(log, **of, ask="test", held_out=1)

    assert items(test, test.learned) == {"ann": ["a", "b", "c"]}
    assert items(test, test.learned) == items(test, test.histories)
    with pytest.raises(ContractError, match="want 2 held out, got 1"):
        leave_one_out(log, **of, ask="validation", held_out=1)


def test_the_metrics_are_those_of_a_hand_counted_ranking(asked: Callable[[Ask], Asked]) -> None:
    test = asked("test")
    # ann is asked for d: c, a and e are above it, c and a seen; bob for a: all are tied
    scores = np.array([[3, 0, 3, 1, 2], [1, 1, 1, 1, 1]], dtype=np.float32)
    names = metric_names(CUTS)

    def mrr(*, removed: bool) -> list[float]:
        ranks = test.rank(lambda users: scores[users], seen=test.seen() if removed else None)
        found: list[float] = test.metrics(ranks)[:, names.index("mrr")].tolist()
        return found

    assert mrr(removed=False) == pytest.approx([1 / 4, (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5])
    assert mrr(removed=True) == pytest.approx([1 / 2, (1 + 1 / 2 + 1 / 3) / 3])


def test_what_cannot_be_held_out_is_refused(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> None:
    films = make_catalogue([{"item_id": "a"}])
    disliked = make_histories({"ann": [("a", 0.0)] * 3}, actions={("ann", 2): (0, 0, 1)})
    short = make_histories({"ann": [("a", 0.0)] * 2})

    with pytest.raises(ContractError, match="targets alone"):
        leave_one_out(disliked, schema=watching, catalogue=films, ask="test")
    with pytest.raises(NoDataError, match="nobody has 3 tokens"):
        leave_one_out(short, schema=watching, catalogue=films, ask="test")
