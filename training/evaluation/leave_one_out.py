"""Leave-one-out, as published tables ask it: each user's last token, among all items.

::

    a user's tokens    1 2 3 ... n-2 | n-1         | n
                       learned from  | validation  | test

Both questions are asked of models that learned from the first n - 2 tokens alone; the history of
the test question holds the validation token. Some published rows learn from it as well once all is
chosen: from the first n - 1 tokens. Source: Kang and McAuley, ICDM 2018, arXiv:1808.09781,
sec. IV, but for its sampled negatives: Krichene and Rendle, KDD 2020, show that they order models
wrongly. The test question is asked once per recipe and seed, never to choose by.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from training.contracts import Histories
from training.cuts import with_at_least, without_last
from training.errors import ContractError, NoDataError
from training.evaluation.asked import Asked, candidate_of_token
from training.features.catalogue import Catalogue
from training.schema import EventSchema
from training.tokens.targets import is_target

Ask = Literal["validation", "test"]

MIN_TOKENS = 3
"""A token to learn from, and the two that are held out."""


def leave_one_out(
    log: Histories,
    *,
    schema: EventSchema,
    catalogue: Catalogue,
    ask: Ask,
    held_out: int = 2,
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> Asked:
    """Return the validation or the test questions of everybody with ``MIN_TOKENS`` tokens.

    Candidates are the items of ``log``, all of them.

    Args:
        log: all tokens.
        schema: of ``log``.
        catalogue: of the items of ``log``.
        ask: which question.
        held_out: newest tokens of a user that nothing is learned from: 2, or for the test question
            also 1, where the validation token taught the model after it was chosen by.
        groups: by attribute, of users by id.

    Raises:
        ContractError: a token is no target, and what is held out must be one; or the answer would
            be learned from.
        NoDataError: nobody has so many tokens.
    """
    if held_out < (least := 2 if ask == "validation" else 1):
        raise ContractError(f"leave-one-out, {ask}: want {least} held out, got {held_out}")
    if not is_target(log, schema).all():
        raise ContractError("leave-one-out: want a log of targets alone, got other tokens as well")
    long = with_at_least(log, MIN_TOKENS)
    if not long.num_users:
        raise NoDataError(f"leave-one-out: nobody has {MIN_TOKENS} tokens")
    through_target = without_last(long, 1) if ask == "validation" else long
    target_rows = through_target.offsets[1:] - 1
    candidates = tuple(sorted(log.items))
    return Asked(
        schema=schema,
        catalogue=catalogue,
        learned=without_last(long, held_out),
        histories=without_last(through_target, 1),
        candidates=candidates,
        target_Q=candidate_of_token(through_target, candidates)[target_rows],
        user_Q=np.arange(long.num_users),
        at_Q=through_target.first_at[target_rows],
        groups={
            name: tuple(of_user.get(user, "unknown") for user in long.user_ids)
            for name, of_user in (groups or {}).items()
        },
    )
