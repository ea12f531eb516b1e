"""What every online store must do for us, whatever it is made of."""

from collections.abc import Collection, Sequence
from typing import Protocol

from embedding_store.contracts import EMBEDDING
from feature_repo.online_tables.layout import RowLayout

VERSION = "version"
FEATURES = (EMBEDDING, VERSION)
PUSHED = "marquee_pushed"
"""Where SQLite and PostgreSQL note what was pushed: one table for all views."""


class OnlineTable(Protocol):
    """The online rows of one side of one version, and those that were pushed over them.

    The table is made by Feast and has Feast's layout: whoever has Feast alone reads it. Writing a
    row again replaces it.
    """

    @property
    def layout(self) -> RowLayout:
        """How the rows are written."""

    def count(self) -> int | None:
        """Return how many entities have rows, or None without a table.

        Entities that only a push brought do not count.
        """

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part, all of it or nothing; ``keys`` are distinct."""

    def seal(self, num_rows: int) -> None:
        """Note that all ``num_rows`` are written."""

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return embedding and version of each key, or None where the key has no row.

        Raises NoTableError when the view has no rows at all: it was retired, or they are lost.
        """

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Remove all rows but these, and what is noted of pushes; return how many entities went.

        Entities that only a push brought do not count. Feast cannot delete one entity's rows, and
        an erasure must.
        """

    def push(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write rows over those of the version or beside them, and note them, in one step."""

    def own(self, keys: Sequence[bytes]) -> None:
        """Note of pushed entities that the version has them too, whatever the push found.

        A push takes one for new whose row was lost.
        """

    def pushed(self) -> dict[bytes, bytes]:
        """Return the value of every entity that was pushed, by key."""
