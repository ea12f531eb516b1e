"""Titles and histories in the words that people read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import pyarrow.parquet as pq

from assets.timeline import UNPARTITIONED
from assets.workspace import Workspace
from lake.errors import MissingArtifactError
from training.contracts import UNKNOWN_INSTANT
from training.tokens.histories import read_histories


@dataclass(frozen=True, slots=True)
class Title:
    """What a person wants to know of an item."""

    item_id: str
    name: str
    kind: str
    genres: str


@dataclass(frozen=True, slots=True)
class Watched:
    """One token of a history, for display."""

    title: Title
    first_at: str
    minutes: float
    num_events: int


@dataclass(frozen=True)
class Library:
    """The newest catalogue and the histories of a workspace."""

    workspace: Workspace

    @cached_property
    def titles(self) -> dict[str, Title]:
        """Every item of the newest catalogue by its id."""
        refs = self.workspace.lake.refs("catalogue")
        if not refs:
            raise MissingArtifactError(
                "no catalogue was taken in yet: `marquee run DAY` takes days in from the source"
            )
        table = pq.read_table(
            self.workspace.lake.path(refs[-1]) / "catalogue.parquet",
            columns=["item_id", "title", "kind", "genres"],
        )
        return {
            row["item_id"]: Title(
                row["item_id"],
                row["title"] or row["item_id"],
                row["kind"],
                ", ".join(row["genres"] or []),
            )
            for row in table.to_pylist()
        }

    def title(self, item_id: str) -> Title:
        """Return an item for display, also one that the catalogue no longer holds."""
        return self.titles.get(item_id, Title(item_id, item_id, "", ""))

    def history(self, user_id: str, *, as_of: datetime) -> list[Watched]:
        """Return a user's tokens before ``as_of``, newest first."""
        through = as_of.date().isoformat()
        refs = [
            ref
            for ref in self.workspace.lake.refs("interaction_tokens", through=through)
            if ref.partition < through
        ]
        prefix = self.workspace.lake.require("history_prefix", UNPARTITIONED)
        histories = read_histories(
            self.workspace.paths(refs),
            prefix_folder=self.workspace.lake.path(prefix),
            as_of=as_of,
            users=[user_id],
        )
        watched = [
            Watched(
                self.title(histories.items[histories.item_code[row]]),
                _when(int(histories.first_at[row])),
                histories.duration_ms[row] / 60_000,
                int(histories.num_events[row]),
            )
            for row in range(histories.num_tokens)
        ]
        return watched[::-1]


def _when(instant_us: int) -> str:
    if instant_us == UNKNOWN_INSTANT:
        return "before the first day"
    return datetime.fromtimestamp(instant_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
