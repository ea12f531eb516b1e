import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from assets.workspace import Workspace, WorkspaceConfig
from embedding_store.staging import ActiveUsers
from lake.lake import Written
from lake.refs import ArtifactRef
from tests.unit.embedding_store.small_world import SmallWorld, day_name, instant

# the orchestrator tells of features in beta when its partitions are loaded
pytestmark = pytest.mark.filterwarnings(
    "ignore::dagster_shared.utils.warnings.BetaWarning",
)

USERS = ArtifactRef(
    asset="user_embeddings",
    partition=day_name(1),
    uri="x",
    logical_id="users",
    digest="d",
    schema_id="x/1",
    rows=1,
    as_of="",
    producer="p",
)
ITEMS = replace(USERS, asset="item_embeddings", logical_id="items")
OTHERS = replace(ITEMS, logical_id="other items")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two days, the second one stable, made of USERS and ITEMS onto the first."""
    from assets.embeddings import STABILISATION

    world = SmallWorld(tmp_path)
    world.serve(0)
    config = WorkspaceConfig(
        source="simulated",
        source_parameters={},
        first_day=date(2024, 3, 1),
        last_day=date(2024, 3, 9),
        recipe="tiny",
    )
    workspace = Workspace.create(tmp_path, config)
    built = workspace.build(
        "stabilised_embeddings",
        day_name(1),
        lambda _: Written(1),
        code_of=STABILISATION,
        as_of=instant(2),
        inputs=[USERS, ITEMS],
    )
    world.promote(world.publish(1, origin=world.origin(1, built.ref.logical_id)))
    return workspace


@pytest.mark.parametrize(
    ("day", "inputs", "is_recomputing", "reference"),
    [
        (1, [USERS, ITEMS], False, 1),
        (1, [USERS, OTHERS], False, 1),
        (1, [USERS, ITEMS], True, 1),
        (1, [USERS, OTHERS], True, 2),
        (0, [USERS, ITEMS], True, 2),
        (2, [USERS, ITEMS], False, 2),
        (2, [USERS, ITEMS], True, 2),
    ],
    ids=[
        "published",
        "published, other inputs",
        "recomputed, nothing changed",
        "recomputed, other inputs",
        "recomputed, an older day",
        "a day to publish",
        "a day to publish, recomputed",
    ],
)
def test_a_day_is_turned_to_what_its_version_was_or_will_be_judged_against(
    workspace: Workspace,
    day: int,
    inputs: list[ArtifactRef],
    is_recomputing: bool,
    reference: int,
) -> None:
    from assets.embeddings import Place, place_of

    found = place_of(workspace, day_name(day), inputs=inputs, is_recomputing=is_recomputing)
    # only a day that is not older than what is served may open another frame
    opens = 2 if day >= 1 else None
    assert found == Place(1, workspace.store.state().version(reference).digest, opens=opens)


def test_what_an_erasure_left_of_a_stabilised_day_is_still_published(workspace: Workspace) -> None:
    """Its record names the digests of its files, and they are other ones now."""
    from assets.embeddings import STABILISATION
    from assets.erasure import erase

    world = SmallWorld(workspace.root)

    def write(folder: Path) -> Written:
        shutil.copytree(world.stabilised(2), folder, dirs_exist_ok=True)
        return Written(60)

    built = workspace.build(
        "stabilised_embeddings", day_name(2), write, code_of=STABILISATION, as_of=instant(3)
    )
    erase(workspace, ["user-17"], at=datetime(2026, 3, 1, tzinfo=UTC))
    (ref,) = workspace.lake.refs("stabilised_embeddings", since=day_name(2))
    assert ref.digest != built.ref.digest

    others = [user for user in world.raw.user_ids if user != "user-17"]
    evidence = world.evidence(active_users=ActiveUsers("any token", others))
    published = world.publish(2, stabilised=workspace.lake.path(ref), evidence=evidence)

    assert world.store.open(published.version).manifest.rows("user") == 59
