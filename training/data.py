"""What a step of training, evaluation or inference may read: paths, and the instant they end at."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.contracts import Histories
from training.features.catalogue import Catalogue, read_catalogue
from training.schema import EventSchema
from training.tokens.histories import read_histories
from training.tokens.partial import read_schema
from training.vocabulary import VOCABULARY_FILE, Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Folders of the lake, and an instant: nothing at or after it is read."""

    token_folders: tuple[Path, ...]
    """Tokens of days, in any order; days at or after ``as_of`` are not read."""
    prefix_folder: Path | None
    """Histories of which only the order is known."""
    catalogue_folder: Path
    """The catalogue that was known at ``as_of``."""
    vocabulary_folder: Path
    """The vocabulary of the last day before ``as_of``."""
    as_of: datetime
    """End of the visible data, exclusive, a UTC midnight."""

    def schema(self) -> EventSchema:
        """Return the schema of the events behind the tokens."""
        return read_schema(self.token_folders[0])

    def histories(
        self, *, as_of: datetime | None = None, users: Collection[str] | None = None
    ) -> Histories:
        """Return histories as of an instant that is not after this data's own."""
        return read_histories(
            self.token_folders,
            prefix_folder=self.prefix_folder,
            as_of=min(as_of or self.as_of, self.as_of),
            users=users,
        )

    def catalogue(self, *, as_of: datetime | None = None) -> Catalogue:
        """Return the catalogue as described at an instant."""
        return read_catalogue(self.catalogue_folder, as_of=as_of or self.as_of)

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary."""
        return Vocabulary.from_parquet(self.vocabulary_folder / VOCABULARY_FILE)
