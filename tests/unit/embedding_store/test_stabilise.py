from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedding_store.contracts import EmbeddingShard
from embedding_store.errors import StabilisationError
from embedding_store.parts import read_default_user, shards
from embedding_store.stabilise import SCORE_TOLERANCE, FrameBeside, stabilise
from embedding_store.transform import STABILISATION_FILE, TRANSFORM_FILES, Stabilisation
from lake.digests import digest_file, digest_files
from tests.unit.embedding_store.small_world import (
    DIM,
    Raw,
    SmallWorld,
    drifted,
    raw_world,
)


def run(
    raw: Raw,
    folder: Path,
    reference: Path | None = None,
    num_buckets: int = 4,
    beside: FrameBeside | None = None,
) -> Path:
    users, items = raw.write(folder / "raw", num_buckets)
    target = folder / "stabilised"
    target.mkdir()
    stabilise(users, items, target, frame=1, reference=reference, beside=beside)
    return target


def whole(folder: Path, side: str, dim: int = DIM) -> EmbeddingShard:
    tables = [shard.table for shard in shards(folder / side, side, dim)]
    return EmbeddingShard(pa.concat_tables(tables).sort_by(f"{side}_id"), side, dim)


def scores(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    return users.astype(np.float64) @ items.astype(np.float64).T


def raw_scores(raw: Raw) -> np.ndarray:
    """Of the float32 vectors as they were written, users and items by id."""
    users, items = np.argsort(np.array(raw.user_ids)), np.argsort(np.array(raw.item_ids))
    return scores(raw.users.astype(np.float32)[users], raw.items.astype(np.float32)[items])


def published_scores(folder: Path, dim: int = DIM) -> np.ndarray:
    return scores(whole(folder, "user", dim).vectors, whole(folder, "item", dim).vectors)


def assert_scores_are_kept(raw: Raw, folder: Path, dim: int = DIM) -> None:
    want = raw_scores(raw)
    error = np.abs(published_scores(folder, dim) - want).max() / np.abs(want).max()
    assert error <= SCORE_TOLERANCE


def record(folder: Path) -> Stabilisation:
    return Stabilisation.read(folder / STABILISATION_FILE)


def matrix(folder: Path, side: str) -> np.ndarray:
    return np.load(folder / TRANSFORM_FILES[side], allow_pickle=False)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_kept_when_a_frame_opens(tmp_path: Path, seed: int) -> None:
    raw = raw_world(seed)
    assert_scores_are_kept(raw, run(raw, tmp_path))


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5])
def test_scores_are_kept_on_a_reference(
    tmp_path: Path, served_world: SmallWorld, noise: float
) -> None:
    raw = drifted(served_world.raw, seed=9, noise=noise)
    assert_scores_are_kept(raw, run(raw, tmp_path, reference_of(served_world)))


def test_the_maps_undo_each_other_in_float64(tmp_path: Path, served_world: SmallWorld) -> None:
    folder = run(drifted(served_world.raw, seed=9), tmp_path, reference_of(served_world))
    product = matrix(folder, "item") @ matrix(folder, "user").T
    np.testing.assert_allclose(product, np.eye(DIM), atol=1e-10)


def test_the_default_user_keeps_its_scores(tmp_path: Path) -> None:
    raw = raw_world()
    folder = run(raw, tmp_path)
    table = default_of(folder)
    want = scores(raw.default.astype(np.float32)[None], raw.items.astype(np.float32))
    order = np.argsort(np.array(raw.item_ids))
    got = scores(table.vectors, whole(folder, "item").vectors)
    np.testing.assert_allclose(got, want[:, order], atol=1e-5 * np.abs(want).max())


def default_of(folder: Path) -> EmbeddingShard:
    return read_default_user(folder / "user_default.parquet", DIM)


def test_a_reparameterised_model_opens_the_same_frame(tmp_path: Path) -> None:
    """The axes of a frame come from the scores alone, not from the model's own axes."""
    raw = raw_world()
    one = run(raw, tmp_path / "one")
    other = run(drifted(raw, seed=3, noise=0.0), tmp_path / "other")
    for side in ("user", "item"):
        np.testing.assert_allclose(whole(other, side).vectors, whole(one, side).vectors, atol=1e-4)


def test_both_sides_of_a_new_frame_have_the_singular_values_as_gram_matrix(tmp_path: Path) -> None:
    raw = raw_world()
    folder = run(raw, tmp_path)
    values = np.array(record(folder).singular_values)
    assert (np.diff(values) <= 0).all()
    items = whole(folder, "item").vectors.astype(np.float64)
    np.testing.assert_allclose(items.T @ items, np.diag(values), atol=1e-4 * values[0])
    users = np.concatenate([whole(folder, "user").vectors, default_of(folder).vectors])
    users = users.astype(np.float64)
    np.testing.assert_allclose(users.T @ users, np.diag(values), atol=1e-4 * values[0])
    all_users = np.concatenate([raw.users, raw.default[None]])
    want = np.linalg.svd(all_users @ raw.items.T, compute_uv=False)[:DIM]
    np.testing.assert_allclose(values, want, rtol=1e-5)


def reference_of(world: SmallWorld) -> Path:
    stable = world.store.state().stable(1)
    assert stable is not None
    return world.store.version_folder(stable.digest)


def test_a_drifted_model_returns_to_the_frame(tmp_path: Path, served_world: SmallWorld) -> None:
    folder = run(drifted(served_world.raw, seed=9), tmp_path, reference_of(served_world))
    figures = record(folder).figures
    assert abs(figures["before"]["item_mean_cosine"]) < 0.5
    assert figures["before"]["item_overlap_at_10"] < 0.5
    assert figures["after"]["item_mean_cosine"] > 0.99
    assert figures["after"]["user_mean_cosine"] > 0.99
    assert figures["after"]["item_overlap_at_10"] > 0.9
    assert record(folder).reference == reference_of(served_world).name


def test_the_factorisation_and_the_rotation_are_both_needed(
    tmp_path: Path, served_world: SmallWorld
) -> None:
    """A rotation alone cannot undo the stretching of axes that retraining brings."""
    raw = drifted(served_world.raw, seed=9)
    folder = run(raw, tmp_path, reference_of(served_world))
    target = np.concatenate(
        [s.vectors for s in shards(reference_of(served_world) / "item", "item", DIM)]
    ).astype(np.float64)
    items = raw.items[np.argsort(np.array(raw.item_ids))]
    left, _, right = np.linalg.svd(items.T @ target)
    rotated = items @ left @ right

    def cosine(vectors: np.ndarray) -> float:
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(target, axis=1)
        return float(((vectors * target).sum(axis=1) / lengths).mean())

    assert cosine(rotated) < 0.97
    assert cosine(whole(folder, "item").vectors) > 0.99


def test_equal_inputs_give_equal_bytes(tmp_path: Path, served_world: SmallWorld) -> None:
    raw = drifted(served_world.raw, seed=9)
    digests = [digest_files(run(raw, tmp_path / name, reference_of(served_world))) for name in "ab"]
    assert digests[0] == digests[1]


def test_the_record_proves_its_matrices(tmp_path: Path) -> None:
    folder = run(raw_world(), tmp_path)
    for side, sha256 in record(folder).transform_sha256.items():
        assert digest_file(folder / TRANSFORM_FILES[side]) == sha256


@pytest.mark.parametrize("num_buckets", [1, 2, 16])
def test_another_number_of_buckets_finds_the_same_common_users(
    tmp_path: Path, served_world: SmallWorld, num_buckets: int
) -> None:
    raw = drifted(served_world.raw, seed=9)
    folder = run(raw, tmp_path, reference_of(served_world), num_buckets)
    assert record(folder).common_users == len(raw.user_ids)
    np.testing.assert_allclose(
        matrix(folder, "item"),
        matrix(run(raw, tmp_path / "four", reference_of(served_world)), "item"),
        atol=1e-8,
    )


def test_users_come_and_go(tmp_path: Path, served_world: SmallWorld) -> None:
    raw = drifted(served_world.raw, seed=9)
    renamed = [f"new-{n}" if n < 20 else one for n, one in enumerate(raw.user_ids)]
    folder = run(replace(raw, user_ids=renamed), tmp_path, reference_of(served_world))
    assert record(folder).common_users == 40
    assert record(folder).figures["after"]["item_mean_cosine"] > 0.99


@pytest.mark.parametrize("unused", [[0], [3, 4], [5, 6, 7]], ids=lambda axes: f"{len(axes)} axes")
@pytest.mark.parametrize("side", ["users", "items"])
def test_axes_that_one_side_never_uses_keep_all_scores(
    tmp_path: Path, side: str, unused: list[int]
) -> None:
    """Rank-deficient input, such as an item bias that is zero for every item."""
    raw = raw_world()
    vectors = getattr(raw, side).copy()
    vectors[:, unused] = 0
    flat = replace(raw, **{side: vectors})
    if side == "users":
        flat = replace(flat, default=np.where(np.isin(np.arange(DIM), unused), 0, raw.default))
    folder = run(flat, tmp_path)
    assert_scores_are_kept(flat, folder)
    assert np.isfinite(whole(folder, "user").vectors).all()


@pytest.mark.parametrize("side", ["users", "items"])
def test_axes_that_one_side_stopped_using_leave_the_rest_in_the_frame(
    tmp_path: Path, served_world: SmallWorld, side: str
) -> None:
    """Rank-deficient on a reference that is not: those axes hold no score to compare."""
    raw = served_world.raw
    vectors = getattr(raw, side).copy()
    vectors[:, [6, 7]] = 0
    flat = drifted(replace(raw, **{side: vectors}), seed=9, noise=0.0)
    folder = run(flat, tmp_path, reference_of(served_world))
    assert_scores_are_kept(flat, folder)
    figures = record(folder).figures
    assert figures["after"]["item_mean_cosine"] > figures["before"]["item_mean_cosine"] + 0.3


@pytest.mark.parametrize("num_common", [20, 4, 1])
def test_a_catalogue_that_shrinks_is_turned_by_its_users(
    tmp_path: Path, served_world: SmallWorld, num_common: int
) -> None:
    """Fewer common items than axes: they alone would leave most of the rotation open."""
    raw = drifted(served_world.raw, seed=9)
    small = replace(raw, items=raw.items[:num_common], item_ids=raw.item_ids[:num_common])
    launched = [f"new-{number}" for number in range(40 - num_common)]
    grown = replace(raw, item_ids=[*small.item_ids, *launched])
    folder = run(grown, tmp_path / "grown", reference_of(served_world))
    assert record(folder).common_items == num_common
    assert record(folder).figures["after"]["item_mean_cosine"] > 0.99
    assert record(folder).figures["after"]["user_mean_cosine"] > 0.99
    shrunk = run(small, tmp_path / "shrunk", reference_of(served_world))
    assert_scores_are_kept(small, shrunk)


@pytest.mark.parametrize("scale", [1.0, 0.3], ids=["alike", "shorter vectors"])
def test_a_catalogue_that_grows_tenfold_stays_in_the_frame(
    tmp_path: Path, served_world: SmallWorld, scale: float
) -> None:
    """The axes' lengths follow all items, so what they are turned to is not quite what it was."""
    launched = raw_world(seed=4, num_items=360)
    raw = served_world.raw
    grown = replace(
        raw,
        items=np.concatenate([raw.items, scale * launched.items]),
        item_ids=[*raw.item_ids, *(f"new-{one}" for one in launched.item_ids)],
    )
    grown = drifted(grown, seed=9)
    leave = FrameBeside(number=2, min_item_cosine=0.9)
    folder = run(grown, tmp_path, reference_of(served_world), beside=leave)
    assert_scores_are_kept(grown, folder)
    assert (record(folder).frame, record(folder).common_items) == (1, 40)
    assert record(folder).figures["after"]["item_mean_cosine"] > 0.97


@pytest.mark.parametrize("side", ["users", "items"])
def test_a_side_that_spans_fewer_directions_than_rows_in_common_stays_in_the_frame(
    tmp_path: Path, served_world: SmallWorld, side: str
) -> None:
    """Three directions of eight, and a tenth of the catalogue: the rest is told by the users."""
    raw = served_world.raw
    vectors = getattr(raw, side).copy()
    vectors[:, 3:] = 0
    flat = replace(raw, **{side: vectors})
    small = drifted(replace(flat, items=flat.items[:4], item_ids=flat.item_ids[:4]), 9, noise=0.0)
    folder = run(small, tmp_path, reference_of(served_world))
    assert_scores_are_kept(small, folder)
    assert np.isfinite(whole(folder, "item").vectors).all()


def test_common_users_alone_return_a_model_to_the_frame(
    tmp_path: Path, served_world: SmallWorld
) -> None:
    raw = drifted(served_world.raw, seed=9)
    renamed = replace(raw, item_ids=[f"x-{one}" for one in raw.item_ids])
    folder = run(renamed, tmp_path, reference_of(served_world))
    assert (record(folder).common_items, record(folder).common_users) == (0, 60)
    assert record(folder).figures["after"] is None  # the probe is of items
    target = whole(reference_of(served_world), "user").vectors
    turned = whole(folder, "user").vectors
    cosine = (turned * target).sum(axis=1) / (
        np.linalg.norm(turned, axis=1) * np.linalg.norm(target, axis=1)
    )
    assert cosine.mean() > 0.99


def test_fewer_items_than_dims_keep_all_scores(tmp_path: Path) -> None:
    raw = raw_world(num_items=3)
    assert_scores_are_kept(raw, run(raw, tmp_path))


def test_a_bias_dimension_is_no_special_case(tmp_path: Path) -> None:
    raw = raw_world()
    raw.users[:, -1], raw.default[-1] = 1.0, 1.0
    raw.items[:, -1] -= 7.0
    assert_scores_are_kept(raw, run(raw, tmp_path))


def test_scores_that_float32_cannot_keep_are_refused(tmp_path: Path) -> None:
    """Huge parts of the scores that cancel: float32 storage of other axes cannot hold the rest."""
    raw = raw_world()
    raw.users[:, 0], raw.default[0] = 1e6, 1e6
    raw.users[:, 1], raw.default[1] = -1e6, -1e6
    raw.items[:, 1] = raw.items[:, 0] = np.abs(raw.items[:, 0]) * 1e3
    with pytest.raises(StabilisationError, match="scores change by"):
        run(raw, tmp_path)


def test_another_dim_asks_for_another_frame(tmp_path: Path, served_world: SmallWorld) -> None:
    with pytest.raises(StabilisationError, match=r"dim 6, frame 1 has dim 8.*frame of its own"):
        run(raw_world(dim=6), tmp_path, reference_of(served_world))


def test_another_frame_than_the_reference_is_refused(
    tmp_path: Path, served_world: SmallWorld
) -> None:
    users, items = raw_world().write(tmp_path / "raw")
    with pytest.raises(StabilisationError, match="frame 1, the vectors are for frame 2"):
        stabilise(users, items, tmp_path, frame=2, reference=reference_of(served_world))


def test_nothing_in_common_with_the_reference_is_refused(
    tmp_path: Path, served_world: SmallWorld
) -> None:
    raw = raw_world()
    strangers = replace(
        raw,
        user_ids=[f"x-{one}" for one in raw.user_ids],
        item_ids=[f"x-{one}" for one in raw.item_ids],
    )
    with pytest.raises(StabilisationError, match="no user and no item in common"):
        run(strangers, tmp_path, reference_of(served_world))


def test_a_folder_without_users_is_refused(tmp_path: Path) -> None:
    raw = raw_world(num_users=0)
    with pytest.raises(StabilisationError, match="no user vector"):
        run(raw, tmp_path)
