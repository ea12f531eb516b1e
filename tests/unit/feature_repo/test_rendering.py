import pytest

from embedding_store.state import StoreState
from feature_repo.errors import RenderingError
from feature_repo.rendering import Rendering, check_log_covers, render
from feature_repo.served import read_state, served_frames
from tests.unit.feature_repo.small_world import SmallWorld, instant


def rendered(world: SmallWorld) -> Rendering:
    state = read_state(world.store)
    return render(served_frames(world.store, state).frames, log_seq=state.seq)


def columns(rendering: Rendering, service: str) -> set[str]:
    projections = rendering.services[service].feature_view_projections
    return {f"{p.name_to_use()}__{field.name}" for p in projections for field in p.features}


def views_behind(rendering: Rendering, service: str) -> set[str]:
    return {p.name for p in rendering.services[service].feature_view_projections}


def test_a_switch_changes_the_views_behind_a_service_but_never_its_columns(
    world: SmallWorld,
) -> None:
    world.publish(1)
    world.promote(1, at=instant(2))
    before = rendered(world)
    world.publish(2)
    world.promote(2, at=instant(3))
    after = rendered(world)

    assert views_behind(before, "embeddings_f1_stable") == {
        "user_embedding__f1__v1",
        "item_embedding__f1__v1",
    }
    assert views_behind(after, "embeddings_f1_stable") == {
        "user_embedding__f1__v2",
        "item_embedding__f1__v2",
    }
    assert columns(before, "embeddings_f1_stable") == columns(after, "embeddings_f1_stable")
    assert columns(after, "embeddings_f1_stable") == {
        "user_embedding__embedding",
        "user_embedding__version",
        "item_embedding__embedding",
        "item_embedding__version",
    }


def test_every_alias_has_a_service_of_both_sides_and_one_of_each(world: SmallWorld) -> None:
    for number in (1, 2, 3):
        world.publish(number)
    world.promote(1, at=instant(2))
    world.promote(2, at=instant(3))
    world.promote(3, at=instant(4), alias="canary")

    rendering = rendered(world)

    assert set(rendering.services) == {
        f"embeddings_f1_{alias}{side}"
        for alias in ("stable", "canary", "previous")
        for side in ("", "_user", "_item")
    }
    assert views_behind(rendering, "embeddings_f1_canary_item") == {"item_embedding__f1__v3"}
    assert views_behind(rendering, "embeddings_f1_previous_user") == {"user_embedding__f1__v1"}


def test_a_frame_stays_beside_a_new_one(world: SmallWorld) -> None:
    world.publish(1)
    world.promote(1, at=instant(2))
    world.publish(2, frame=2)
    world.promote(2, at=instant(3), frame=2)

    rendering = rendered(world)

    assert views_behind(rendering, "embeddings_f1_stable_user") == {"user_embedding__f1__v1"}
    assert views_behind(rendering, "embeddings_f2_stable_user") == {"user_embedding__f2__v2"}


def test_views_say_what_they_hold_and_lie_behind_the_served_history(world: SmallWorld) -> None:
    world.publish(1)

    view = rendered(world).views["user_embedding__f1__v1"]

    assert view.tags["digest"] == world.digests[1]
    assert view.tags["as_of"] == instant(1).isoformat()
    assert view.tags["dim"] == "8"
    assert view.batch_source.path == "../store/history/f1/user"
    assert view.ttl.total_seconds() == 0


def test_retired_versions_have_no_view(world: SmallWorld) -> None:
    world.publish(1)
    world.publish(2)
    world.promote(2, at=instant(3))
    world.retire(1)

    assert set(rendered(world).views) == {"user_embedding__f1__v2", "item_embedding__f1__v2"}


def test_an_empty_log_renders_nothing_but_an_error(world: SmallWorld) -> None:
    with pytest.raises(RenderingError, match="is empty"):
        rendered(world)


def test_a_log_without_a_live_version_renders_nothing_but_an_error(world: SmallWorld) -> None:
    world.publish(1)
    world.retire(1)

    with pytest.raises(RenderingError, match="no live version"):
        rendered(world)


def test_a_log_that_cannot_be_read_renders_nothing_but_an_error(world: SmallWorld) -> None:
    world.publish(1)
    entry = next((world.root / "store" / "log").iterdir())
    entry.write_text("{")

    with pytest.raises(RenderingError, match="cannot be read"):
        rendered(world)


def test_a_live_version_without_its_files_renders_nothing_but_an_error(world: SmallWorld) -> None:
    world.publish(1)
    (world.store.version_folder(world.digests[1]) / "manifest.json").unlink()

    with pytest.raises(RenderingError, match="v1 is damaged"):
        rendered(world)


def test_a_registry_that_knows_more_than_the_log_stops_the_rendering(world: SmallWorld) -> None:
    world.publish(1)
    tags = [{"frame": "1", "number": "1"}, {"frame": "1", "number": "2"}]

    with pytest.raises(RenderingError, match="v2 of frame 1, which the log"):
        check_log_covers(world.store.state(), tags, log_seq=1)


def test_a_registry_of_versions_that_the_log_retired_is_covered(world: SmallWorld) -> None:
    world.publish(1)
    world.retire(1)

    check_log_covers(world.store.state(), [{"frame": "1", "number": "1"}], log_seq=2)
    with pytest.raises(RenderingError):
        check_log_covers(StoreState(), [{"frame": "1", "number": "1"}], log_seq=0)


def test_a_registry_rendered_from_more_entries_stops_the_rendering(world: SmallWorld) -> None:
    world.publish(1)

    with pytest.raises(RenderingError, match="rendered from 2 entries of the log, which has 1 now"):
        check_log_covers(world.store.state(), [], log_seq=2)
