"""Copies of the first entries of a log, each in one object, so that a long log opens quickly.

::

    log-checkpoints/<N>.jsonl.gz    {"entries": N, "format_version": 1}
                                    entry 1, as its slot has it, on one line
                                    ...
                                    entry N

The entries stay the truth, and all of them stay: whoever loses every checkpoint loses time alone.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence

from lake.errors import CorruptArtifactError, UnknownFormatError
from lake.objects import Objects

FORMAT_VERSION = 1
KEPT = 2
"""So many of the newest stay: should one be damaged, there is another."""

_LEVEL = 6  # 9, the default, takes five times as long to save two bytes in a hundred
_NAME = re.compile(r"(\d{20})\.jsonl\.gz")


class Checkpoints:
    """The checkpoints of one log."""

    def __init__(self, objects: Objects, *, log: str = "log") -> None:
        """Take the prefix of the log's entries; the checkpoints lie beside it."""
        self._objects = objects
        self._prefix = f"{log}-checkpoints"

    def newest_first(self) -> list[int]:
        """Return how many entries each of them has."""
        names = (key.rpartition("/")[2] for key in self._objects.list(self._prefix))
        found = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
        return sorted(found, reverse=True)

    def where(self, num_entries: int) -> str:
        """Return where people find one."""
        return f"{self._objects}/{self._key(num_entries)}"

    def read(self, num_entries: int) -> list[bytes]:
        """Return the entries that it has, each in JSON.

        Raises MissingArtifactError, CorruptArtifactError, and UnknownFormatError where another
        release wrote it.
        """
        data = self._objects.get(self._key(num_entries))
        try:
            header, *lines = gzip.decompress(data).splitlines()
            fields = {**json.loads(header)}
            version, promised = fields["format_version"], fields["entries"]
        except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(
                f"{self.where(num_entries)}: want a checkpoint of the log, got {len(data)} bytes "
                f"({error})"
            ) from error
        if version != FORMAT_VERSION:
            raise UnknownFormatError(
                f"{self.where(num_entries)}: want format {FORMAT_VERSION}, got {version!r}"
            )
        if not 0 < len(lines) == promised == num_entries:
            raise CorruptArtifactError(
                f"{self.where(num_entries)}: want {num_entries} entries, got {len(lines)} of "
                f"{promised!r}"
            )
        return lines

    def write(self, lines: Sequence[bytes]) -> bool:
        """Write one of all these entries; return False where another writer already has."""
        header = json.dumps({"entries": len(lines), "format_version": FORMAT_VERSION}).encode()
        data = gzip.compress(b"\n".join([header, *lines, b""]), _LEVEL, mtime=0)
        return self._objects.put_if_absent(self._key(len(lines)), data)

    def collect(self, *, is_rehearsal: bool) -> Iterator[tuple[str, int]]:
        """Remove those that newer ones replaced and yield their keys and sizes.

        A reader that was about to read one reads the entries instead.
        """
        for number in self.newest_first()[KEPT:]:
            yield self._key(number), len(self._objects.get(self._key(number)))
            if not is_rehearsal:
                self._objects.delete(self._key(number))

    def _key(self, num_entries: int) -> str:
        return f"{self._prefix}/{num_entries:020d}.jsonl.gz"
