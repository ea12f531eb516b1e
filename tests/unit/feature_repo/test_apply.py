import dataclasses
import sys
from pathlib import Path

import pytest
from feast.repo_operations import apply_total

from feature_repo.apply import apply_rendering, registered_views
from feature_repo.errors import LiveVersionError
from feature_repo.folder import FeastFolder
from feature_repo.lookup import open_features
from feature_repo.projection import reconcile
from feature_repo.registry import open_for_applying, open_for_reading
from feature_repo.rendering import render
from feature_repo.served import read_state, served_frames
from tests.unit.feature_repo.small_world import SmallWorld, instant


def test_a_switch_replaces_the_registry_file_whole(served: SmallWorld) -> None:
    registry = FeastFolder.of(served.root).registry
    before = registry.read_bytes()
    served.publish(2)
    served.promote(2, at=instant(3))
    with registry.open("rb") as held:  # a reader in the middle of its read
        head = held.read(10)
        reconcile(served.root)
        rest = held.read()

    assert head + rest == before
    assert registry.read_bytes() != before


def test_applying_the_same_again_does_not_touch_the_registry(served: SmallWorld) -> None:
    folder = FeastFolder.of(served.root)
    rendering = render(served_frames(served.store, read_state(served.store)).frames, log_seq=2)
    before = folder.registry.stat()

    assert not apply_rendering(open_for_applying(folder), rendering, live=rendering.views)
    assert folder.registry.stat() == before


def test_an_apply_that_would_delete_a_live_version_is_refused(served: SmallWorld) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    folder = FeastFolder.of(served.root)
    frames = served_frames(served.store, read_state(served.store)).frames
    everything = render(frames, log_seq=4)
    frames[0].aliases.pop("previous")
    fewer = dataclasses.replace(frames[0], versions=frames[0].versions[1:])
    less = render([fewer], log_seq=4)
    before = folder.registry.read_bytes()

    with pytest.raises(LiveVersionError, match="item_embedding__f1__v1, user_embedding__f1__v1"):
        apply_rendering(open_for_applying(folder), less, live=everything.views)
    assert folder.registry.read_bytes() == before


def test_a_plain_feast_apply_in_the_folder_deletes_no_live_version(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish(2)
    served.promote(2, at=instant(3))
    reconcile(served.root)
    before = set(registered_views(open_for_reading(FeastFolder.of(served.root))))

    plain_apply(served.feast, monkeypatch)

    store = open_for_reading(FeastFolder.of(served.root))
    assert set(registered_views(store)) == before
    assert len(before) == 4
    features = open_features(served.feast)
    assert features.version == "v2"
    assert features.users(["u5"]).is_found.all()
    assert reconcile(served.root).is_noop


def test_a_plain_feast_apply_fails_where_a_version_is_damaged(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish(2)
    reconcile(served.root)
    before = FeastFolder.of(served.root).registry.read_bytes()
    (served.store.version_folder(served.digests[2]) / "manifest.json").unlink()

    with pytest.raises(Exception, match="v2 is damaged"):
        plain_apply(served.feast, monkeypatch)
    assert FeastFolder.of(served.root).registry.read_bytes() == before


def test_a_plain_feast_apply_fails_where_the_log_is_gone(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = FeastFolder.of(served.root).registry.read_bytes()
    (served.root / "store" / "log").rename(served.root / "store" / "lost")

    # Feast loads the module under two names, so the error's class is not ours by identity
    with pytest.raises(Exception, match="is empty: nothing was ever published"):
        plain_apply(served.feast, monkeypatch)
    assert FeastFolder.of(served.root).registry.read_bytes() == before


def test_a_plain_feast_apply_fails_where_online_rows_are_missing(
    served: SmallWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in served.feast.glob("online.db*"):
        path.unlink()

    with pytest.raises(Exception, match="want 40 online rows, got no table"):
        plain_apply(served.feast, monkeypatch)


def plain_apply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ``feast apply`` command does, in this process."""
    monkeypatch.setenv("MARQUEE_WORKSPACE", "elsewhere")  # the folder's own definitions decide
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    for name in ("definitions", "feature_repo.definitions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    apply_total(open_for_reading(FeastFolder(folder)).config, folder, skip_source_validation=True)
