import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.shards import generator, shares, threads


@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=50), count=st.integers(1, 4))
def test_every_window_is_in_one_share(lengths: list[int], count: int) -> None:
    sizes = np.array(lengths)
    parts = shares(np.arange(len(lengths)), sizes, count=count)

    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert all(len(part) for part in parts)
    if len(lengths) >= count:
        work = [sizes[part].sum() for part in parts]
        assert max(work) - min(work) <= 2 * max(lengths)


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_asked(count: int) -> None:
    before = torch.get_num_threads()
    with threads(count) as each:
        assert each(lambda n: n * n, range(5)) == [0, 1, 4, 9, 16]
        assert each(lambda _: torch.get_num_threads(), range(count)) == [1] * count
    assert torch.get_num_threads() == before


def test_an_error_of_a_thread_is_raised() -> None:
    def fail(_: int) -> None:
        raise ValueError("of a thread")

    with threads(2) as each, pytest.raises(ValueError, match="of a thread"):
        each(fail, range(2))


def test_a_generator_is_a_function_of_its_key() -> None:
    def draw(*key: int) -> int:
        return int(torch.randint(2**60, (), generator=generator(*key)))

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(1, 2, 4), draw(1, 3, 3), draw(2, 2, 3)}) == 4
