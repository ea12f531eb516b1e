"""Which tokens may be asked of a model.

Two rules keep an evaluation from asking what the history already answers:

1. *A fragment is no target.* Events of a day that continue a session from before midnight are part
   of a token that started the day before: ``read_histories`` joins at the seam, and a target of a
   day is a token that *starts* on that day. Reading one day's folder alone would turn the second
   half of such a session into a target whose answer is the last item of the history.
2. *A continuation is no target.* A token of the same item as the token before it parts from that
   one only by the merge gap: the second half of a long film, the next episode an evening later, or
   (behind a history prefix, where the gap is unknown) the same session. "Resume" is right there by
   construction, for any model and for none, whatever the gap; so ``continues_history`` holds for
   every such token, and evaluation leaves it out. Training may keep it, and it stays in histories.

Which token is "the one before" depends on how the model is asked, see ``continues_history``.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from training.contracts import Histories, Int64
from training.errors import ContractError
from training.schema import ActionRole, EventSchema

Bool = npt.NDArray[np.bool_]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_target(histories: Histories, schema: EventSchema) -> Bool:
    """Return bool[T]: the token holds a target action and no negative one."""
    return _holds(histories, schema, ActionRole.TARGET) & ~_holds(
        histories, schema, ActionRole.NEGATIVE
    )


def starts_on(histories: Histories, day: date) -> Bool:
    """Return bool[T]: the token's first event is of that UTC day."""
    begin = microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
    end = begin + timedelta(days=1) // timedelta(microseconds=1)
    mask: Bool = (histories.first_at >= begin) & (histories.first_at < end)
    return mask


def targets_of_day(histories: Histories, day: date, schema: EventSchema) -> Bool:
    """Return bool[T]: tokens that start on ``day`` and are targets."""
    return starts_on(histories, day) & is_target(histories, schema)


def continues_history(histories: Histories, *, cut_at: datetime | None = None) -> Bool:
    """Return bool[T]: the token's item is the item that the history before it ends with.

    Without ``cut_at``, the history of a token is every token of its user before it: for models that
    are asked at each step in turn. With ``cut_at``, it is the tokens that start before that
    instant, for all later tokens of the user alike: for models that are asked once, at the cut;
    tokens before the cut are history and never marked. A user's first token continues nothing.

    A history that ends at a cut must be *read* as of the cut: in histories that were read as of a
    later instant, a token from before the cut may already hold events from after it.
    """
    position = np.arange(histories.num_tokens)
    first_of_user = np.repeat(histories.offsets[:-1], np.diff(histories.offsets))
    if cut_at is None:
        last = position - 1
        is_after = np.ones(histories.num_tokens, dtype=bool)
    else:
        is_after = histories.first_at >= microseconds(cut_at)
        last = first_of_user + _tokens_before_cut(histories, is_after) - 1
    has_history = last >= first_of_user
    item_of_last = histories.item_code[np.where(has_history, last, 0)]
    mask: Bool = is_after & has_history & (item_of_last == histories.item_code)
    return mask


def microseconds(instant: datetime) -> int:
    """Return an aware instant in the unit of ``Histories``."""
    if instant.tzinfo is None:
        raise ContractError(f"instant: want an aware one, got {instant!r}")
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _tokens_before_cut(histories: Histories, is_after: Bool) -> Int64:
    """Return int64[T]: how many tokens of the token's user start before the cut."""
    before = np.concatenate(([0], np.cumsum(~is_after)))
    per_user = before[histories.offsets[1:]] - before[histories.offsets[:-1]]
    return np.repeat(per_user, np.diff(histories.offsets))


def _holds(histories: Histories, schema: EventSchema, role: ActionRole) -> Bool:
    columns = [schema.token_actions.index(name) for name in schema.actions_with(role)]
    mask: Bool = np.any(histories.action_counts[:, columns] > 0, axis=1)
    return mask
