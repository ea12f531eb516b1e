"""What an evaluation asks: which users, which candidates, which targets of a day."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from lake.days import end_of, start_of
from training.contracts import Histories, Int64
from training.data import TrainingData
from training.errors import NoDataError
from training.features.catalogue import Catalogue
from training.held_out import is_held_out
from training.schema import EventSchema
from training.tokens.targets import targets_of_day
from training.vocabulary import Vocabulary

Bool = npt.NDArray[np.bool_]

NEW_ITEM_DAYS = 7
SHORT_HISTORY_TOKENS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Legend: U users, M candidates, R targets (unique pairs, by user and candidate)."""

    day: date
    schema: EventSchema
    histories: Histories
    """All users, as of the start of the day."""
    catalogue: Catalogue
    """As described at the start of the day."""
    user_ids: tuple[str, ...]
    candidates: tuple[str, ...]
    user_R: Int64
    target_R: Int64
    num_continued: int
    """Pairs left out because the user's history ends with that very item."""
    num_not_candidates: int
    """Pairs left out because the item is not valid on the day."""
    has_no_history_U: Bool
    is_short_history_R: Bool
    is_new_item_R: Bool


def ask_day(data: TrainingData, day: date, *, held_out_one_in: int | None = None) -> Questions:
    """Return the questions of a day: of all users, or only of the one in so many held out.

    Raises NoDataError when there are none.
    """
    start, end = start_of(day), end_of(day)
    if data.as_of < end:
        raise NoDataError(f"evaluation: {day} ends after the data, which ends at {data.as_of}")
    schema, histories = data.schema(), data.histories(as_of=start)
    pairs = _pairs(data.histories(as_of=end), day, schema)
    if held_out_one_in is not None:
        held_out = is_held_out([user for user, _ in pairs], day, one_in=held_out_one_in)
        pairs = [pair for pair, held in zip(pairs, held_out, strict=True) if held]
    last_items = _last_items(histories)
    fresh = [pair for pair in pairs if last_items.get(pair[0]) != pair[1]]

    catalogue = data.catalogue(as_of=start)
    valid = catalogue.valid_between(start, end)
    candidates = tuple(i for i, ok in zip(catalogue.item_ids, valid, strict=True) if ok)
    candidate_of = {item: at for at, item in enumerate(candidates)}
    asked = [pair for pair in fresh if pair[1] in candidate_of]
    if not asked:
        who = "users" if held_out_one_in is None else "held-out users"
        raise NoDataError(f"evaluation: no target of {who} on {day}")

    user_ids = tuple(sorted({user for user, _ in asked}))
    user_of = {user: at for at, user in enumerate(user_ids)}
    lengths = dict(zip(histories.user_ids, np.diff(histories.offsets).tolist(), strict=True))
    new_items = _new_items(data.vocabulary(), day)
    return Questions(
        day=day,
        schema=schema,
        histories=histories,
        catalogue=catalogue,
        user_ids=user_ids,
        candidates=candidates,
        user_R=np.array([user_of[user] for user, _ in asked], dtype=np.int64),
        target_R=np.array([candidate_of[item] for _, item in asked], dtype=np.int64),
        num_continued=len(pairs) - len(fresh),
        num_not_candidates=len(fresh) - len(asked),
        has_no_history_U=np.array([user not in lengths for user in user_ids]),
        is_short_history_R=np.array([lengths.get(u, 0) < SHORT_HISTORY_TOKENS for u, _ in asked]),
        is_new_item_R=np.array([item in new_items for _, item in asked]),
    )


def _pairs(histories: Histories, day: date, schema: EventSchema) -> list[tuple[str, str]]:
    """Return the unique (user, item) pairs of the targets that start on the day, sorted."""
    rows = np.flatnonzero(targets_of_day(histories, day, schema))
    users = np.searchsorted(histories.offsets, rows, side="right") - 1
    items = histories.item_code[rows]
    found = zip(users.tolist(), items.tolist(), strict=True)
    return sorted({(histories.user_ids[user], histories.items[item]) for user, item in found})


def _last_items(histories: Histories) -> dict[str, str]:
    last = histories.item_code[histories.offsets[1:] - 1]
    return {
        user: histories.items[item]
        for user, item in zip(histories.user_ids, last.tolist(), strict=True)
    }


def _new_items(vocabulary: Vocabulary, day: date) -> set[str]:
    since = day - timedelta(days=NEW_ITEM_DAYS)
    rows = vocabulary.table.filter(pc.field("first_seen") > since)
    items: list[Any] = rows["item_id"].to_pylist()
    return set(items)
