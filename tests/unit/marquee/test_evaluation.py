import pytest

from tests.unit.marquee.conftest import Marquee


@pytest.mark.parametrize("day", ["2024-W10-1", "20240304", "9999-12-31", "2024-02-30", ""])
def test_a_day_is_named_as_partitions_are(marquee: Marquee, day: str) -> None:
    """Names are compared to tell whether a model saw the day, and other forms sort otherwise."""
    answer = marquee("evaluate", day, day)

    assert (answer.status, answer.out) == (1, "")
    assert answer.err == f"error: want a day as YYYY-MM-DD, got {day!r}\n"
