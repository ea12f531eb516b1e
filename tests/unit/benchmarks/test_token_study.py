import numpy as np
import pytest

from benchmarks.token_study import attention_flop, held
from training.config.model import ModelConfig
from training.contracts import Histories
from training.schema import Action, ActionRole, EventSchema

MODEL = ModelConfig(model_dim=8, num_layers=3, num_heads=2)
SCHEMA = EventSchema(
    name="log",
    actions=(
        Action(name="play", role=ActionRole.TARGET),
        Action(name="open", role=ActionRole.CONTEXT),
    ),
    facets=(),
)


@pytest.fixture
def histories() -> Histories:
    """Three tokens of one user, the oldest of five events and no target; one token of another."""
    nothing = np.zeros(4, dtype=np.int64)
    return Histories(
        user_ids=("ana", "bo"),
        offsets=np.array([0, 3, 4]),
        items=("A",),
        item_code=nothing.astype(np.int32),
        first_at=nothing,
        last_at=nothing,
        duration_ms=nothing,
        num_events=np.array([5, 1, 2, 2], dtype=np.int32),
        action_counts=np.array([[0, 5], [1, 0], [1, 1], [1, 1]], dtype=np.int32),
        request_categories={},
        request_numbers={},
    )


def test_a_context_holds_the_newest_tokens_of_each_user(histories: Histories) -> None:
    two, three = (held(histories, SCHEMA, context, MODEL) for context in (2, 3))

    assert (two.events, two.targets, two.users) == (0.5, 1.0, 0.5)
    assert (three.events, three.targets, three.users) == (1.0, 1.0, 1.0)
    assert held(histories, SCHEMA, 1, MODEL).targets == pytest.approx(2 / 3)


def test_attention_sees_every_pair_of_a_token_and_one_not_after_it() -> None:
    # 1 + 2 + 3 pairs; scores and mixing are a multiplication and an addition per width each
    assert attention_flop(np.array([3]), MODEL) == 3 * 6 * 8 * 4
