"""Days of a world whose model changes its dimension: each goes to its frame, in one run."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from assets.errors import NotPublishedError
from assets.workspace import Workspace, WorkspaceConfig
from embedding_store.entries import FrameOpened, to_body
from embedding_store.errors import StabilisationError
from embedding_store.gates import published_record
from embedding_store.manifest import Origin
from embedding_store.publisher import Publication, Publisher
from embedding_store.state import PublishedVersion
from feature_repo.lookup import open_features
from lake.days import end_of
from lake.lake import Built, Written
from lake.refs import ArtifactRef
from tests.unit.embedding_store.small_world import Raw, SmallWorld, day_name, drifted, raw_world

# the orchestrator tells of features in beta when its partitions are loaded
pytestmark = pytest.mark.filterwarnings(
    "ignore::dagster_shared.utils.warnings.BetaWarning",
)
OLD, NEW = raw_world(), raw_world(seed=1, dim=6)


class Days:
    """A workspace whose days are run as the orchestrator runs them, with raw vectors given."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.create(
            root,
            WorkspaceConfig(
                source="simulated",
                source_parameters={},
                first_day=date(2024, 3, 1),
                last_day=date(2024, 3, 29),
                recipe="tiny",
            ),
        )
        self.world = SmallWorld(root)

    def vectors(self, day: int, raw: Raw) -> list[ArtifactRef]:
        """The two inputs of the day's stabilisation."""
        refs = []
        for side in ("user", "item"):

            def write(folder: Path, side: str = side) -> Written:
                written = raw.write(folder / "both")[side == "item"]
                for path in written.iterdir():
                    path.rename(folder / path.name)
                return Written(1)

            built = self.workspace.build(
                f"{side}_embeddings",
                day_name(day),
                write,
                code_of=["lake.lake"],
                as_of=end_of(day_name(day)),
                parameters={"content": float(raw.items.sum())},
            )
            refs.append(built.ref)
        return refs

    def stabilised(self, day: int, raw: Raw, *, again: bool = False) -> Built:
        from assets.embeddings import stabilised

        inputs = self.vectors(day, drifted(raw, seed=day))
        return stabilised(self.workspace, day_name(day), inputs, is_recomputing=again)

    def published(self, day: int, raw: Raw, *, again: bool = False) -> Publication:
        built = self.stabilised(day, raw, again=again)
        origin = self.world.origin(day, built.ref.logical_id)
        return self.publish(built, origin, day, again=again)

    def publish(
        self, built: Built, origin: Origin, day: int, *, again: bool = False
    ) -> Publication:
        return Publisher(self.workspace.store, by="test").publish(
            self.workspace.lake.path(built.ref),
            origin=origin,
            evidence=self.world.evidence(),
            effective_at=end_of(day_name(day)),
            why="a test",
            republish=again,
        )

    def run(self, day: int, raw: Raw, *, again: bool = False) -> PublishedVersion:
        """Stabilise, publish and promote the day; return its version."""
        from assets.promotion import serve

        version = self.published(day, raw, again=again).version
        serve(self.workspace, version)
        return version

    @property
    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.workspace.store.log.entries()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Days 0 and 1 of the old model, day 4 of the new one; days 2 and 3 were left out."""
    days = Days(tmp_path_factory.mktemp("frames") / "world")
    for day, raw in ((0, OLD), (1, OLD), (4, NEW)):
        days.run(day, raw)
    return days.workspace.root


@pytest.fixture
def days(served: Path, tmp_path: Path) -> Days:
    shutil.copytree(served, tmp_path / "world")
    return Days(tmp_path / "world")


def test_a_day_of_another_dim_opens_a_frame_in_one_run(days: Days) -> None:
    state = days.workspace.store.state()
    assert days.kinds[-4:] == ["frame_opened", "version_published", "alias_set", "alias_set"]
    assert (state.current_frame, state.served_frame, days.workspace.served_frame) == (2, 2, 2)
    assert [state.stable(frame).day for frame in (1, 2)] == [day_name(1), day_name(4)]
    assert state.opened[2].because == "the vectors have dim 6, frame 1 has dim 8"
    for frame, dim in ((1, 8), (2, 6)):
        features = open_features(days.workspace.feast_dir, frame=frame)
        assert features.users(["user-3"]).vectors.shape == (1, dim)
    notes = {
        one.name: one.note for one in published_record(days.workspace.store, state.stable(2)).gates
    }
    assert notes["item_similarity"] == "opens frame 2: nothing to be similar to"
    assert notes["last_week_consumer"].startswith("no version of an earlier day in this frame")


def test_running_the_day_again_changes_nothing(days: Days) -> None:
    before = days.kinds
    assert days.stabilised(4, NEW).is_skipped
    assert days.run(4, NEW).number == 3
    assert days.kinds == before


def test_a_lost_artifact_of_the_day_that_opened_a_frame_comes_out_equal(days: Days) -> None:
    lake = days.workspace.lake
    before = lake.require("stabilised_embeddings", day_name(4))
    shutil.rmtree(lake.path(before))
    assert days.stabilised(4, NEW).ref == before


def test_the_next_day_goes_to_the_frame_that_was_opened(days: Days) -> None:
    version = days.run(5, NEW)
    state = days.workspace.store.state()
    assert (version.frame, version.judged_against) == (2, state.version(3).digest)
    assert days.kinds.count("frame_opened") == 1


def test_a_day_that_was_left_out_goes_where_its_neighbours_went(days: Days) -> None:
    """It is published onto the old frame's stable, and served: no frame has a newer one."""
    version = days.run(2, OLD)
    state = days.workspace.store.state()
    assert (version.frame, state.stable(1).number, state.stable(2).number) == (1, 4, 3)
    assert state.current_frame == 2


def test_a_day_of_the_past_opens_no_frame(days: Days) -> None:
    with pytest.raises(StabilisationError, match="dim 5, frame 1 has dim 8"):
        days.run(3, raw_world(dim=5))
    assert days.workspace.store.state().opened.keys() == {1, 2}


@pytest.mark.parametrize(
    ("day", "number", "frame", "raw"), [(1, 2, 1, OLD), (4, 3, 2, NEW)], ids=["old", "new"]
)
def test_a_day_is_published_again_in_its_frame(
    days: Days, day: int, number: int, frame: int, raw: Raw
) -> None:
    before = days.kinds
    assert days.run(day, raw, again=True).number == number
    assert days.kinds == before
    other = days.run(day, drifted(raw, seed=60), again=True)
    state = days.workspace.store.state()
    assert (other.number, other.frame) == (4, frame)
    assert state.is_same(other.judged_against, state.version(number))
    assert state.stable(frame).number == 4


def leave_open(days: Days, day: int) -> None:
    """What a day leaves that is killed between the two entries: frame 3, without a version."""
    body = FrameOpened(
        frame=3,
        dim=8,
        dtype="float32",
        beside=2,
        judged_against=days.workspace.store.state().version(3).digest,
        day=day_name(day),
        because="as measured",
    )
    days.workspace.store.log.append(
        body.kind, to_body(body), effective_at=end_of(day_name(day)), by="test", why="killed here"
    )


def test_a_day_killed_between_the_two_entries_finishes(days: Days) -> None:
    built = days.stabilised(5, OLD)
    leave_open(days, 5)
    assert days.stabilised(5, OLD).ref == built.ref
    version = days.run(5, OLD)
    assert (version.frame, days.workspace.store.state().served_frame) == (3, 3)
    assert days.kinds.count("frame_opened") == 2


@pytest.mark.parametrize(("raw", "frame"), [(NEW, 2), (OLD, 4)], ids=["fits", "does not fit"])
def test_a_day_after_one_that_was_not_finished_is_asked_anew(
    days: Days, raw: Raw, frame: int
) -> None:
    leave_open(days, 5)
    assert days.run(6, raw).frame == frame
    assert days.stabilised(6, raw).is_skipped
    assert days.run(7, raw).frame == frame


def test_a_day_is_not_lost_to_a_frame_that_was_retired_since(days: Days) -> None:
    leave_open(days, 5)
    publisher = Publisher(days.workspace.store, by="test")
    publisher.retire_frame(3, effective_at=end_of(day_name(9)), why="nothing came of it")
    assert days.run(6, NEW).frame == 2


def test_a_rollback_in_the_old_frame_leaves_the_new_one(days: Days) -> None:
    at = end_of(day_name(9))
    Publisher(days.workspace.store, by="test").rollback(1, effective_at=at, why="a test")
    state = days.workspace.store.state()
    assert (state.stable(1).number, state.stable(2).number) == (1, 3)
    assert days.run(5, NEW).frame == 2


def test_a_ranker_learns_from_a_frame_that_served_before_its_day(days: Days) -> None:
    from assets.consumers import frame_to_learn_from

    state = days.workspace.store.state()
    learned = {day: frame_to_learn_from(state, day_name(day)) for day in (1, 2, 4, 5, 6)}
    # day 4 serves three hours into day 5: on that day there is nothing of it to learn from
    assert learned == {1: 1, 2: 1, 4: 1, 5: 1, 6: 2}
    later = end_of(day_name(9))
    Publisher(days.workspace.store, by="test").retire_frame(1, effective_at=later, why="a test")
    assert frame_to_learn_from(days.workspace.store.state(), day_name(5)) == 2


def test_nothing_goes_to_a_retired_frame(days: Days) -> None:
    later = end_of(day_name(9))
    Publisher(days.workspace.store, by="test").retire_frame(1, effective_at=later, why="a test")
    with pytest.raises(StabilisationError, match="dim 8, frame 2 has dim 6"):
        days.run(2, OLD)
    assert days.run(3, NEW).frame == 2


def test_a_day_of_a_retired_frame_is_served_no_more(days: Days) -> None:
    import dagster as dg

    from assets.publication import served_features

    later = end_of(day_name(9))
    Publisher(days.workspace.store, by="test").retire_frame(1, effective_at=later, why="a test")
    context = dg.build_asset_context(partition_key=day_name(1))
    with pytest.raises(NotPublishedError, match="v2 of frame 1, which is retired"):
        served_features(context, workspace=days.workspace)
