"""What the last week's consumer is asked: who chose which of the titles that most users chose.

Every log can answer that, and both versions know it: choices from before the older one.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from assets.workspace import Workspace
from embedding_store.last_week import ConsumerTask, version_of_last_week
from training.tokens.histories import read_histories
from training.tokens.partial import read_schema
from training.tokens.targets import is_target

NUM_DAYS = 28
NUM_ITEMS = 20


def last_week_task(workspace: Workspace, day: str, *, frame: int) -> ConsumerTask | None:
    """Return the task for a day's version of a frame; None where that serves no earlier day."""
    older = version_of_last_week(workspace.store.state(), frame, day)
    if older is None:
        return None
    as_of = datetime.fromisoformat(older.as_of)
    tokens = workspace.history("interaction_tokens", as_of=as_of)[-NUM_DAYS:]
    return most_chosen_titles(workspace.paths(tokens), as_of=as_of, trained_on=older.digest)


def most_chosen_titles(
    token_folders: Sequence[Path], *, as_of: datetime, trained_on: str
) -> ConsumerTask:
    """Return the task about the tokens of some days before ``as_of``."""
    histories = read_histories(token_folders, prefix_folder=None, as_of=as_of)
    is_choice = is_target(histories, read_schema(token_folders[0]))
    users = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))[is_choice]
    items = histories.item_code[is_choice]
    pairs = np.unique(np.stack([users, items]), axis=1)
    num_choosing = np.bincount(pairs[1], minlength=len(histories.items))
    asked = np.argsort(-num_choosing, kind="stable")[:NUM_ITEMS]
    answers = np.column_stack(
        [np.isin(np.arange(histories.num_users), pairs[0][pairs[1] == item]) for item in asked]
    )
    return ConsumerTask(
        definition=f"which of the {len(asked)} titles that most users chose in the "
        f"{len(token_folders)} days before {as_of.date()} a user chose then",
        trained_on=trained_on,
        user_ids=histories.user_ids,
        answers=answers,
    )
