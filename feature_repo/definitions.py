"""The one module with Feast objects at module level, for the ``feast`` command line.

``feast apply`` imports it (through the ``definitions.py`` of the workspace's Feast folder, or with
``MARQUEE_WORKSPACE`` set) and deletes whatever it does not name. So it names everything that the
log holds, and raises when the log cannot vouch for that or a version's online rows are missing.

The safe way to apply is ``marquee reconcile``: ``feast apply`` writes the registry in place.
"""

import os
from pathlib import Path

from feast import FeatureStore

from embedding_store.store import EmbeddingStore
from feature_repo.apply import registered_log_seq, registered_views
from feature_repo.errors import RenderingError
from feature_repo.folder import WORKSPACE_VARIABLE, FeastFolder
from feature_repo.online import OnlineRows
from feature_repo.permissions import readers_of
from feature_repo.registry import open_for_reading
from feature_repo.rendering import Rendering, check_log_covers, render
from feature_repo.served import live_sides, read_state, served_frames


def _rendered(workspace: Path) -> Rendering:
    folder = FeastFolder.of(workspace)
    embeddings = EmbeddingStore(folder.store)
    state = read_state(embeddings)
    served = served_frames(embeddings, state)
    if served.damaged:  # leaving out what Feast may serve is for `marquee reconcile` to decide
        raise RenderingError("; ".join(str(one) for one in served.damaged))
    rendering = render(served.frames, log_seq=state.seq, readers=readers_of(state))
    if not folder.has_registry():
        raise RenderingError(f"{folder.path} has no registry yet: run `marquee reconcile` first")
    store: FeatureStore = open_for_reading(folder)
    tags = [view.tags for view in registered_views(store).values()]
    check_log_covers(state, tags, log_seq=registered_log_seq(store))
    for version, side in live_sides(served.frames):
        view = rendering.views[version.view(side)]
        OnlineRows(store=store, version=version, side=side, view=view).check()
    return rendering


def _workspace() -> Path:
    workspace = os.environ.get(WORKSPACE_VARIABLE)
    if not workspace:
        raise RenderingError(f"set {WORKSPACE_VARIABLE} to the folder of a workspace")
    return Path(workspace)


_rendering = _rendered(_workspace())

# Feast collects the attributes of this module, one object each
globals().update(
    {
        "project": _rendering.project,
        **{f"entity_{side}": entity for side, entity in _rendering.entities.items()},
        **{source.name: source for source in _rendering.sources},
        **_rendering.views,
        **_rendering.services,
        **_rendering.permissions,
    }
)
