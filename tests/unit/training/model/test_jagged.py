import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.model.jagged import Layout

lengths_of_windows = st.lists(st.integers(1, 60), min_size=1, max_size=30).map(sorted)


@settings(deadline=None)  # the law is not one of time
@given(lengths=lengths_of_windows, together=st.sampled_from([1.0, 1.25, math.inf]))
def test_rows_hold_every_position_once_and_give_it_back(
    lengths: list[int], together: float
) -> None:
    layout = Layout.of(np.array(lengths), together=together)
    x_PD = torch.arange(2.0 * sum(lengths)).view(-1, 2)

    assert torch.equal(layout.in_groups(x_PD, lambda x, group: group.flat(group.rows(x))), x_PD)
    assert layout.position_P.tolist() == [at for length in lengths for at in range(length)]


@settings(deadline=None)  # the law is not one of time
@given(lengths=lengths_of_windows)
def test_a_window_is_the_beginning_of_a_row(lengths: list[int]) -> None:
    layout = Layout.of(np.array(lengths))
    window_P = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    seen = []

    def look(x_SD: torch.Tensor, group) -> torch.Tensor:
        rows_BL = group.rows(x_SD)[..., 0]
        for row_L in rows_BL.tolist():
            length = lengths[int(row_L[0])]
            assert row_L[:length] == [row_L[0]] * length
            seen.append(int(row_L[0]))
        return x_SD

    layout.in_groups(window_P[:, None].float(), look)
    assert seen == list(range(len(lengths)))


def test_windows_of_similar_length_share_a_group() -> None:
    shapes = [tuple(g.place_BL.shape) for g in Layout.of(np.array([1, 5, 9, 100, 120, 200])).groups]

    assert shapes == [(3, 9), (2, 120), (1, 200)]
    together = Layout.of(np.array([1, 5, 200]), together=math.inf).groups
    assert [tuple(g.place_BL.shape) for g in together] == [(3, 200)]


def test_rows_without_padding_are_not_copied() -> None:
    full, padded = (Layout.of(np.array(lengths)).groups[0] for lengths in ([4, 4, 4], [3, 4]))
    x_SD = torch.randn(12, 2)

    rows_BLD = full.rows(x_SD)

    assert rows_BLD.shape == (3, 4, 2)
    assert rows_BLD.data_ptr() == full.flat(rows_BLD).data_ptr() == x_SD.data_ptr()
    assert padded.rows(x_SD[:7]).shape == (2, 4, 2)


def test_the_gradient_of_padding_reaches_nothing() -> None:
    layout = Layout.of(np.array([2, 3]))
    x_PD = torch.randn(5, 1, requires_grad=True)
    (group,) = layout.groups
    weights_BL1 = torch.tensor([[1.0, 2.0, 100.0], [3.0, 4.0, 5.0]])[..., None]

    (group.rows(x_PD) * weights_BL1).sum().backward()

    assert x_PD.grad is not None
    assert x_PD.grad.flatten().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
