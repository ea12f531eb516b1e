"""A simulated world served over a month, with a model retrained from scratch in between.

::

    history ──► base ──► daily models ... day d │ retrained base ──► daily models ... day d + 30
                                     vectors of d, then of every day: raw, and as a staged version

The days are made by the steps of the lifecycle without its orchestrator: ingestion, tokens,
training, inference, stabilisation onto the day before, staging.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

from embedding_store.manifest import Origin
from embedding_store.stabilise import stabilise
from embedding_store.staging import ActiveUsers, stage
from embedding_store.store import EmbeddingStore
from embedding_store.versions import Version
from lake.days import end_of
from training.config.run import RunConfig
from training.data import TrainingData
from training.events.artifacts import write_catalogue, write_prefix, write_raw, write_valid
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.fine_tune import fine_tune
from training.pretrain import pretrain
from training.tokens.storage import write_tokens
from training.tokens.tokenizers import TOKENIZERS
from training.tracker import LoggingTracker
from training.vectors import embed_items, embed_users
from training.vocabulary import write_vocabulary

NUM_BUCKETS = 1
FRAME = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Which day is what; days are counted from the first one of the world."""

    num_history_days: int = 21
    """Days that the first base is trained on."""
    num_daily_before: int = 28
    """Days after it that are fine-tuned one by one; the last one is d."""
    num_days_after: int = 30
    """Days after d, when the model has been retrained on everything through d."""
    num_label_days: int = 3
    """Days after the last one, of which only events are needed."""

    @property
    def day_d(self) -> int:
        """The day whose vectors a consumer is trained on."""
        return self.num_history_days + self.num_daily_before - 1

    @property
    def num_days(self) -> int:
        """Days of events."""
        return self.day_d + 1 + self.num_days_after + self.num_label_days


@dataclass(frozen=True)
class RetrainedWorld:
    """Folders of every day below ``folder``; what stands there is kept."""

    folder: Path
    parameters: WorldParameters
    recipe: RunConfig
    calendar: Calendar = field(default_factory=Calendar)

    @cached_property
    def store(self) -> EmbeddingStore:
        """Where the versions are staged."""
        return EmbeddingStore(self.folder / "store")

    @cached_property
    def _source(self) -> SimulatedWorld:
        return SimulatedWorld(self.parameters)

    def day(self, number: int) -> date:
        """Return the date of day ``number``."""
        return self.parameters.first_day + timedelta(days=number)

    def at(self, number: int, what: str) -> Path:
        """Return the folder of one artifact of a day."""
        return self.folder / self.day(number).isoformat() / what

    def ingest(self) -> None:
        """Write every day's catalogue, valid events, tokens and vocabulary."""
        tokenizer = replace(TOKENIZERS["interaction_tokens"], num_buckets=NUM_BUCKETS)
        prefix = self._empty(self.folder / "prefix")
        write_prefix(self._source, prefix)
        for number in range(self.calendar.num_days):
            if self.at(number, "vocabulary").exists():
                continue
            day, made = self.day(number), {}
            for name in ("raw", "catalogue", "valid", "tokens", "vocabulary"):
                made[name] = self._empty(self.at(number, name))
            late = datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=30)
            write_raw(self._source, day, late, made["raw"], num_buckets=NUM_BUCKETS)
            write_catalogue(self._source, end_of(day.isoformat()), made["catalogue"])
            write_valid(made["raw"], made["catalogue"], day, made["valid"])
            write_tokens(made["valid"], tokenizer, made["tokens"])
            before = self.at(number - 1, "vocabulary") if number else None
            write_vocabulary(made["catalogue"], before, day, made["vocabulary"])

    def data(self, number: int) -> TrainingData:
        """Return what is known at the end of a day."""
        return TrainingData(
            token_folders=tuple(self.at(one, "tokens") for one in range(number + 1)),
            prefix_folder=self.folder / "prefix",
            catalogue_folder=self.at(number, "catalogue"),
            vocabulary_folder=self.at(number, "vocabulary"),
            as_of=end_of(self.day(number).isoformat()),
        )

    def train(self) -> None:
        """Train both bases and every day's model, and infer and stage the vectors from d on."""
        plan = self.calendar
        model = self._base(plan.num_history_days - 1)
        for number in range(plan.num_history_days, plan.day_d + plan.num_days_after + 1):
            if number == plan.day_d + 1:
                model = self._base(plan.day_d, what="retrained")
            model = self._fine_tuned(number, model)
            if number >= plan.day_d:
                self._embed(number, model)

    def versions(self) -> list[Version]:
        """Return the version of each day from d on, each stabilised onto the one before."""
        staged: list[Version] = []
        first = self.calendar.day_d
        for number in range(first, first + self.calendar.num_days_after + 1):
            staged.append(self.staged(number, staged[-1] if staged else None))
        return staged

    def staged(self, number: int, reference: Version | None) -> Version:
        """Return a day's vectors turned to ``reference``, as a version."""
        target = self.at(number, "stabilised")
        users, items = self.at(number, "users"), self.at(number, "items")
        if not (target / "user_default.parquet").exists():
            folder = reference.folder if reference else None
            stabilise(users, items, self._empty(target), frame=FRAME, reference=folder)
        everybody = ActiveUsers("nobody in particular", ())
        return stage(self.store, target, origin=self._origin(number), active_users=everybody)

    def _base(self, number: int, what: str = "base") -> Path:
        target = self.at(number, what)
        if not target.exists():
            pretrain(self.data(number), self.recipe, self._empty(target), LoggingTracker())
        return target

    def _fine_tuned(self, number: int, base: Path) -> Path:
        target, day = self.at(number, "model"), self.day(number)
        if not target.exists():
            made = self._empty(target)
            fine_tune(base, self.data(number), self.recipe, made, LoggingTracker(), day=day)
        return target

    def _embed(self, number: int, model: Path) -> None:
        users, items = self.at(number, "users"), self.at(number, "items")
        if not items.exists():
            embed_users(model, self.data(number), self._empty(users), NUM_BUCKETS)
            embed_items(model, self.data(number), self._empty(items))

    def _origin(self, number: int) -> Origin:
        nothing = dict.fromkeys(
            ("model_digest", "base_id", "base_digest", "tokenizer_id", "tokenizer_digest"), ""
        )
        day = self.day(number).isoformat()
        return Origin(
            day=day, as_of=end_of(day).isoformat(), logical_id=day, model_id=day, **nothing
        )

    def _empty(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
