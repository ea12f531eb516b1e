"""What the publisher measures of an opening is what the stabilisation measured before it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedding_store.alignment import ROUNDING, misfit_of
from embedding_store.stabilise import FrameBeside, stabilise
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from embedding_store.versions import Version, open_version
from tests.unit.embedding_store.small_world import Raw, SmallWorld, drifted, raw_world

NEVER_ALIKE = 1.1


def opened(world: SmallWorld, raw: Raw, folder: Path) -> tuple[Version, Stabilisation]:
    """The raw vectors as a staged version in a frame of their own, whatever they resemble."""
    users, items = raw.write(folder)
    target = folder / "stabilised"
    target.mkdir()
    leave = FrameBeside(number=2, min_item_cosine=NEVER_ALIKE)
    stabilise(users, items, target, frame=1, reference=stable_of(world), beside=leave)
    record = Stabilisation.read(target / STABILISATION_FILE)
    return world.staged(5, target), record


def stable_of(world: SmallWorld) -> Path:
    stable = world.store.state().stable(1)
    assert stable is not None
    return world.store.version_folder(stable.digest)


def flat(raw: Raw, side: str, num_axes: int) -> Raw:
    """With a side that spans a few of eight directions."""
    vectors = getattr(raw, side).copy()
    vectors[:, num_axes:] = 0
    default = raw.default * (np.arange(8) < num_axes) if side == "users" else raw.default
    return replace(raw, **{side: vectors}, default=default)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5, 3.0])
@pytest.mark.parametrize(
    "made",
    [
        lambda raw: raw,
        lambda raw: flat(raw, "users", 5),
        lambda raw: flat(raw, "users", 1),
        lambda raw: flat(raw, "items", 1),
        lambda raw: replace(raw, items=raw.items[:5], item_ids=raw.item_ids[:5]),
        lambda raw: replace(raw, users=1e3 * raw.users, default=1e3 * raw.default),
    ],
    ids=["whole", "flat users", "users on a line", "items on a line", "few items", "long users"],
)
def test_the_basis_of_the_vectors_changes_no_figure(
    served_world: SmallWorld, tmp_path: Path, made: object, noise: float
) -> None:
    """So that no opening is asked for in one place and refused in the other, for good."""
    raw = drifted(made(served_world.raw), seed=9, noise=noise)
    version, record = opened(served_world, raw, tmp_path)
    assert record.opens is not None
    found = misfit_of(version, open_version(stable_of(served_world)), min_item_cosine=NEVER_ALIKE)
    assert found is not None
    was, now = (one.figures["item_mean_cosine"] for one in (record.opens, found))
    assert abs(was - now) < ROUNDING


def test_a_cosine_right_at_the_threshold_still_opens(
    served_world: SmallWorld, tmp_path: Path
) -> None:
    version, record = opened(served_world, raw_world(seed=77), tmp_path)
    assert record.opens is not None
    measured = record.opens.figures["item_mean_cosine"]
    target = open_version(stable_of(served_world))
    assert misfit_of(version, target, min_item_cosine=np.nextafter(measured, 1)) is not None
    assert misfit_of(version, target, min_item_cosine=measured - 2 * ROUNDING) is None
