import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from feature_repo.apply import _pictures, registered_views
from feature_repo.errors import NotServedError, OnlineRowsError, RenderingError
from feature_repo.folder import PROJECT, FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import confirm, reconcile
from feature_repo.registry import open_for_applying, open_for_reading
from lake.lock import exclusive_lock
from tests.unit.feature_repo.small_world import SmallWorld, instant

SOME_VECTOR = "(SELECT value FROM {0} WHERE feature_name = 'embedding' LIMIT 1)"


def picture(world: SmallWorld) -> dict:
    return picture_of(world.root)


def picture_of(workspace: Path) -> dict:
    """Everything that consumers could tell apart."""
    folder = FeastFolder.of(workspace)
    registry = open_for_reading(folder).registry
    views = {one.name: one for one in registry.list_feature_views(PROJECT)}
    services = {one.name: one for one in registry.list_feature_services(PROJECT)}
    with closing(sqlite3.connect(folder.online)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = {
            name: connection.execute(
                f"SELECT entity_key, feature_name, value, event_ts FROM {name} ORDER BY 1, 2"
            ).fetchall()
            for name in sorted(names)
        }
    history = {
        path.relative_to(workspace).as_posix(): path.read_bytes()
        for path in sorted((workspace / "store" / "history").rglob("*.parquet"))
    }
    permissions = {one.name: one for one in registry.list_permissions(PROJECT)}
    return {"registry": _pictures(views, services, permissions), "rows": rows, "history": history}


def test_what_is_rebuilt_from_the_log_equals_what_grew_with_it(world: SmallWorld) -> None:
    world.publish(1)
    reconcile(world.root)
    world.promote(1, at=instant(2))
    reconcile(world.root)
    world.publish(2)
    world.promote(2, at=instant(3), alias="canary")
    reconcile(world.root)
    world.promote(2, at=instant(3))
    reconcile(world.root)
    world.roll_back(1, at=instant(4))
    reconcile(world.root)
    grown = picture(world)

    shutil.rmtree(world.feast)
    shutil.rmtree(world.root / "store" / "history")
    reconcile(world.root)

    assert picture(world) == grown


def test_a_second_reconciliation_does_nothing_and_is_quick(served: SmallWorld) -> None:
    before = picture(served)

    again = reconcile(served.root)

    assert again.is_noop
    assert again.seconds < 1
    assert picture(served) == before


def test_stable_follows_the_log(served: SmallWorld) -> None:
    served.publish(2)
    reconcile(served.root)
    assert open_features(served.feast).version == "v1"

    served.promote(2, at=instant(3))
    reconcile(served.root)

    assert open_features(served.feast).version == "v2"
    assert open_features(served.feast, alias="previous").version == "v1"
    assert confirm(served.root) == {
        "service": "embeddings_f1_stable",
        "version": "v2",
        "digest": served.digests[2],
        "user rows": 40,
        "user rows read back": confirm(served.root)["user rows read back"],
        "item rows": 12,
        "item rows read back": 12,
    }


def test_confirming_fails_while_feast_lags_behind_the_log(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))

    with pytest.raises(OnlineRowsError, match="stable of frame 1 is v2, but Feast serves v1"):
        confirm(served.root)


@pytest.mark.parametrize(
    "harm",
    [
        f"UPDATE {{0}} SET value = {SOME_VECTOR} WHERE feature_name = 'embedding'",
        "DELETE FROM {0} WHERE rowid < 5",
    ],
    ids=["other vectors", "lost rows"],
)
def test_confirming_fails_where_something_else_is_served(served: SmallWorld, harm: str) -> None:
    with closing(sqlite3.connect(served.feast / "online.db")) as connection, connection:
        connection.execute(harm.format("marquee_item_embedding__f1__v1"))

    with pytest.raises(OnlineRowsError, match="item embeddings do not read back as those of v1"):
        confirm(served.root)


def test_confirming_an_alias_that_the_log_does_not_set_says_so(served: SmallWorld) -> None:
    with pytest.raises(NotServedError, match="the log gives canary of frame 1 no version"):
        confirm(served.root, alias="canary")


def test_a_retired_version_loses_its_views_and_tables(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    served.roll_back(1, at=instant(4))
    reconcile(served.root)
    served.retire(2)

    reconcile(served.root)

    after = picture(served)
    assert not any("__v2" in name for name in (*after["registry"], *after["rows"]))
    assert open_features(served.feast).version == "v1"


def first_part(world: SmallWorld, number: int) -> Path:
    return world.store.version_folder(world.digests[number]) / "user" / "part-0.parquet"


def lose_folder(world: SmallWorld, number: int) -> None:
    shutil.rmtree(world.store.version_folder(world.digests[number]))


def flip_a_bit(world: SmallWorld, number: int) -> None:
    path = first_part(world, number)
    whole = path.read_bytes()
    path.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])


HARMS = pytest.mark.parametrize("harm", [lose_folder, flip_a_bit])


@HARMS
def test_rolling_back_from_a_damaged_version_serves_the_earlier_one(
    served: SmallWorld, harm: Callable[[SmallWorld, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    pinned = open_features(served.feast).pinned()
    harm(served, 2)
    served.roll_back(1, at=instant(4))

    report = reconcile(served.root)

    (damage,) = report.damaged
    assert "v2 is damaged" in damage
    assert "`marquee retire 2`" in damage
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [damage]
    assert report.live_views == ("user_embedding__f1__v1", "item_embedding__f1__v1")
    assert confirm(served.root)["version"] == "v1"
    found = open_features(served.feast).users(["u1"])
    assert np.array_equal(found.vectors[0], served.contents[1].users["u1"])
    with pytest.raises(NotServedError, match="v2 has no online rows"):
        pinned.users(["u2"])
    assert reconcile(served.root).is_noop


def test_a_damaged_version_returns_with_its_files(served: SmallWorld) -> None:
    served.publish(2)
    reconcile(served.root)
    before = picture(served)
    whole = first_part(served, 2).read_bytes()
    first_part(served, 2).write_bytes(b"")
    assert reconcile(served.root).damaged
    assert picture(served) != before

    first_part(served, 2).write_bytes(whole)

    assert not reconcile(served.root).damaged
    assert picture(served) == before


def test_a_version_that_was_rolled_back_to_and_damaged_has_no_service(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    assert open_features(served.feast, alias="previous").version == "v1"
    lose_folder(served, 1)

    reconcile(served.root)

    assert confirm(served.root)["version"] == "v2"
    with pytest.raises(NotServedError, match="nothing is promoted to previous"):
        open_features(served.feast, alias="previous")


@HARMS
@pytest.mark.parametrize("alias", ["stable", "canary"])
def test_a_damaged_version_that_an_alias_needs_stops_everything(
    served: SmallWorld, harm: Callable[[SmallWorld, int], None], alias: str
) -> None:
    served.publish(2)
    served.promote(2, at=instant(3), alias=alias)
    reconcile(served.root)
    before = picture(served)
    harm(served, 2)

    with pytest.raises(RenderingError, match=f"v2 is {alias} of frame 1, but cannot be read"):
        reconcile(served.root)
    assert picture(served) == before


def test_where_every_version_is_damaged_nothing_is_taken_out(world: SmallWorld) -> None:
    world.publish(1)
    reconcile(world.root)
    lose_folder(world, 1)

    with pytest.raises(RenderingError, match="v1 is damaged"):
        reconcile(world.root)
    assert len(registered_views(open_for_reading(FeastFolder.of(world.root)))) == 2


def test_a_lost_log_stops_everything_and_changes_nothing(served: SmallWorld) -> None:
    before = picture(served)
    log = served.root / "store" / "log"
    log.rename(served.root / "store" / "lost")

    with pytest.raises(RenderingError, match="is empty"):
        reconcile(served.root)

    (served.root / "store" / "lost").rename(log)
    assert picture(served) == before


@pytest.mark.parametrize("num_lost", [1, 2])
def test_a_log_that_lost_entries_stops_everything_and_changes_nothing(
    served: SmallWorld, num_lost: int
) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    newest = sorted((served.root / "store" / "log").iterdir())[-num_lost:]
    kept = {path: path.read_bytes() for path in newest}
    for path in newest:
        path.unlink()
    before = picture(served)

    with pytest.raises(RenderingError, match="it is an older or another log; restore it"):
        reconcile(served.root)
    assert picture(served) == before

    for path, entry in kept.items():
        path.write_bytes(entry)
    assert reconcile(served.root).is_noop


def test_only_one_process_applies_at_a_time_and_the_others_wait(
    served: SmallWorld, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with exclusive_lock(FeastFolder.of(served.root).lock, what="the registry"):
            waiting = threads.submit(reconcile, served.root)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
        assert waiting.result(timeout=60).is_noop
    assert "the feature registry" in caplog.text


def test_a_workspace_can_be_moved(served: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    target = served.root.with_name("moved")
    served.root.rename(target)
    monkeypatch.chdir("/")

    features = open_features(target / "feast")

    assert np.array_equal(features.users(["u1"]).vectors[0], served.contents[1].users["u1"])
    assert reconcile(target).is_noop


def test_an_edited_configuration_is_written_again(served: SmallWorld) -> None:
    yaml = served.feast / "feature_store.yaml"
    want = yaml.read_text()
    yaml.write_text(want.replace("registry.db", "other.db"))

    reconcile(served.root)

    assert yaml.read_text() == want
    assert open_for_applying(FeastFolder.of(served.root)).registry is not None


def test_importing_the_projection_does_not_import_feast() -> None:
    code = (
        "import sys, feature_repo.lookup, feature_repo.projection; "
        "assert not {'feast', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
