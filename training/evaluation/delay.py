"""What it costs that vectors are served some hours after they were made, by replay.

::

    history   e e e   e e |  e   | target          asked with what was known `hours` before
                          `hours`

The targets stay the same, so systems and delays differ by nothing else. DESIGN.md names delays of
up to 48 hours.
"""

from dataclasses import replace

from training.contracts import UNKNOWN_INSTANT
from training.cuts import ended_before
from training.errors import ContractError
from training.evaluation.asked import Asked
from training.features.instants import HOUR_US

DELAYS_HOURS = (0, 1, 24, 48)


def delayed(asked: Asked, *, hours: int) -> Asked:
    """Return the same questions, asked so many hours earlier of what was known then.

    A token that had not ended by then is left out whole; a history may be left empty, as that of
    somebody who was not known then. Raises ContractError where the instants of questions are not
    known.
    """
    if (asked.at_Q == UNKNOWN_INSTANT).any():
        raise ContractError("a delay wants questions with instants, got some without")
    at_Q = asked.at_Q - hours * HOUR_US
    return replace(asked, histories=ended_before(asked.histories, at_Q), at_Q=at_Q)
