"""``kill -9`` in pretraining, in inference and in publication; then the same command again."""

from tests.integration.conftest import Survived


def test_a_killed_pretraining_leaves_no_model(survived: Survived) -> None:
    assert survived.assets_after_first_kill == {"history_prefix", *INGESTED}


def test_running_again_finishes_what_was_killed(survived: Survived) -> None:
    state = survived.workspace.store.state()
    assert [version.name for _, version in state.served(1)] == ["v1", "v2", "v3"]
    assert "were there already" in survived.output


def test_a_reader_saw_whole_versions_only_and_in_order(survived: Survived) -> None:
    assert list(dict.fromkeys(survived.seen)) == ["nothing", "v1", "v2", "v3"]


def test_nothing_half_made_is_left(survived: Survived) -> None:
    assert not list((survived.workspace.root / "lake" / "tmp").glob("*"))
    assert not list((survived.workspace.root / "store" / "tmp").glob("*"))


INGESTED = {
    "catalogue",
    "interaction_tokens",
    "item_statistics",
    "quarantined_events",
    "raw_events",
    "valid_events",
    "viewing_tokens",
    "vocabulary",
}
