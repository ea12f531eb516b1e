"""Writes the store that later releases must still open; run once per released format::

python -m tests.unit.embedding_store.released_format tests/unit/embedding_store/format_1
"""

import json
import sys
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from embedding_store.client import EmbeddingClient
from embedding_store.entries import ConsumerRegistered, ModelAccepted
from tests.unit.embedding_store.small_world import SmallWorld, instant, raw_world


def write(folder: Path) -> None:
    """Three versions, a rollback, a retirement, a model and a consumer; and what they answer."""
    with TemporaryDirectory() as work:
        world = SmallWorld(Path(work), raw=raw_world(num_users=16, num_items=8, dim=4))
        model = ModelAccepted(
            partition="2024-02-01", role="base", digest="d", uri="u", logical_id="l"
        )
        world.publisher.accept_model(model, effective_at=instant(0), why="the first base")
        world._serve((0, 1, 2))
        world.publisher.rollback(1, effective_at=instant(5), why="an example")
        world.publisher.retire(3, effective_at=instant(6), why="an example")
        world.publisher.register_consumer(
            ConsumerRegistered(name="ranker", frame=1), effective_at=instant(6), why="an example"
        )
        world.store.sweep()
        copytree(world.store.root, folder / "store")
        (folder / "answers.json").write_text(json.dumps(answers(folder / "store"), indent=1))


def answers(root: Path) -> dict:
    """What a consumer is told."""
    client = EmbeddingClient(root)
    pinned = client.pin()
    users = pinned.users(["user-3", "nobody"])
    return {
        "stable": pinned.name,
        "previous": client.pin("previous").name,
        "found": users.is_found.tolist(),
        "vectors": users.vectors.tolist(),
        "top items": [list(one) for one in pinned.top_items("user-3", 3)],
        "served": [
            [at.isoformat(), version.name] for at, version in client.store.state().served(1)
        ],
        "base": client.store.state().base_of_day("2024-03-01").digest,
        "consumers": sorted(client.store.state().consumers),
        "live": [version.name for version in client.store.state().live_versions(1)],
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
