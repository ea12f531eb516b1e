from datetime import date
from typing import Any

import numpy as np
import pytest

from training.errors import ConfigError
from training.events.world import (
    WorldParameters,
    draw_users,
    gumbel,
    hashed,
    hashed_uniform,
    start_us,
    stream,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_users": 0}, "num_users >= 1, got 0"),
        ({"num_titles": 99}, "num_titles >= 100, got 99"),
        ({"num_days": 0}, "num_days >= 1, got 0"),
        ({"sessions_per_user_day": 0.0}, "sessions_per_user_day > 0, got 0.0"),
        ({"launch_weekday": 7}, "launch_weekday 0-6, got 7"),
        ({"late_rate": 1.5}, r"late_rate in \[0, 1\], got 1.5"),
        ({"weekly_launch_share": -0.1}, r"weekly_launch_share in \[0, 1\], got -0.1"),
    ],
)
def test_parameters_that_make_no_world_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WorldParameters(**change)


def test_the_last_day_is_the_first_one_of_a_one_day_world() -> None:
    parameters = WorldParameters(num_days=1)

    assert parameters.last_day == parameters.first_day


def test_streams_of_other_purposes_or_days_are_independent() -> None:
    drawn = {
        stream(7, purpose, day).random() for purpose in ("sessions", "slates") for day in range(3)
    }

    assert len(drawn) == 6
    assert stream(7, "slates", 2).random() == stream(7, "slates", 2).random()


def test_hashed_draws_are_uniform_and_depend_on_every_key() -> None:
    keys = np.arange(20_000)

    drawn = hashed_uniform(7, keys)

    assert abs(drawn.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02
    assert (hashed(7, keys, 1) != hashed(7, keys, 2)).all()
    assert (hashed(7, 1, keys) != hashed(7, keys, 1))[2:].all()


def test_gumbel_noise_samples_from_the_softmax() -> None:
    scores = np.log([0.7, 0.2, 0.1])
    noise = gumbel(hashed_uniform(np.arange(30_000)[:, None], np.arange(3)[None, :]))

    share = np.bincount(np.argmax(scores + noise, axis=1)) / 30_000

    np.testing.assert_allclose(share, [0.7, 0.2, 0.1], atol=0.01)


def test_a_day_starts_at_midnight_utc() -> None:
    assert start_us(date(1970, 1, 2)) == 86_400_000_000


def test_activity_is_heavy_tailed_around_one() -> None:
    activity = draw_users(WorldParameters(num_users=20_000)).activity

    assert abs(activity.mean() - 1.0) < 0.05
    assert np.sort(activity)[-2_000:].sum() > 0.3 * activity.sum()
