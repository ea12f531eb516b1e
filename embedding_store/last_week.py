"""Would a consumer that was trained on last week's vectors still understand today's?

A linear model learns answers about users from the raw coordinates of an older version, which is
what a rotation of users and items together destroys while it changes no score. Read on today's
vectors it is compared with one that learned the same answers from today's: the figure is the share
that it keeps of the other's advantage over chance. Who is asked taught nothing (four folds).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.contracts import Float32, Float64
from embedding_store.errors import ContractError
from embedding_store.similarity import common_rows, counterparts
from embedding_store.state import PublishedVersion, StoreState
from embedding_store.versions import Version
from lake.digests import digest_json

WEEK = timedelta(days=7)
MAX_USERS = 20_000
MIN_USERS = 50
MIN_ANSWERS = 5
"""Users who say yes, and who say no, below which a question is left out."""
MIN_ADVANTAGE = 0.1
"""Mean area under the ROC curve above one half that today's vectors must give: below, a share of
it is a ratio of noise (1.4 and 1.5 at .05 and .04, of the 181 users of a tiny world)."""
_FOLDS = 4
_RIDGE = 0.5
"""Penalty on the coefficients, per user and mean variance of a coordinate."""

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ConsumerTask:
    """What a consumer is asked about users, by answers from before the older version."""

    definition: str
    """The questions, in words."""
    trained_on: str
    """Digest of the older version."""
    user_ids: Sequence[str]
    answers: Bool
    """bool[users, questions]."""

    def __post_init__(self) -> None:
        """Refuse answers that are not one row per user."""
        if self.answers.ndim != 2 or len(self.answers) != len(self.user_ids):
            raise ContractError(
                f"answers: want one row for each of {len(self.user_ids)} users, got shape "
                f"{self.answers.shape}"
            )

    @cached_property
    def evidence(self) -> str:
        """Digest of the questions, the answers and the older version."""
        rows = np.packbits(self.answers).tobytes().hex()
        shape = list(self.answers.shape)
        return digest_json([self.definition, self.trained_on, list(self.user_ids), shape, rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How well the consumers answer, as mean area under the ROC curve over the questions."""

    trained_then: float
    """Learned from the older version, read on today's."""
    trained_now: float
    num_users: int
    num_questions: int

    @property
    def share_kept(self) -> float | None:
        """Share of the advantage over chance; None where there is hardly any to keep."""
        advantage = self.trained_now - 0.5
        return (self.trained_then - 0.5) / advantage if advantage >= MIN_ADVANTAGE else None


def version_of_last_week(state: StoreState, frame: int, day: str) -> PublishedVersion | None:
    """Return the newest ``stable`` at least a week older than ``day``, else the frame's oldest.

    Of those that ``stable`` rests on: nobody learns from what was rolled back. None without one of
    an earlier day.
    """
    standing = [state.versions[number] for number in state.stacks.get(frame, ())]
    earlier = sorted((one for one in standing if one.day < day), key=lambda one: one.day)
    latest = (date.fromisoformat(day) - WEEK).isoformat()
    old_enough = [one for one in earlier if one.day <= latest]
    found = old_enough[-1:] or earlier[:1]
    return found[0] if found else None


def transfer(version: Version, older: Version, task: ConsumerTask) -> Transfer | None:
    """Return how the two consumers answer; None with too few common users or answers."""
    found = list(_common(version, older, task))
    if not found:
        return None
    then, now, answers = (np.concatenate(side) for side in zip(*found, strict=True))
    answers = answers[:MAX_USERS]
    said = answers.sum(axis=0)
    answers = answers[:, np.minimum(said, len(answers) - said) >= MIN_ANSWERS]
    if len(answers) < MIN_USERS or not answers.shape[1]:
        return None
    then, now = (side[:MAX_USERS].astype(np.float64) for side in (then, now))
    return Transfer(
        trained_then=_mean_auc(answers, _asked(then, now, answers)),
        trained_now=_mean_auc(answers, _asked(now, now, answers)),
        num_users=len(answers),
        num_questions=answers.shape[1],
    )


def told(task: ConsumerTask, found: Transfer | None) -> str:
    """Return what explains the figure, or why there is none."""
    against = f"learned from {task.trained_on[:12]}, {task.definition}"
    if found is None:
        return f"too few users or answers in common to tell; {against}"
    areas = (
        f"mean AUC {found.trained_then:.4f}, {found.trained_now:.4f} if learned from these vectors"
    )
    few = "" if found.share_kept is not None else ", too little to keep a share of"
    return f"{areas}{few}; {found.num_users} users; {against}"


def _common(
    version: Version, older: Version, task: ConsumerTask
) -> Iterator[tuple[Float32, Float32, Bool]]:
    """Yield old vectors, new vectors and answers of the task's users, until there are enough."""
    asked = pa.array(task.user_ids, pa.string())
    parts, rows = version.manifest.parts("user"), 0
    for number, record in enumerate(parts):
        shard = version.shard(record, "user")
        for other in counterparts("user", number, len(parts), older):
            rows_old, rows_new = common_rows(other.ids, shard.ids)
            known = pc.index_in(shard.ids, value_set=asked).fill_null(-1).to_numpy()[rows_new]
            is_asked = known >= 0
            answers = task.answers[known[is_asked]]
            yield other.vectors[rows_old[is_asked]], shard.vectors[rows_new[is_asked]], answers
            rows += len(answers)
        if rows >= MAX_USERS:
            return


def _asked(learned: Float64, read: Float64, answers: Bool) -> Float64:
    """Return float[users, questions]: what a model says that learned from the other folds."""
    fold = np.arange(len(read)) % _FOLDS
    said = np.empty(answers.shape)
    for one in range(_FOLDS):
        inputs, wanted = learned[fold != one], answers[fold != one].astype(np.float64)
        mean = inputs.mean(axis=0)
        # one scale for all: a coordinate's own would blow up those that hold little but noise
        scale = np.sqrt(inputs.var(axis=0).mean()) or 1.0
        x = (inputs - mean) / scale
        moments = x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1])
        weights = np.linalg.solve(moments, x.T @ (wanted - wanted.mean(axis=0)))
        said[fold == one] = (read[fold == one] - mean) / scale @ weights
    return said


def _mean_auc(answers: Bool, scores: Float64) -> float:
    """Return the mean over questions of the chance that a yes outscores a no, ties half."""
    areas = []
    for is_yes, score in zip(answers.T, scores.T, strict=True):
        no = np.sort(score[~is_yes])
        below = np.searchsorted(no, score[is_yes]) + np.searchsorted(no, score[is_yes], "right")
        areas.append(below.mean() / 2 / len(no))
    return float(np.mean(areas))
