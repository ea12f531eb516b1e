"""What every online store must do for us, whatever it is made of."""

from collections.abc import Collection, Sequence
from typing import Protocol

from embedding_store.contracts import EMBEDDING

VERSION = "version"
FEATURES = (EMBEDDING, VERSION)


class OnlineTable(Protocol):
    """The online rows of one side of one version.

    The table is made by Feast and has Feast's layout: whoever has Feast alone reads it. Writing a
    row again replaces it.
    """

    def count(self) -> int | None:
        """Return how many entities have rows, or None without a table."""

    def write(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write one part, all of it or nothing; ``keys`` are distinct."""

    def seal(self, num_rows: int) -> None:
        """Note that all ``num_rows`` are written."""

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes] | None]:
        """Return embedding and version of each key, or None where the key has no row.

        Raises NoTableError when the view has no rows at all: it was retired, or they are lost.
        """

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Remove all rows but these; return how many entities went.

        Feast cannot delete one entity's rows, and an erasure must.
        """
