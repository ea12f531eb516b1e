"""What a consumer sees: embeddings, in the words of the catalogue.

``marquee lookup`` goes through the feature service, as an online consumer does, and waits for Feast
to load; ``recommend`` and ``similar`` read the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.workspace import Workspace
from embedding_store.answers import Embeddings, require_one_version
from embedding_store.client import EmbeddingClient
from embedding_store.state import PublishedVersion
from feature_repo.lookup import open_features
from marquee.errors import CommandError
from marquee.titles import Library, Title

Float32 = npt.NDArray[np.float32]
NUM_RECENT = 8
NUM_BEST = 10


class Reader(Protocol):
    """Who answers look-ups, from one version."""

    def users(self, ids: Sequence[str], /) -> Embeddings:
        """Return the users' embeddings."""
        ...

    def items(self, ids: Sequence[str], /) -> Embeddings:
        """Return the items' embeddings."""
        ...


@dataclass(frozen=True)
class Shelf:
    """All titles with their vectors, of one version."""

    library: Library
    reader: Reader
    """Pinned: users and items are of the version that was stable when the shelf was opened."""
    items: Embeddings

    @cached_property
    def served(self) -> PublishedVersion:
        """The version that the vectors are of."""
        state = self.library.workspace.store.state()
        return state.version(int(self.items.version[1:]))

    def best(self, scores: Float32, count: int) -> list[tuple[Title, float]]:
        """Return the ``count`` titles with the highest scores that have a vector, best first."""
        ranked = np.argsort(np.where(self.items.is_found, -scores, np.inf), kind="stable")
        rows = ranked[: min(count, int(self.items.is_found.sum()))]
        return [(self.library.title(self.items.ids[row]), float(scores[row])) for row in rows]


def served_shelf(workspace: Workspace, frame: int | None = None) -> Shelf:
    """Return every title with its vector, through the feature service."""
    features = open_features(workspace.feast_dir, frame=frame or workspace.served_frame)
    return _shelf(workspace, features.pinned())


def stored_shelf(workspace: Workspace, frame: int | None = None) -> Shelf:
    """Return every title with its vector, from the store."""
    chosen = frame or workspace.served_frame
    return _shelf(workspace, EmbeddingClient(workspace.store.root).pin(frame=chosen))


def _shelf(workspace: Workspace, reader: Reader) -> Shelf:
    library = Library(workspace)
    return Shelf(library, reader, reader.items(sorted(library.titles)))


def user_vector(shelf: Shelf, user: str) -> Embeddings:
    """Return one user's embedding, of the shelf's version."""
    found = shelf.reader.users([user])
    require_one_version(found, shelf.items)
    return found


def show_user(
    workspace: Workspace, user: str, console: Console, *, frame: int | None = None
) -> None:
    """Print a user's embedding and version, their history by title, the best titles for them.

    Raises CommandError for an unknown user, after printing what unknown users are served.
    """
    shelf = served_shelf(workspace, frame)
    found = user_vector(shelf, user)
    console.print(embedding_line(user, found))
    if found.is_found[0]:
        console.print(history_table(shelf, user))
    console.print(recommendation_table(shelf, found, NUM_BEST))
    if not found.is_found[0]:
        raise CommandError(
            f"user {user!r} has no history in {found.version}: shown above is the declared default "
            "that consumers are served (found = false)"
        )


def show_recommendations(
    workspace: Workspace, user: str, count: int, console: Console, *, frame: int | None = None
) -> None:
    """Print the best titles for a user; an unknown one gets the declared default."""
    shelf = stored_shelf(workspace, frame)
    found = user_vector(shelf, user)
    if not found.is_found[0]:
        console.print(
            f"user {escape(user)} is unknown to {found.version}: the declared default is used"
        )
    console.print(recommendation_table(shelf, found, count))


def show_similar(
    workspace: Workspace, item: str, count: int, console: Console, *, frame: int | None = None
) -> None:
    """Print the titles nearest to one title; raises CommandError for an unknown one."""
    shelf = stored_shelf(workspace, frame)
    if item not in shelf.library.titles:
        raise CommandError(f"no item {item!r} in the catalogue: `marquee recommend USER` shows ids")
    one = shelf.reader.items([item])
    if not one.is_found[0]:
        raise CommandError(f"item {item!r} is in the catalogue but has no vector in {one.version}")
    lengths = np.linalg.norm(shelf.items.vectors, axis=1) * np.linalg.norm(one.vectors[0])
    cosines = shelf.items.vectors @ one.vectors[0] / np.maximum(lengths, 1e-12)
    others = [(t, s) for t, s in shelf.best(cosines, count + 1) if t.item_id != item][:count]
    title = shelf.library.title(item)
    console.print(
        _titles_table(f"Nearest to {escape(title.name)} ({one.version})", others, "cosine")
    )


def embedding_line(user: str, found: Embeddings) -> str:
    """Return one line about a looked-up user."""
    vector = found.vectors[0]
    head = ", ".join(f"{value:+.3f}" for value in vector[:4])
    is_found = str(bool(found.is_found[0])).lower()
    return (
        f"user {escape(user)}: found = {is_found}, version {found.version}, "
        rf"embedding \[{head}, …] of {len(vector)} dimensions, norm {np.linalg.norm(vector):.2f}"
    )


def history_table(shelf: Shelf, user: str) -> Table:
    """Return the newest tokens of a user as of the served version."""
    as_of = datetime.fromisoformat(shelf.served.as_of)  # exclusive: what the version has seen
    watched = shelf.library.history(user, as_of=as_of)
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"History of {escape(user)}: newest {NUM_RECENT} of {len(watched)}",
    )
    for name, justify in (("when (UTC)", "left"), ("title", "left"), ("kind", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("genres")
    table.add_column("minutes", justify="right")
    table.add_column("events", justify="right")
    for one in watched[:NUM_RECENT]:
        title = one.title
        table.add_row(
            one.first_at,
            escape(title.name),
            escape(title.kind),
            escape(title.genres),
            f"{one.minutes:.0f}" if one.minutes >= 1 else f"{one.minutes:.1f}",
            str(one.num_events),
        )
    return table


def recommendation_table(shelf: Shelf, found: Embeddings, count: int) -> Table:
    """Return the titles whose inner product with the user's vector is highest."""
    best = shelf.best(shelf.items.vectors @ found.vectors[0], count)
    return _titles_table(
        f"Best {len(best)} titles for {escape(found.ids[0])} ({found.version})", best, "score"
    )


def _titles_table(heading: str, titles: list[tuple[Title, float]], figure: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=heading)
    table.add_column("#", justify="right")
    for name in ("item", "title", "kind", "genres"):
        table.add_column(name)
    table.add_column(figure, justify="right")
    for rank, (title, score) in enumerate(titles, start=1):
        words = (title.item_id, title.name, title.kind, title.genres)
        table.add_row(str(rank), *(escape(word) for word in words), f"{score:.2f}")
    return table
